"""Volumes that are read and written window by window:
any OME-Zarr in, our own sharded arrays out, one writer a shard.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.hashing import hash_json
from srrd_ray.imaging import foreign_zarr
from srrd_ray.imaging.reasons import explain
from srrd_ray.storage import sharded
from srrd_ray.storage.atomic import replacing

Window = tuple[slice, slice, slice]
CHUNKS = (64, 32)
AXES = ("z", "y", "x")


def read_grey(path: Path, window: Window) -> NDArray[np.float64]:
    """Return the values of a window of level 0, through float32 as `read_image` has them.

    Raises
    ------
    InputError
        `image-truncated` where a chunk cannot be decoded, `voxels-not-finite` for NaN or infinite values.
    """
    array, _ = foreign_zarr.open_image(path)
    try:
        values = np.asarray(array[(0,) * (array.ndim - 3) + window])
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise InputError(
            "image-truncated", "a chunk cannot be decoded", where=path.name, got=explain(error)
        ) from error
    grey: NDArray[np.float64] = values.astype(np.float32, copy=False).astype(np.float64)
    if not np.isfinite(grey).all():
        raise InputError(
            "voxels-not-finite", "NaN or infinite voxels", where=path.name, todo="Repair or crop the image."
        )
    return grey


def read_scanned(path: Path, window: Window) -> NDArray[np.bool_] | None:
    """Return where a window of a volume of our own holds no padding; null for everywhere."""
    scanned = foreign_zarr.open_scanned(path)
    return (
        None if scanned is None else sharded.read_window(path, scanned, window).astype(np.bool_, copy=False)
    )


def read_ends(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Return the first and the last plane, as `read_grey` and `read_scanned` have them."""
    nz, ny, nx = foreign_zarr.open_image(path)[0].shape[-3:]
    windows = [(slice(z, z + 1), slice(0, ny), slice(0, nx)) for z in sorted({0, nz - 1})]
    known = [mask for window in windows if (mask := read_scanned(path, window)) is not None]
    grey = np.concatenate([read_grey(path, window) for window in windows])
    return grey, np.concatenate(known) if known else None


def hash_listing(path: Path) -> str:
    """Return a hash of the names, sizes and modification times of all files of a store:
    cheap, changes with any write.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    entries = [(p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hash_json(path.name, entries)


def create_store(path: Path, grid: Geometry, dtype: str, block: Shape, name: str) -> None:
    """Create an OME-Zarr 0.5 of one level at `path` with one shard a block;
    an existing one of that form is kept.
    """
    shape = grid.shape
    if _matches(path, shape, dtype, block):
        return
    chunk = next((n for n in CHUNKS if all(b % n == 0 for b in block)), None)
    with replacing(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        sides = (chunk,) * 3 if chunk else block
        sharded.create_array(group, "0", shape, np.dtype(dtype), chunk=sides, shard=block, axes=AXES)
        scale = [{"type": "scale", "scale": list(grid.spacing_mm)}]
        axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in AXES]
        level = {"path": "0", "coordinateTransformations": scale}
        ome = {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": [level]}]}
        group.update_attributes({"ome": ome, "ijk_to_lps": [list(row) for row in grid.ijk_to_lps]})


def _matches(path: Path, shape: Shape, dtype: str, block: Shape) -> bool:
    try:
        array = _array(path)
    except StoreError:
        return False
    shards = array.shards or array.chunks
    fits = all(s == b or s >= n for s, b, n in zip(shards, block, shape, strict=True))
    return array.shape == shape and array.dtype == np.dtype(dtype) and fits


def write_block(path: Path, window: Window, values: NDArray[np.generic]) -> Path:
    """Return the file of the shard that `values` were written to; the window is that of the whole shard.

    Raises
    ------
    StoreError
        `block-unaligned` where the window is not just one shard: two writers of one shard lose data.
    """
    array = _array(path, "r+")
    shards = array.shards or array.chunks
    whole = all(
        w.start % s == 0 and w.stop == min(w.start + s, n)
        for w, s, n in zip(window, shards, array.shape, strict=True)
    )
    if not whole:
        raise StoreError("block-unaligned", "a block is not a whole shard", where=path.name, got=str(window))
    array[window] = values
    return (path / "0" / "c").joinpath(*(str(w.start // s) for w, s in zip(window, shards, strict=True)))


def read_block(path: Path, window: Window) -> sharded.Array:
    """Return the values of any window of a store that `create_store` made;
    every shard of it has been written.
    """
    return sharded.read_window(path, _array(path), window)


def _array(path: Path, mode: str = "r") -> sharded.ZarrArray:
    if not (path / "zarr.json").is_file():
        raise StoreError("store-missing", "no such store", where=path.name, todo=sharded.REBUILD)
    group = zarr.open_group(path, mode="r+" if mode == "r+" else "r", zarr_format=3)
    array = group["0"]
    if not isinstance(array, zarr.Array):
        raise StoreError("array-missing", "no array '0'", where=path.name, todo=sharded.REBUILD)
    return array
