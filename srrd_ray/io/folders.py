"""What lies in local folders, looked at fast: a run has hundreds of thousands of files."""

from __future__ import annotations

import os
from collections.abc import Iterator


def files_below(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield the files below a local folder by their sorted paths: a run has tens of thousands of folders to be looked into."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:  # not there, or not to be read: no files, as `Path.rglob` has it
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path)
        elif entry.is_file():
            about = entry.stat()
            yield entry.name, about.st_size, about.st_mtime_ns
