"""What lies in local folders, looked at fast: a run has hundreds of thousands of files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def files_at(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes and time of change (ns) of a local file, or of the files below a folder by their sorted paths."""
    try:
        about = path.stat()
    except OSError:  # not there, or not to be read: no files, as `Path.rglob` has it
        return
    if stat.S_ISDIR(about.st_mode):
        yield from _files_below(str(path))
    else:
        yield path.name, about.st_size, about.st_mtime_ns


def extent_at(path: Path) -> tuple[int, int] | None:
    """Return how many files there are at or below a local path, and their bytes; none where there is nothing at all."""
    try:
        about = path.stat()
    except OSError:
        return None
    return _extent_below(str(path)) if stat.S_ISDIR(about.st_mode) else (1, about.st_size)


def names_in(folder: Path) -> set[str]:
    """Return the names of what lies directly in a local folder; none where it is not there or may not be read."""
    try:
        with os.scandir(folder) as found:
            return {entry.name for entry in found}
    except OSError:
        return set()


def _files_below(folder: str) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        elif entry.is_file():
            about = entry.stat()
            yield entry.name, about.st_size, about.st_mtime_ns


def _extent_below(folder: str) -> tuple[int, int]:
    files, size = 0, 0
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    more = _extent_below(entry.path)
                    files, size = files + more[0], size + more[1]
                elif entry.is_file():
                    files, size = files + 1, size + entry.stat().st_size
    except OSError:
        return files, size
    return files, size
