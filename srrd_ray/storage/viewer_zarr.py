"""Volumes as OME-Zarr for viewers (napari, Neuroglancer): each in its place, over the others.

NGFF 0.5 has scale and translation, and no rotation. The axes are those of LPS, in mm, with the orientation of
RFC 4; a volume on an oblique grid is resampled to one along them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import numpy as np
import zarr
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.storage import omezarr
from srrd_ray.storage.atomic import replacing

Kind: TypeAlias = Literal["image", "labels", "map"]
"""An image is interpolated where it is resampled; labels and maps (NaN where there is nothing) are not."""
ORIENTATIONS = {"z": "inferior-to-superior", "y": "anterior-to-posterior", "x": "right-to-left"}
PARALLEL_MM = 0.05
"""How far the last voxel may lie from where it would be on a grid along LPS."""


def write_for_viewers(path: Path, volume: Volume[np.generic], name: str, kind: Kind) -> Path:
    """Return `path` after writing a volume with its pyramid; an older one there is replaced."""
    placed = volume.to_lps_order() if is_along_lps(volume.geometry) else _resample(volume, kind)
    with replacing(path) as temporary:
        group = zarr.create_group(temporary, zarr_format=3)
        levels = omezarr.write_levels(group, placed, labels=kind == "labels")
        group.update_attributes({"ome": _metadata(name, levels)})
    return path


def is_along_lps(geometry: Geometry) -> bool:
    """Return whether scale and translation alone say where the voxels of a grid are."""
    turned = geometry.lps_order()
    first, spacing = turned.index_to_lps((0, 0, 0)), turned.spacing_mm
    return turned.matches(Geometry.axis_aligned(turned.shape, spacing, first), PARALLEL_MM)


def _resample(volume: Volume[np.generic], kind: Kind) -> Volume[np.generic]:
    """Return a volume on the grid along LPS that covers it, with the same spacings."""
    turned = volume.to_lps_order()
    corners, spacing = turned.geometry.corners_lps(), turned.geometry.spacing_mm
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    z, y, x = (int(np.ceil(round(e / s, 6))) + 1 for e, s in zip(extent[::-1], spacing, strict=True))
    grid = Geometry.axis_aligned((z, y, x), spacing, low)
    match kind:
        case "image":
            sampled = turned.resample_onto(grid, fill=float(turned.array.min()))
            return Volume(array=_as_before(sampled.array, turned.array.dtype), geometry=grid)
        case "labels":
            sampled = turned.resample_onto(grid, order=0)
            return Volume(array=_as_before(sampled.array, turned.array.dtype), geometry=grid)
        case "map":
            return turned.resample_onto(grid, order=0, fill=float("nan"))
        case _:
            assert_never(kind)


def _as_before(values: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    return np.rint(values).astype(dtype) if dtype.kind in "iu" else values


def _metadata(name: str, levels: list[omezarr.Level]) -> dict[str, object]:
    """Return the `ome` block: where the centre of the first voxel of each level is, LPS mm."""
    axes = [
        {
            "name": axis,
            "type": "space",
            "unit": "millimeter",
            "orientation": {"type": "anatomical", "value": ORIENTATIONS[axis]},
        }
        for axis in omezarr.AXES
    ]
    datasets = [
        {
            "path": level.name,
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.geometry.spacing_mm)},
                {"type": "translation", "translation": _origin(level.geometry)},
            ],
        }
        for level in levels
    ]
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}


def _origin(geometry: Geometry) -> list[float]:
    """Return the place of the first voxel, (z, y, x)."""
    return [round(float(v), 9) for v in geometry.index_to_lps((0, 0, 0))[::-1]]
