"""The scanned part of an image where the scanner writes one value around it (the cylinder of a microCT)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.scanned import fill_hulls, is_apart

Mask = NDArray[np.bool_]

LEAST_EMPTY = 0.05
"""Share of the image that has to lie outside the hulls before it counts as 'not scanned'."""


def scanned_field(image: ArrayLike, known: Mask | None = None) -> Mask | None:
    """Return the convex hull in every plane of the voxels that are no padding (`padding_of`);
    null where it leaves out less than `LEAST_EMPTY`.

    `known` is what the reader knows to be scanned, null for everything: the rest takes no part.
    Outside this field there is no marrow and no wall: the image ends there, as it does at the faces of a box.
    """
    array = np.asarray(image)
    padding = padding_of(*end_planes(array, known))
    scanned = array != padding
    if known is not None:
        scanned &= known
    if not scanned.any() or not is_set_off(padding, float(array[scanned].min()), float(array[scanned].max())):
        return None
    field = fill_hulls(scanned)
    if known is not None:
        field &= known
    total = field.size if known is None else int(np.count_nonzero(known))
    return field if leaves_out(int(np.count_nonzero(field)), total) else None


def is_set_off(padding: float, low: float, high: float) -> bool:
    """Return whether a value is none of an image whose other values lie between `low` and `high`.

    Zero counts always, as scanners write it most; another value has to be apart: marrow of one value is none.
    """
    return padding == 0 or is_apart((padding, padding), low, high)


def end_planes(image: NDArray[np.generic], known: Mask | None) -> tuple[NDArray[np.generic], Mask | None]:
    """Return the first and the last plane of an image, and of what is known to be scanned."""
    ends = slice(None, None, max(image.shape[0] - 1, 1))
    return image[ends], None if known is None else known[ends]


def padding_of(ends: NDArray[np.generic], known: Mask | None = None) -> float:
    """Return what a scanner wrote where it did not scan: the value of half of the corners or more, as padding
    on one side has them, else zero.

    `ends` are the first and the last plane of the image; corners that are not in `known` have no value.
    """
    corners = _corners(ends)
    found, counts = np.unique(corners if known is None else corners[_corners(known)], return_counts=True)
    return float(found[counts.argmax()]) if 2 * counts.max(initial=0) >= corners.size else 0.0


def _corners(ends: NDArray[np.generic]) -> NDArray[np.generic]:
    return ends[:, :: max(ends.shape[1] - 1, 1), :: max(ends.shape[2] - 1, 1)]


def leaves_out(inside: int, total: int) -> bool:
    """Return whether a hull of `inside` voxels leaves out so much of
    an image that its zeros were not scanned.
    """
    return inside > 0 and 1.0 - inside / total > LEAST_EMPTY
