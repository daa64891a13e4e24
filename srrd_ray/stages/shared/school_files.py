"""Where the readers of the school are, and their hash: known without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from srrd_ray import distillation
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import hash_json
from srrd_ray.storage.file_hash import hash_file

SHIPPED: Final = Path(distillation.__file__).parent / "readers"
CARD: Final = "school.json"
MODELS: Final = ("mr", "ct")
SHIPPED_READER: Final = SHIPPED / "ct"
"""Reads one CT where no model of a run is named."""


def require_school(folder: str) -> Path:
    """Return the folder of a school's readers: of the package's own where `folder` is empty.

    Raises
    ------
    ConfigError
        `school-missing`.
    """
    path = Path(folder) if folder else SHIPPED
    if not (path / CARD).is_file():
        raise ConfigError(
            "school-missing", "no school.json: these are not the readers of a school", where=path.name,
            todo="Name the folder that jobs/school.py made in distillation.school, or leave it out.",
        )  # fmt: skip
    return path


def hash_school(folder: str) -> str:
    """Return the hash of all that the readings of a school depend on; errors as `require_school`."""
    path = require_school(folder)
    return hash_json([hash_file(path / CARD), *(hash_file(path / kind / "model.json") for kind in MODELS)])
