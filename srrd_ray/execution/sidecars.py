"""What is already done: a sidecar beside every unit of work, written last, that names its inputs and its outputs.

A unit is done when its sidecar holds the key of its present inputs and every output is still there with the size it had.
The key hashes the stage's inputs, configuration and version, so that a changed input is never mistaken for a finished one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Outcome
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.parallel import parallel_map
from srrd_ray.storage.paths import cached_listing, count_and_bytes
from srrd_ray.storage.schemas import validate

AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One file or folder that a unit wrote: its path inside the run, its size in bytes and its hash."""

    path: str
    files: int
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """The proof that a unit is done; `failed` are the knees of a shard that could not be part of it."""

    stage: str
    unit: str
    key: str
    software: str
    outputs: tuple[Output, ...]
    failed: tuple[Outcome, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of what the unit produced: it enters the keys of all units that depend on it."""
        return hash_json(self.stage, self.unit, [(o.path, o.sha256) for o in self.outputs])


def key_of(stage: str, settings: str, inputs: Iterable[str]) -> str:
    """Return the key of a unit from the stage, its configuration as JSON and the hashes of its inputs, in any order."""
    return hash_json(stage, __version__, settings, sorted(inputs))


def mark_done(layout: RunLayout, sidecar: Sidecar) -> None:
    """Write the sidecar of a unit, after all its outputs."""
    path, text = layout.sidecar(sidecar.stage, sidecar.unit), serial.to_json(sidecar)
    validate("sidecar", json.loads(text), path.name)
    write_text(path, text)


def describe(root: Path, paths: Sequence[Path]) -> tuple[Output, ...]:
    """Return size and hash of each output below `root`."""
    return tuple(_describe(root, path) for path in sorted(paths))


def finished(layout: RunLayout, stage: str, unit: str, key: str, *, verify: bool = False) -> Sidecar | None:
    """Return the sidecar of a unit that is done for `key` with all outputs in place, else None.

    `verify` also compares every byte of the outputs with their hash: it finds a flipped bit that the size does not show.
    """
    return _checked(layout, find_sidecar(layout, stage, unit), key, verify=verify)


def _checked(layout: RunLayout, sidecar: Sidecar | None, key: str, *, verify: bool) -> Sidecar | None:
    """Return a sidecar that is of `key` and whose outputs are in place, else None."""
    if sidecar is None or sidecar.key != key or not all(_in_place(layout.root, o) for o in sidecar.outputs):
        return None
    if verify and any(hash_file(layout.root / o.path) != o.sha256 for o in sidecar.outputs):
        return None
    return sidecar


def finished_of(
    layout: RunLayout, stage: str, keys: Mapping[str, str], *, verify: bool = False
) -> Iterator[Sidecar | None]:
    """Yield what `finished` says of each unit (its name to its key, in order of the names), some at a time and side by side.

    In an object store the outputs of a thousand units are told from one listing, so that neither memory nor the number of
    requests at once grows with the units.
    """
    names = list(keys)

    def check(pair: tuple[str, Sidecar | None]) -> Sidecar | None:
        return _checked(layout, pair[1], keys[pair[0]], verify=verify)

    for some in (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)):
        pairs = list(zip(some, parallel_map(partial(find_sidecar, layout, stage), some, layout.root), strict=True))
        with ExitStack() as listings:
            for folder in sorted({one for name, card in pairs for one in _folders(name, card)}):
                listings.enter_context(cached_listing(layout.root / folder, min(some), max(some)))
            yield from parallel_map(check, pairs, layout.root)


def sidecars(layout: RunLayout, stage: str, names: Sequence[str]) -> Iterator[Sidecar | None]:
    """Yield the sidecar of each unit, read side by side: a store takes its time for each."""
    for at in range(0, len(names), AT_ONCE):
        yield from parallel_map(partial(find_sidecar, layout, stage), names[at : at + AT_ONCE], layout.root)


def _folders(name: str, card: Sidecar | None) -> Iterator[str]:
    """Yield the folders in which the outputs of a unit lie under its own name."""
    for output in card.outputs if card else ():
        parts = output.path.split("/")
        depth = next((n for n, part in enumerate(parts) if part.startswith(name)), 0)
        if depth:
            yield "/".join(parts[:depth])


def find_sidecar(layout: RunLayout, stage: str, unit: str) -> Sidecar | None:
    """Return the sidecar of a unit; None where the unit was never finished or its sidecar is torn."""
    path = layout.sidecar(stage, unit)
    try:
        return serial.from_json(Sidecar, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ConfigError:
        return None  # torn or of another version: the unit is done again, which is always safe


def _describe(root: Path, path: Path) -> Output:
    files, size = count_and_bytes(path) or (0, 0)
    return Output(path=path.relative_to(root).as_posix(), files=files, size=size, sha256=hash_file(path))


def _in_place(root: Path, output: Output) -> bool:
    return count_and_bytes(root / output.path) == (output.files, output.size)
