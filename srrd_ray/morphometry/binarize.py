"""From grey values to bone: thresholds for microCT and other images that resolve trabeculae."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from srrd_ray.core.errors import InputError

Real = NDArray[np.float64]


def smooth_one_voxel(image: ArrayLike) -> Real:
    """Return `image` after a Gaussian of one voxel, float64."""
    smooth: Real = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), 1.0)
    return smooth


def smooth_within(image: ArrayLike, field: NDArray[np.bool_]) -> Real:
    """Return `image` after a Gaussian of one voxel in which the voxels of `field` alone take part, float64.

    Outside it is 0. The field ends for the filter as it does for the eye: padding does not bleed into it.
    """
    values = np.where(field, np.asarray(image, dtype=np.float64), 0.0)
    weight = smooth_one_voxel(field)
    return np.divide(smooth_one_voxel(values), weight, out=np.zeros_like(weight), where=field)


def otsu_threshold(smooth: ArrayLike) -> float:
    """Return the threshold of Otsu (256 bins) of an image already smoothed.

    Raises
    ------
    InputError
        `image-constant` where the image has one value only: there is nothing to separate.
    """
    values = np.asarray(smooth, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            "image-not-finite", "the image has NaN or infinite voxels", todo="Repair or crop the image."
        )
    if values.min() == values.max():
        raise InputError("image-constant", "every voxel has one value", got=str(values.flat[0]))
    return float(threshold_otsu(values))


def otsu_from_histogram(counts: ArrayLike, low: float, high: float) -> float:
    """Return the threshold of Otsu from counts in equal bins between `low` and `high`:
    exactly that of `otsu_threshold`.
    """
    edges = np.linspace(low, high, np.size(counts) + 1)
    return float(threshold_otsu(hist=(np.asarray(counts), (edges[:-1] + edges[1:]) / 2)))
