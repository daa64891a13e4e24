"""Fast listings of local folders: a run has hundreds of thousands of files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from srrd_ray.core.errors import ConfigError


def walk_files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes and time of change (ns) of a local file,
    or of the files below a folder by their sorted paths.
    """
    try:
        about = path.stat()
    except OSError:  # not there, or not to be read: no files, as `Path.rglob` has it
        return
    if stat.S_ISDIR(about.st_mode):
        for entry in _walk(str(path), ordered=True):
            status = entry.stat()
            yield entry.name, status.st_size, status.st_mtime_ns
    else:
        yield path.name, about.st_size, about.st_mtime_ns


def count_local(path: Path) -> tuple[int, int] | None:
    """Return the number of files at or below a local path, and their bytes;
    none where the path does not exist.
    """
    try:
        about = path.stat()
    except OSError:
        return None
    if not stat.S_ISDIR(about.st_mode):
        return 1, about.st_size
    sizes = [entry.stat().st_size for entry in _walk(str(path), ordered=False)]
    return len(sizes), sum(sizes)


def expand_home(path: Path) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder: no shell does it in ``--out=~/x``.

    Raises
    ------
    ConfigError
        `place-invalid` where there is no such home.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        got = path.parts[0]
        raise ConfigError("place-invalid", "no such home", got=got, todo="Give the whole path.") from error


def _walk(folder: str, *, ordered: bool) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, by sorted path or as they come;
    a folder that may not be read counts as empty.
    """
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name) if ordered else list(scan)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, ordered=ordered)
        elif entry.is_file():
            yield entry
