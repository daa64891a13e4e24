"""The slowly varying gain of an MR coil, taken from the bright marrow, and images free of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.grids import resample_to_working_grid

SPACING_MM = 1.5
SIGMA_MM = 12.0


def flatten_bias(mr: Volume[Scalar]) -> Volume[np.float32]:
    """Return the MR over its local marrow level:
    about 1 in marrow, whatever the gain and its drift over the coil.

    The level is the local mean (Gaussian of 12 mm) of what is bright, found twice: first against the whole
    image, then against the level itself. Wide differences of bone density are flattened with the gain;
    trabeculae and edges stay.
    """
    coarse = resample_to_working_grid(mr, SPACING_MM, 0.5 * SPACING_MM)
    image = coarse.array
    level = np.full_like(image, np.percentile(image, 90))
    for share in (0.4, 0.6):
        level = _local_mean(
            image, (image > share * level).astype(np.float32), float(np.percentile(image, 90))
        )
    wide = np.pad(level, 1, mode="edge")
    grid = coarse.geometry.crop((-1, -1, -1), (wide.shape[0], wide.shape[1], wide.shape[2]))
    field = Volume(array=wide, geometry=grid).resample_onto(mr.geometry).array
    ratio = (mr.array.astype(np.float32) / np.maximum(field, 1e-6)).astype(np.float32)
    ratio[field <= 0] = 0.0
    return Volume(array=ratio, geometry=mr.geometry)


def _local_mean(image: NDArray[np.float32], weight: NDArray[np.float32], prior: float) -> NDArray[np.float32]:
    sigma = SIGMA_MM / SPACING_MM
    total: NDArray[np.float32] = ndimage.gaussian_filter(weight, sigma, mode="nearest") + 0.02
    summed: NDArray[np.float32] = (
        ndimage.gaussian_filter(image * weight, sigma, mode="nearest") + 0.02 * prior
    )
    mean: NDArray[np.float32] = summed / total
    return mean
