"""How bone is cut from marrow, decided from the values of an image: alike in one piece and in blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.source import Note
from srrd_ray.measurement.recipe import grey_value


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """What occurs in an image or a part of it: its extrema, whether there is anything between, and zero.

    `rest` are the extrema without the padding; null where there is nothing else.
    """

    low: float
    high: float
    between: bool
    zero: bool
    rest: tuple[float, float] | None = None

    @property
    def two(self) -> bool:
        """Whether there are two values and no more."""
        return self.low < self.high and not self.between


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How bone is told: all that is not zero (`binary`), or what is above a level, smoothed or as it is.

    `level` is null where it follows from a histogram.
    """

    method: str
    binary: bool = False
    smooth: bool = False
    level: float | None = None


def find_values(image: NDArray[np.generic], padding: float = 0.0) -> Values:
    """Return what occurs in an array of at least one voxel.

    >>> find_values(np.array([0, 255, 0]))
    Values(low=0.0, high=255.0, between=False, zero=True, rest=(255.0, 255.0))
    """
    low, high = float(image.min()), float(image.max())
    between = bool(((image != low) & (image != high)).any())
    others = image[image != padding]
    rest = (float(others.min()), float(others.max())) if others.size else None
    return Values(low=low, high=high, between=between, zero=not image.all(), rest=rest)


def merge_values(parts: Iterable[Values]) -> Values:
    """Return what occurs in an image from what occurs in its parts."""
    parts = list(parts)
    low, high = min(p.low for p in parts), max(p.high for p in parts)
    inner = any(p.between or {p.low, p.high} - {low, high} for p in parts)
    rests = [p.rest for p in parts if p.rest is not None]
    rest = (min(r[0] for r in rests), max(r[1] for r in rests)) if rests else None
    return Values(low=low, high=high, between=inner, zero=any(p.zero for p in parts), rest=rest)


def choose_cut(threshold: str, values: Values, where: str = "") -> tuple[Cut, tuple[Note, ...]]:
    """Return how bone is cut under a threshold (`Recipe.threshold`), and what a user should know of it.

    Raises
    ------
    InputError
        `image-not-binary` where ``binary`` would take every voxel as bone.
    """
    match threshold:
        case "binary":
            return Cut(method="binary", binary=True), _doubts_of_binary(values, where)
        case "auto" if values.two:
            return _cut_of_two(values)
        case "auto":
            return Cut(method="Otsu after a Gaussian of one voxel", smooth=True), ()
        case _:
            return Cut(method="grey value", level=grey_value(threshold)), ()


def _doubts_of_binary(values: Values, where: str) -> tuple[Note, ...]:
    if not values.zero and values.low < values.high:
        raise InputError(
            "image-not-binary", "no voxel is zero, so every one would be bone", where=where,
            got=f"values from {values.low:g} to {values.high:g}", expected="0 in marrow",
            todo="Leave --threshold out, or give a grey value.",
        )  # fmt: skip
    if values.between:
        text = f"more than two values, from {values.low:g} to {values.high:g}: all but 0 are taken as bone"
        return (Note(severity="FLAG", code="image-not-binary", message=text),)
    return ()


def _cut_of_two(values: Values) -> tuple[Cut, tuple[Note, ...]]:
    """Return the cut of an image of two values: smoothing it would add bone."""
    shown = f"two values alone, {values.low:g} and {values.high:g}"
    if values.zero:
        bone = values.low or values.high
        text = f"{shown}: {bone:g} is taken as bone and nothing is smoothed; say --threshold binary"
        note = Note(severity="FIX", code="image-binary", message=text)
        return Cut(method="binary", binary=True), (note,)
    text = f"{shown}: the upper one is taken as bone, nothing is smoothed"
    note = Note(severity="FLAG", code="image-binary", message=text)
    return Cut(method="upper of two values", level=(values.low + values.high) / 2), (note,)
