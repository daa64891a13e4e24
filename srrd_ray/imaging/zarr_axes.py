"""Where the voxels of a foreign OME-Zarr are: its axes, their units and orientation, and its transforms.

Sources: NGFF 0.4 and 0.5 (https://ngff.openmicroscopy.org), of orientation RFC 4. Transforms of the data set
are applied first, then those of the multiscale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.plain import require_positive, to_millimetres, unit_notes, unreadable_error
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note

_WORLD = {"x": 0, "y": 1, "z": 2}
_ORIENTATIONS = {
    "right-to-left": (0, 1), "left-to-right": (0, -1),
    "anterior-to-posterior": (1, 1), "posterior-to-anterior": (1, -1),
    "inferior-to-superior": (2, 1), "superior-to-inferior": (2, -1),
}  # fmt: skip
"""Axis of LPS and sign."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Affine from (x, y, z) = the last three indices reversed to LPS mm, and what is known of it."""

    affine: Vector
    oriented: bool
    scaled: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axis:
    name: str
    spatial: bool
    unit: str
    orientation: str


def parse_axes(
    path: Path, multiscale: Mapping[str, object], dataset: Mapping[str, object], shape: Sequence[int]
) -> Placed:
    """Return where the voxels of an array of `shape` are, whose last three axes have to be those of space.

    Raises
    ------
    InputError
        `image-dimensions`, `spacing-invalid`, or `image-unreadable` for transforms that are not understood.
    """
    try:
        axes = _axes(multiscale.get("axes"), len(shape))
        scale, translation, scaled = _compose((dataset, multiscale), len(shape))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise unreadable_error(path, "OME-Zarr", f"{explain(error)} in axes or transforms") from error
    _require_volume(path, axes, shape)
    places, oriented = _places(axes[-3:])
    units = [axis.unit for axis in axes[-3:]]
    factors = np.array([to_millimetres(unit) or 1.0 for unit in units])
    steps = require_positive(path, scale[-3:]) * factors
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for axis, (world, sign) in enumerate(places):
        affine[world, 2 - axis] = sign * steps[axis]
        affine[world, 3] = sign * translation[-3:][axis] * factors[axis]
    return Placed(affine=affine, oriented=oriented, scaled=scaled, notes=unit_notes("zarr-units", units))


def _axes(given: object, count: int) -> list[_Axis]:
    """Return the axes; those of old versions have names or nothing, and the last three are of space."""
    if given is None:
        return [
            _Axis(name="tczyx"[n - count], spatial=n >= count - 3, unit="", orientation="")
            for n in range(count)
        ]
    if not isinstance(given, list) or len(given) != count:
        raise ValueError("one entry an axis")
    return [_axis(item) for item in given]


def _axis(item: object) -> _Axis:
    if isinstance(item, str):
        return _Axis(name=item.lower(), spatial=item.lower() in _WORLD, unit="", orientation="")
    if not isinstance(item, Mapping):
        raise TypeError("axis")
    name = str(item["name"]).lower()
    kind = item.get("type")
    orientation = item.get("orientation")
    value = orientation.get("value", "") if isinstance(orientation, Mapping) else orientation or ""
    return _Axis(
        name=name,
        spatial=name in _WORLD if kind is None else kind == "space",
        unit=str(item.get("unit") or ""),
        orientation=str(value),
    )


def _require_volume(path: Path, axes: Sequence[_Axis], shape: Sequence[int]) -> None:
    spatial = [axis.spatial for axis in axes]
    others = [n for n, of_space in zip(shape, spatial, strict=True) if not of_space]
    if spatial[-3:] == [True] * 3 and sum(spatial) == 3 and all(n == 1 for n in others) and min(shape) > 0:
        return
    raise InputError(
        "image-dimensions", "not a three-dimensional image of one channel", where=path.name,
        got=f"shape {tuple(shape)}, axes {' '.join(axis.name[:8] for axis in axes)}",
        expected="three axes of space, the last ones, and all others of length one",
        todo="Save one channel, or one time, as a volume of its own.",
    )  # fmt: skip


def _places(axes: Sequence[_Axis]) -> tuple[list[tuple[int, int]], bool]:
    """Return axis of the world and sign of each array axis, and whether they are the patient's."""
    told = [_ORIENTATIONS.get(axis.orientation) for axis in axes]
    known = [place for place in told if place is not None]
    if len(known) == 3 and {world for world, _ in known} == {0, 1, 2}:
        return known, True
    named = [_WORLD.get(axis.name, -1) for axis in axes]
    worlds = named if set(named) == {0, 1, 2} else [2, 1, 0]
    return [(world, 1) for world in worlds], False


def _compose(levels: Sequence[Mapping[str, object]], count: int) -> tuple[Vector, Vector, bool]:
    """Return scale and translation of all transforms in order, and whether there is a scale among them."""
    scale, translation, scaled = np.ones(count), np.zeros(count), False
    for level in levels:
        transforms = level.get("coordinateTransformations") or []
        if not isinstance(transforms, list):
            raise TypeError("coordinateTransformations")
        for transform in transforms:
            kind = transform["type"]
            values = np.ones(count) if kind == "identity" else _vector(transform[kind], count)
            if kind == "scale":
                scale, translation, scaled = scale * values, translation * values, True
            elif kind == "translation":
                translation = translation + values
            elif kind != "identity":
                raise ValueError("transform")
    return scale, translation, scaled


def _vector(values: object, count: int) -> Vector:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (count,):
        raise ValueError("one number an axis")
    return vector
