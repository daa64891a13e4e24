"""A folder of TIFF slices: which files are the stack, and their order."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.source import Note

TIFFS = (".tif", ".tiff")
_DIGITS = re.compile(r"\d+")


def tiff_files(folder: Path) -> list[Path]:
    """Return the TIFF files directly in a folder, hidden ones left out."""
    named = (path for path in sorted(folder.iterdir()) if path.name.lower().endswith(TIFFS))
    return [path for path in named if not path.name.startswith(".") and not path.is_dir()]


def order_slices(folder: Path) -> tuple[list[Path], tuple[Note, ...]]:
    """Return the files of the stack in a folder in the order of their numbers, and what else there is.

    The names differ in one number. A file whose name fits no other is left out, e.g. a preview.

    Raises
    ------
    InputError
        `tiff-series` (several stacks, or more than one number that changes), `tiff-gap` (numbers missing).
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in tiff_files(folder):
        groups[_DIGITS.sub("#", path.stem)].append(path)
    stacks = [group for group in groups.values() if len(group) > 1]
    if len(stacks) != 1:
        names = sorted(groups)[:4]
        raise InputError(
            "tiff-series", "not one stack of TIFF slices", where=folder.name,
            got=f"{len(stacks)} stacks, names like {', '.join(names)}",
            expected="names that differ in one number", todo="Put each stack into a folder of its own.",
        )  # fmt: skip
    ordered = _by_number(folder, stacks[0])
    left_out = sum(len(group) for group in groups.values()) - len(ordered)
    text = f"{left_out} TIFF files with other names than the stack left out"
    notes = (Note(severity="FLAG", code="tiff-ignored", message=text),) if left_out else ()
    return ordered, notes


def _by_number(folder: Path, stack: list[Path]) -> list[Path]:
    numbers = [[int(n) for n in _DIGITS.findall(path.stem)] for path in stack]
    changing = [k for k in range(len(numbers[0])) if len({row[k] for row in numbers}) > 1]
    if len(changing) != 1:
        raise InputError(
            "tiff-series", "more than one number changes in the names of the slices", where=folder.name,
            got=f"{len(changing)} of them, e.g. in {stack[0].name}", expected="one",
            todo="Put each stack into a folder of its own.",
        )  # fmt: skip
    ordered = sorted((row[changing[0]], path) for row, path in zip(numbers, stack, strict=True))
    steps = [b[0] - a[0] for a, b in pairwise(ordered)]
    step = max(set(steps), key=steps.count)
    odd = next((place for place, found in enumerate(steps) if found != step), None)
    if odd is not None:
        raise InputError(
            "tiff-gap", "a slice is missing, or there twice", where=folder.name,
            got=f"number {ordered[odd + 1][0]} after {ordered[odd][0]}", expected=f"steps of {step}",
            todo="Find the missing slices; nothing is filled in.",
        )  # fmt: skip
    return [path for _, path in ordered]
