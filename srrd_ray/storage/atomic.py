"""Atomic outputs: written to a temporary path, then renamed;
for an object store, written locally, then uploaded.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from srrd_ray.core.errors import FREE_SPACE, SrrdError, StoreError
from srrd_ray.storage.paths import ObjectPath, upload

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary local path for a new file or folder;
    on success it replaces `path`, on error it is removed.

    Two writers of one path never mix: each has its own temporary path, and the last rename (or upload) wins.
    Modes follow the umask, whatever the library that wrote the file thinks of them.

    Raises
    ------
    StoreError
        `output-full` where the disk, a quota or a limit takes no more bytes, `output-unwritable` where
        nothing can be written there.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="srrd-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            upload(temporary, path)
        return
    temporary = path.with_name(f".{path.name[:200]}.{uuid4().hex[:12]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        open_to_umask(temporary)
        _commit(temporary, path)
    except OSError as error:
        refusal = _write_error(error, path, temporary)
        if refusal is None:
            raise
        raise refusal from error
    finally:
        _remove(temporary)


def _write_error(error: OSError, path: Path, temporary: Path) -> StoreError | None:
    """Return what an error of the system means for an output; null where it is about another file."""
    if isinstance(error, SrrdError):
        return None
    reason = str(error.strerror or type(error).__name__)
    if error.errno in FULL:
        return StoreError(
            "output-full", "the output takes no more bytes", where=path.name, got=reason, todo=FREE_SPACE
        )
    about = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | Path) else None
    if about is None or not (path.is_relative_to(about) or about.is_relative_to(temporary)):
        return None
    return StoreError(
        "output-unwritable", "cannot write the output", where=path.name, got=reason,
        todo="Choose another place, or ask for the right to write there.",
    )  # fmt: skip


def open_to_umask(path: Path) -> None:
    """Give a new file, or all of a new folder, the modes that the umask allows.

    Libraries that write through a private temporary file leave 0600 behind, which locks colleagues out.
    """
    allowed = 0o777 & ~_umask()
    for place in (path, *path.rglob("*")) if path.is_dir() else (path,):
        mode = place.lstat().st_mode
        wanted = allowed if stat.S_ISDIR(mode) else allowed & 0o666
        if not stat.S_ISLNK(mode) and wanted & ~mode:
            place.chmod(stat.S_IMODE(mode) | wanted)


def _umask() -> int:
    """Return the umask of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(errors="replace").partition("\nUmask:")[2].split()[0], 8)
    umask = os.umask(0o077)  # elsewhere it can only be read by setting it, for all threads
    os.umask(umask)
    return umask


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of killed writers from a folder that nobody writes into any more."""
    if not isinstance(folder, ObjectPath):
        for partial in folder.glob(".*.partial"):
            _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file; a reader sees the old or the new content, never a part.

    Bytes of a file name that are no UTF-8 are written as escapes.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


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
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
