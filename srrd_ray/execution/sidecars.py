"""Which work items are up to date: each has a sidecar, committed last, that names its inputs and its outputs.

An item is up to date when its sidecar holds the hash of its present inputs and every output still has the
size it had. The hash covers inputs, settings and the software's version, so that a changed input is never
mistaken for a finished one.
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

BATCH = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """An output of a work item: path inside the run, number of files, size in bytes, hash."""

    path: str
    files: int
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """The proof that a work item is done; `failed` are the knees and bones that could not be part of it."""

    stage: str
    item: str
    input_hash: str
    software: str
    outputs: tuple[Output, ...]
    failed: tuple[Outcome, ...] = ()

    @property
    def output_hash(self) -> str:
        """Hash of what the item produced; it enters the input hashes of all items that depend on it."""
        return hash_json(self.stage, self.item, [(o.path, o.sha256) for o in self.outputs])

    @property
    def size(self) -> int:
        """Bytes of all outputs."""
        return sum(output.size for output in self.outputs)


def input_hash(stage: str, settings: str, inputs: Iterable[str]) -> str:
    """Return the input hash of a work item: of its stage, its settings and the hashes of its inputs.

    The settings are JSON; the inputs may come in any order.
    """
    return hash_json(stage, __version__, settings, sorted(inputs))


def commit(layout: RunLayout, sidecar: Sidecar) -> None:
    """Write the sidecar of a work item, after all its outputs."""
    path, text = layout.sidecar(sidecar.stage, sidecar.item), serial.to_json(sidecar)
    validate("sidecar", json.loads(text), path.name)
    write_text(path, text)


def describe(root: Path, paths: Sequence[Path]) -> tuple[Output, ...]:
    """Return size and hash of each output below `root`."""
    return tuple(_describe(root, path) for path in sorted(paths))


def find_up_to_date(
    layout: RunLayout, stage: str, item: str, wanted: str, *, verify: bool = False
) -> Sidecar | None:
    """Return the sidecar of an item that is up to date for the input hash `wanted`, else null.

    `verify` also compares every byte of the outputs with their hash: it finds a flipped bit that the size
    does not show.
    """
    return _checked(layout, read_sidecar(layout, stage, item), wanted, verify=verify)


def find_all_up_to_date(
    layout: RunLayout, stage: str, wanted: Mapping[str, str], *, verify: bool = False
) -> Iterator[Sidecar | None]:
    """Yield what `find_up_to_date` returns for each item (its name to its input hash), in order.

    It works on a thousand items at a time. In an object store the outputs of a thousand items come from one
    listing, so that neither memory nor the number of requests at once grows with the items.
    """
    names = list(wanted)

    def check(pair: tuple[str, Sidecar | None]) -> Sidecar | None:
        return _checked(layout, pair[1], wanted[pair[0]], verify=verify)

    for batch in (names[start : start + BATCH] for start in range(0, len(names), BATCH)):
        sidecars = parallel_map(partial(read_sidecar, layout, stage), batch, layout.root)
        pairs = list(zip(batch, sidecars, strict=True))
        with ExitStack() as listings:
            for folder in sorted({folder for name, sidecar in pairs for folder in _folders(name, sidecar)}):
                listings.enter_context(cached_listing(layout.root / folder, min(batch), max(batch)))
            yield from parallel_map(check, pairs, layout.root)


def read_sidecar(layout: RunLayout, stage: str, item: str) -> Sidecar | None:
    """Return the sidecar of a work item; null where it was never finished or its sidecar is torn."""
    path = layout.sidecar(stage, item)
    try:
        return serial.from_json(Sidecar, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ConfigError:
        return None  # torn or of another version: the item is done again, which is always safe


def _checked(layout: RunLayout, sidecar: Sidecar | None, wanted: str, *, verify: bool) -> Sidecar | None:
    """Return a sidecar whose input hash is `wanted` and whose outputs are in place, else null."""
    if sidecar is None or sidecar.input_hash != wanted:
        return None
    if not all(_in_place(layout.root, output) for output in sidecar.outputs):
        return None
    if verify and any(hash_file(layout.root / output.path) != output.sha256 for output in sidecar.outputs):
        return None
    return sidecar


def _folders(name: str, sidecar: Sidecar | None) -> Iterator[str]:
    """Yield the folders that hold the outputs of an item under its name."""
    for output in sidecar.outputs if sidecar else ():
        parts = output.path.split("/")
        depth = next((n for n, part in enumerate(parts) if part.startswith(name)), 0)
        if depth:
            yield "/".join(parts[:depth])


def _describe(root: Path, path: Path) -> Output:
    files, size = count_and_bytes(path) or (0, 0)
    return Output(path=path.relative_to(root).as_posix(), files=files, size=size, sha256=hash_file(path))


def _in_place(root: Path, output: Output) -> bool:
    return count_and_bytes(root / output.path) == (output.files, output.size)
