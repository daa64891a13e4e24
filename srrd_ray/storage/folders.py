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
        for entry in _below(str(path), ordered=True):
            found = entry.stat()
            yield entry.name, found.st_size, found.st_mtime_ns
    else:
        yield path.name, about.st_size, about.st_mtime_ns


def extent_at(path: Path) -> tuple[int, int] | None:
    """Return how many files there are at or below a local path, and their bytes; none where there is nothing at all."""
    try:
        about = path.stat()
    except OSError:
        return None
    if not stat.S_ISDIR(about.st_mode):
        return 1, about.st_size
    sizes = [entry.stat().st_size for entry in _below(str(path), ordered=False)]
    return len(sizes), sum(sizes)


def names_in(folder: Path) -> set[str]:
    """Return the names of what lies directly in a local folder; none where it is not there or may not be read."""
    try:
        with os.scandir(folder) as found:
            return {entry.name for entry in found}
    except OSError:
        return set()


def _below(folder: str, *, ordered: bool) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, by their sorted paths or as they come; what may not be read is as if it were empty."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name) if ordered else list(found)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, ordered=ordered)
        elif entry.is_file():
            yield entry
