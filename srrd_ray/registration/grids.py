"""Isotropic working grids along the LPS axes, and volumes brought onto them without aliasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.core.volume import Scalar, Volume


def working_grid(geometry: Geometry, spacing_mm: float) -> Geometry:
    """Return the isotropic grid along LPS of `spacing_mm` that covers the voxel centres of `geometry`."""
    corners = geometry.corners_lps()
    low, high = corners.min(axis=0), corners.max(axis=0)
    z, y, x = (int(np.floor(extent / spacing_mm + 1e-6)) + 1 for extent in (high - low)[::-1])
    rest = (high - low) - (np.array([x, y, z]) - 1) * spacing_mm
    return Geometry.axis_aligned((z, y, x), (spacing_mm,) * 3, low + rest / 2)


def smooth(volume: Volume[Scalar], sigma_mm: float) -> Volume[np.float32]:
    """Return the volume after a Gaussian of `sigma_mm`, whatever its spacing; edges are replicated."""
    sigma = [sigma_mm / spacing for spacing in volume.geometry.spacing_mm]
    source = volume.array.astype(np.float32)
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(source, sigma, mode="nearest", truncate=3.0)
    return Volume(array=blurred, geometry=volume.geometry)


def resample_to_working_grid(
    volume: Volume[Scalar], spacing_mm: float, sigma_mm: float
) -> Volume[np.float32]:
    """Return the smoothed volume on its working grid;
    grid points outside the field of view continue its edge.

    Continued edges make a bone that the field of view cuts look unbounded there,
    rather than ended by a surface.
    """
    grid = working_grid(volume.geometry, spacing_mm)
    source = smooth(volume, sigma_mm).array
    ijk = np.linalg.inv(volume.geometry.affine) @ grid.affine
    array: NDArray[np.float32] = ndimage.affine_transform(
        source,
        ijk[:3, :3][::-1, ::-1],
        offset=transform_points(ijk, np.zeros(3))[::-1],
        output_shape=grid.shape,
        order=1,
        mode="nearest",
        output=np.float32,
    )
    return Volume(array=array, geometry=grid)


def inside(grid: Geometry, field: Geometry, to_field: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Return which voxels of `grid` lie within the voxel centres of `field`.

    `to_field` is the 4×4 transform from the world of `grid` to that of `field`, LPS mm;
    the identity where absent.
    """
    world = np.eye(4) if to_field is None else np.asarray(to_field, dtype=np.float64)
    ijk = np.linalg.inv(field.affine) @ world @ grid.affine
    index = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij", sparse=True)
    result = np.ones(grid.shape, dtype=bool)
    for axis, size in zip(range(3), field.shape[::-1], strict=True):
        at = ijk[axis, 0] * index[2] + ijk[axis, 1] * index[1] + ijk[axis, 2] * index[0] + ijk[axis, 3]
        result &= (at >= -1e-6) & (at <= size - 1 + 1e-6)
    return result
