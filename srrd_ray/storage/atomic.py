"""Atomic outputs: written to a temporary path, then renamed;
for an object store, written locally, then uploaded.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from srrd_ray.core.errors import FREE_SPACE, StoreError
from srrd_ray.storage.paths import ObjectPath, upload

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary local path for a new file or folder;
    on success it replaces `path`, on error it is removed.

    Two writers of one path never mix: each has its own temporary path, and the last rename (or upload) wins.

    Raises
    ------
    StoreError
        `output-full` where the disk, a quota or a limit takes no more bytes.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="srrd-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            upload(temporary, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
    try:
        yield temporary
        _commit(temporary, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StoreError(
            "output-full", "the output takes no more bytes", where=path.name, got=str(error.strerror),
            todo=FREE_SPACE,
        ) from error  # fmt: skip
    finally:
        _remove(temporary)


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of killed writers from a folder that nobody writes into any more."""
    if not isinstance(folder, ObjectPath):
        for partial in folder.glob(".*.partial"):
            _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file; a reader sees the old or the new content, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _commit(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.exists():
        old = path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")
        path.rename(old)
        temporary.rename(path)
        _remove(old)
        return
    temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
