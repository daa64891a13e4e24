"""Values of cubes painted back into the volume they were cut from: parameter maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.volume import Volume


def paint(
    centers_lps_mm: NDArray[np.float64],
    values: NDArray[np.float64],
    mask: Volume[np.bool_],
    *,
    reach_mm: float = 6.0,
) -> Volume[np.float32]:
    """Return a map on the grid of `mask`: inside it, the mean of `values` (n,) of all centres (n,
    3) within `reach_mm`.

    Means are weighted by a Gaussian of SD `reach_mm` / 2, so that neighbouring cubes blend.
    NaN outside the mask and where no centre is near.
    """
    geometry = mask.geometry
    total, weight = (np.zeros(geometry.shape, dtype=np.float64) for _ in range(2))
    for center, value in zip(centers_lps_mm, values, strict=True):
        window, distance2 = _near(geometry, center, reach_mm)
        share = np.exp(-2 * distance2 / reach_mm**2) * (distance2 <= reach_mm**2)
        total[window] += share * value
        weight[window] += share
    painted = np.full(geometry.shape, np.nan, dtype=np.float32)
    covered = (weight > 0) & mask.array
    painted[covered] = total[covered] / weight[covered]
    return Volume(array=painted, geometry=geometry)


def _near(
    geometry: Geometry, center: NDArray[np.float64], reach_mm: float
) -> tuple[tuple[slice, slice, slice], NDArray[np.float64]]:
    """Return the window of voxels round `center`, and their squared distances (mm²) to it."""
    offsets = np.array(np.meshgrid(*[(-reach_mm, reach_mm)] * 3)).reshape(3, -1).T
    index = geometry.lps_to_index(center + offsets)
    low = np.clip(np.floor(index.min(axis=0)), 0, geometry.shape).astype(int)
    high = np.clip(np.ceil(index.max(axis=0)) + 1, low, geometry.shape).astype(int)
    shape: Shape = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
    points = geometry.index_to_lps(np.moveaxis(np.indices(shape), 0, -1) + low)
    window = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return window, ((points - center) ** 2).sum(axis=-1)
