"""Outputs that are whole or absent: written beside, then renamed; for an object store written here, then uploaded."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from srrd_ray.core.errors import FREE_SPACE, StoreError
from srrd_ray.storage.places import ObjectPath, upload

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a local path for a new file or folder; on success it takes the place of `path`, on error it is removed.

    Two writers of one path never mix: each has a name of its own, and the last rename (or upload) wins.

    Raises
    ------
    StoreError
        `output-full` where the disk, a quota or a limit takes no more bytes.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="srrd-") as folder:
            beside = Path(folder) / path.name
            yield beside
            upload(beside, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        yield beside
        _take_place(beside, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StoreError(
            "output-full", "the output takes no more bytes", where=path.name, got=str(error.strerror),
            todo=FREE_SPACE,
        ) from error  # fmt: skip
    finally:
        _remove(beside)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder, which nobody writes into any more."""
    if not isinstance(folder, ObjectPath):
        for left in folder.glob(".*.partial"):
            _remove(left)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file so that a reader sees the old or the new content, never a part."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _take_place(beside: Path, path: Path) -> None:
    if beside.is_dir() and path.exists():
        old = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
        path.rename(old)
        beside.rename(path)
        _remove(old)
        return
    beside.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
