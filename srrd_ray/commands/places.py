"""Paths that a command may be given or not."""

from __future__ import annotations

from pathlib import Path

from srrd_ray.storage.paths import parse_path


def given_place(path: Path | None) -> Path | None:
    """Return a path of the command line, parsed, or None where none was given."""
    return None if path is None else parse_path(path)
