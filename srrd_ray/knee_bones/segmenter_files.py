"""Where the segmenter's weights are, and their hash: known without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from srrd_ray import segmentation
from srrd_ray.core.errors import StoreError
from srrd_ray.core.hashing import hash_json
from srrd_ray.storage.file_hash import hash_file

SHIPPED: Final = Path(segmentation.__file__).parent / "weights"
WEIGHTS, CARD = "segmenter.safetensors", "segmenter.json"


def require_segmenter(folder: str) -> Path:
    """Return the folder of a segmenter: of the package's own where `folder` is empty.

    Raises
    ------
    StoreError
        `model-missing`.
    """
    path = Path(folder) if folder else SHIPPED
    if not ((path / WEIGHTS).is_file() and (path / CARD).is_file()):
        raise StoreError(
            "model-missing", "no trained segmenter", where=path.name,
            todo="Install the package anew, or train one: jobs/train_segmenter.py.",
        )  # fmt: skip
    return path


def hash_segmenter(folder: str) -> str:
    """Return the hash of all that a segmenter's results depend on; errors as `require_segmenter`."""
    path = require_segmenter(folder)
    return hash_json([hash_file(path / name) for name in (WEIGHTS, CARD)])
