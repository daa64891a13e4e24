"""Checks of the outputs that a command line names, made before any work is done for them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.storage.paths import ObjectPath


def require_file(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output that could not become a file of one of these kinds; nothing is written.

    Raises
    ------
    ConfigError
        `output-name` for another suffix, `output-is-folder`.
    StoreError
        `output-unwritable` where nothing can be written there.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(
            "output-name", f"{option} has another ending than what can be written", got=path.name,
            expected=" or ".join(f"NAME{suffix}" for suffix in suffixes),
        )  # fmt: skip
    if isinstance(path, ObjectPath):
        return
    if path.is_dir():
        raise ConfigError(
            "output-is-folder", f"{option} names a folder", got=path.name, expected="a file",
            todo=f"Give a file in it, e.g. {path.name}/bone{suffixes[0]}.",
        )  # fmt: skip
    _probe(option, path)


def require_folder(option: str, path: Path) -> None:
    """Refuse an output that could not become a folder to write into; nothing is written.

    Raises
    ------
    ConfigError
        `output-is-file`.
    StoreError
        `output-unwritable`.
    """
    if isinstance(path, ObjectPath):
        return
    if path.exists() and not path.is_dir():
        raise ConfigError("output-is-file", f"{option} names a file", got=path.name, expected="a folder")
    _probe(option, path / "any")


def require_outside(
    output: Path,
    inputs: Path,
    what: str,
    *,
    where: str = "",
    got: str = "",
    todo: str = "Choose another --out.",
) -> None:
    """Refuse (`output-in-input`) an output in a folder of inputs, where it would be read as one of them."""
    if output.resolve().is_relative_to(inputs.resolve()):
        raise ConfigError("output-in-input", what, where=where, got=got, todo=todo)


def _probe(option: str, path: Path) -> None:
    """Write a byte where `path` will lie, or in the nearest folder that exists, without leaving a file."""
    try:
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        raise StoreError(
            "output-unwritable", f"{option}: nothing can be written there", where=path.parent.name or "/",
            got=str(error.strerror or type(error).__name__),
            todo="Choose another place, free space, or ask for the right to write there.",
        ) from error  # fmt: skip
