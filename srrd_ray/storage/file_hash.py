"""Hashes of stored files and folders, by names and bytes alone, never by time, order or machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from srrd_ray.core.hashing import hash_json
from srrd_ray.storage.paths import local_copy


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder:
    of the relative names and contents of all files below it, sorted.
    """
    with local_copy(path) as here:
        return _hash_local(here)


def _hash_local(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    listing = [
        (p.relative_to(path).as_posix(), _hash_local(p)) for p in sorted(path.rglob("*")) if p.is_file()
    ]
    return hash_json(listing)
