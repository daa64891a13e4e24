"""OME-Zarr 0.4 and 0.5 written by anybody;
our own volumes are known by their block and keep their exact geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.nrrd_mha import PlainHeader
from srrd_ray.imaging.source import Note, ReadRules, check_memory
from srrd_ray.storage import omezarr, sharded

UNLIMITED_GIB = 2.0**30
"""More than any image has: who reads block by block needs no limit."""
_TO_MM = {"millimeter": 1.0, "meter": 1e3, "micrometer": 1e-3, "centimeter": 10.0, "nanometer": 1e-6}


def is_group(path: Path) -> bool:
    """Return whether the folder is a Zarr group or array."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def read_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of level 0; `oriented` for our own volumes only,
    as NGFF does not know left from right.

    Raises
    ------
    InputError
        `image-unreadable` or `image-dimensions`, or as `srrd_ray.storage.omezarr.read_stored` for our own.
    """
    group = _open(path)
    if "srrd" in group.attrs:
        stored = omezarr.read_stored(path)
        return PlainHeader(geometry=stored.geometry, oriented=True, dtype=omezarr.open_level(path).dtype)
    multiscale = _multiscale(path, group)
    array, where = _level0(path, group, multiscale)
    shape = tuple(array.shape[-3:])
    if len(shape) != 3 or any(n != 1 for n in array.shape[:-3]):
        raise InputError(
            "image-dimensions", "not a three-dimensional image", where=path.name, got=f"shape {array.shape}"
        )
    check_memory(shape, array.dtype.itemsize, rules, path.name)
    geometry, notes = _geometry(multiscale, where, shape)
    return PlainHeader(geometry=geometry, oriented=False, dtype=array.dtype, notes=notes)


def open_image(path: Path) -> tuple[sharded.ZarrArray, Geometry]:
    """Return level 0 of any OME-Zarr as a lazy array whose last three axes are (z, y, x), and its grid;
    however large.

    Raises
    ------
    InputError
        As `read_header`.
    """
    geometry = read_header(path, ReadRules(max_gib=UNLIMITED_GIB)).geometry
    group = _open(path)
    if "srrd" in group.attrs:
        return omezarr.open_level(path), geometry
    return _level0(path, group, _multiscale(path, group))[0], geometry


def read_values(path: Path) -> NDArray[np.generic]:
    """Return the (z, y, x) values of level 0, checked where the volume is our own."""
    group = _open(path)
    if "srrd" in group.attrs:
        return omezarr.read_volume(path).array
    array = _level0(path, group, _multiscale(path, group))[0]
    try:
        values = np.asarray(array[...])
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise InputError(
            "image-truncated", "a chunk cannot be decoded", where=path.name, got=type(error).__name__
        ) from error
    return values.reshape(values.shape[-3:])


def _open(path: Path) -> zarr.Group:
    try:
        return zarr.open_group(path, mode="r")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            "image-unreadable", "not a readable OME-Zarr", where=path.name, got=type(error).__name__
        ) from error


def _multiscale(path: Path, group: zarr.Group) -> Mapping[str, object]:
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(scales, list) or not scales or not isinstance(scales[0], Mapping):
        raise InputError(
            "image-unreadable", "no multiscales block", where=path.name, expected="OME-Zarr 0.4 or 0.5"
        )
    return scales[0]


def _level0(
    path: Path, group: zarr.Group, multiscale: Mapping[str, object]
) -> tuple[sharded.ZarrArray, Mapping[str, object]]:
    datasets = multiscale.get("datasets")
    first = datasets[0] if isinstance(datasets, list) and datasets else None
    name = str(first.get("path", "")) if isinstance(first, Mapping) else ""
    inside = (path / name).resolve().is_relative_to(path.resolve())
    array = group.get(name) if name and inside else None
    if not isinstance(array, zarr.Array) or not isinstance(first, Mapping):
        raise InputError("image-unreadable", "level 0 is missing", where=path.name)
    return array, first


def _geometry(
    multiscale: Mapping[str, object], dataset: Mapping[str, object], shape: tuple[int, ...]
) -> tuple[Geometry, tuple[Note, ...]]:
    scale, translation = np.ones(3), np.zeros(3)
    transforms = dataset.get("coordinateTransformations")
    for transform in transforms if isinstance(transforms, list) else []:
        if "scale" in transform:
            scale = np.asarray(transform["scale"][-3:], dtype=np.float64)
        if "translation" in transform:
            translation = np.asarray(transform["translation"][-3:], dtype=np.float64)
    axes = multiscale.get("axes")
    units = (
        {str(axis.get("unit")) for axis in axes[-3:] if isinstance(axis, Mapping)}
        if isinstance(axes, list)
        else set()
    )
    unit = units.pop() if len(units) == 1 else "None"
    factor = _TO_MM.get(unit, 1.0)
    notes: tuple[Note, ...] = ()
    if unit not in _TO_MM:
        notes = (
            Note(severity="FLAG", code="zarr-units", message="spatial unit unknown, taken as millimetres"),
        )
    elif factor != 1.0:
        notes = (Note(severity="FIX", code="zarr-units", message=f"{unit} converted to millimetres"),)
    z, y, x = shape
    return Geometry.axis_aligned((z, y, x), scale * factor, (translation * factor)[::-1]), notes
