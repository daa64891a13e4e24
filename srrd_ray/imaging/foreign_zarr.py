"""OME-Zarr 0.4 and 0.5 written by anybody;
our own volumes are known by their block and keep their exact geometry.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging import zarr_axes
from srrd_ray.imaging.plain import PlainHeader
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, ReadRules, check_memory
from srrd_ray.storage import omezarr, sharded

UNLIMITED_GIB = 2.0**30
"""More than any image has: who reads block by block needs no limit."""
_MOST_CHUNKS = 100_000
_BROKEN = (
    ValueError, KeyError, TypeError, OSError, RuntimeError, AttributeError, NotImplementedError, IndexError,
    ArithmeticError, RecursionError, MemoryError, SystemError,
)  # fmt: skip


def is_group(path: Path) -> bool:
    """Return whether the folder is a Zarr group or array."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def read_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of level 0; `oriented` for our own volumes,
    and where the axes have an anatomical orientation (RFC 4).

    Raises
    ------
    InputError
        `image-unreadable`, `image-dimensions`, `image-datatype`, `spacing-invalid`, or as
        `srrd_ray.storage.omezarr.read_stored` for our own.
    """
    group = _open(path)
    if "srrd" in group.attrs:
        stored = omezarr.read_stored(path)
        return PlainHeader(geometry=stored.geometry, oriented=True, dtype=omezarr.open_level(path).dtype)
    multiscale = _multiscale(path, group)
    array, level = _level0(path, group, multiscale)
    where = zarr_axes.parse_axes(path, multiscale, level, array.shape)
    if array.dtype.kind not in "biuf":
        raise InputError(
            "image-datatype", "voxels are not numbers", where=path.name, got=str(array.dtype)[:40]
        )
    z, y, x = array.shape[-3:]
    check_memory((z, y, x), array.dtype.itemsize, rules, path.name)
    return PlainHeader(
        geometry=Geometry.from_affine((z, y, x), where.affine),
        oriented=where.oriented,
        scaled=where.scaled,
        dtype=array.dtype,
        notes=(*where.notes, *_note_finer(group, multiscale, array), *_note_missing(path.name, array)),
    )


def _note_finer(
    group: zarr.Group, multiscale: Mapping[str, object], array: sharded.ZarrArray
) -> tuple[Note, ...]:
    """Return a FLAG where another level has more voxels than the first, which has to be the finest."""
    datasets = multiscale.get("datasets")
    others = [one for one in datasets[1:] if isinstance(one, Mapping)] if isinstance(datasets, list) else []
    try:
        found = [group.get(str(one["path"])) for one in others]
    except _BROKEN:  # a level that is not read
        return ()
    finer = [level.shape for level in found if isinstance(level, zarr.Array) and level.size > array.size]
    if not finer:
        return ()
    text = f"the first level, of shape {array.shape}, is read, but another has shape {finer[0]}"
    return (Note(severity="FLAG", code="zarr-levels", message=text),)


def _note_missing(where: str, array: sharded.ZarrArray) -> tuple[Note, ...]:
    """Return a FLAG where chunks are not there: writers leave out empty ones, but a copy that was cut short
    lacks others.
    """
    if min(array.chunks, default=1) < 1:
        raise InputError("image-unreadable", "chunks of no size", where=where, got=str(array.chunks))
    if array.nchunks > _MOST_CHUNKS:
        return ()
    total, there, files = _count_files(array)
    if there == total:
        return ()
    if not there:
        raise InputError(
            "image-truncated", "not one chunk of the image is where its metadata say", where=where,
            got=f"0 of {total} {files}",
            todo="Copy the whole folder again; where dimension_separator is /, chunks are not named 0.0.0.",
        )  # fmt: skip
    text = f"{total - there} of {total} {files} are not there and are read as {array.fill_value or 0}"
    text += "; if they were not left out as empty, copy the folder again"
    return (Note(severity="FLAG", code="zarr-chunks-missing", message=text),)


def _count_files(array: sharded.ZarrArray) -> tuple[int, int, str]:
    """Return how many files an array has when all are there, how many are, and what they are called."""
    if array.shards is None:
        return array.nchunks, array.nchunks_initialized, "chunks"
    total = prod(-(-n // side) for n, side in zip(array.shape, array.shards, strict=True))
    inside = prod(side // n for side, n in zip(array.shards, array.chunks, strict=True))
    return total, array.nchunks_initialized // inside, "shards"  # counted in whole shards of chunks


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
    except _BROKEN as error:
        raise InputError(
            "image-truncated", "a chunk cannot be decoded", where=path.name, got=explain(error),
            todo="Copy the whole folder again.",
        ) from error  # fmt: skip
    return values.reshape(values.shape[-3:])


def open_scanned(path: Path) -> sharded.ZarrArray | None:
    """Return what was scanned of a volume of our own, as a lazy mask; null for everything."""
    return omezarr.open_scanned(path) if "srrd" in _open(path).attrs else None


def read_scanned(path: Path) -> NDArray[np.bool_] | None:
    """Return what was scanned of a volume of our own, as a mask; null for everything."""
    scanned = open_scanned(path)
    return None if scanned is None else sharded.read_window(path, scanned).astype(np.bool_, copy=False)


def _open(path: Path) -> zarr.Group:
    try:
        return zarr.open_group(path, mode="r")
    except _BROKEN as error:
        raise InputError(
            "image-unreadable", "not a readable OME-Zarr", where=path.name, got=explain(error)
        ) from error


def _multiscale(path: Path, group: zarr.Group) -> Mapping[str, object]:
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(scales, list) or not scales or not isinstance(scales[0], Mapping):
        inside = _images_inside(group)
        raise InputError(
            "image-unreadable", "no multiscales block", where=path.name, expected="OME-Zarr 0.4 or 0.5",
            todo=f"Give an image in it, e.g. {path.name}/{inside[0]}." if inside else "",
        )  # fmt: skip
    return scales[0]


def _images_inside(group: zarr.Group) -> list[str]:
    """Return the images directly in a group that is none itself, as converters of microscopes write them."""
    try:
        with warnings.catch_warnings():  # of folders beside the images that are no part of Zarr
            warnings.simplefilter("ignore")
            below = {name: one.attrs.asdict() for name, one in group.groups()}
    except _BROKEN:  # what lies beside the image is broken too
        return []
    scales = {name: about.get("ome", about) for name, about in below.items()}
    return sorted(
        name for name, about in scales.items() if isinstance(about, Mapping) and "multiscales" in about
    )


def _level0(
    path: Path, group: zarr.Group, multiscale: Mapping[str, object]
) -> tuple[sharded.ZarrArray, Mapping[str, object]]:
    datasets = multiscale.get("datasets")
    first = datasets[0] if isinstance(datasets, list) and datasets else None
    name = str(first.get("path", "")) if isinstance(first, Mapping) else ""
    try:
        inside = (path / name).resolve().is_relative_to(path.resolve())
        array = group.get(name) if name and inside else None
    except _BROKEN as error:
        raise InputError(
            "image-unreadable", "level 0 cannot be opened", where=path.name, got=explain(error)
        ) from error
    if not isinstance(array, zarr.Array) or not isinstance(first, Mapping):
        raise InputError("image-unreadable", "level 0 is missing", where=path.name)
    return array, first
