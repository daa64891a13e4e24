"""The scanned part of an image where the scanner writes one value around it (the cylinder of a microCT)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]

LEAST_EMPTY = 0.05
"""Share of the image that has to lie outside the hulls before it counts as 'not scanned'."""

LEAST_GAP = 0.1
"""Distance of padding other than zero from the values of an image, as a share of their range."""


def scanned_field(image: ArrayLike) -> Mask | None:
    """Return the convex hull in every plane of the voxels that are no padding (`padding_of`);
    null where it leaves out less than `LEAST_EMPTY`.

    Outside this field there is no marrow and no wall: the image ends there, as it does at the faces of a box.
    """
    array = np.asarray(image)
    padding = padding_of(array[:: max(array.shape[0] - 1, 1)])
    scanned = array != padding
    if not scanned.any() or not is_set_off(padding, float(array[scanned].min()), float(array[scanned].max())):
        return None
    field = fill_hulls(array, padding)
    return field if leaves_out(int(np.count_nonzero(field)), field.size) else None


def is_set_off(padding: float, low: float, high: float) -> bool:
    """Return whether a value is none of an image whose other values lie between `low` and `high`.

    Zero counts always, as scanners write it most; another value has to be apart: marrow of one value is none.
    """
    gap = max(low - padding, padding - high)
    return padding == 0 or (low < high and gap > LEAST_GAP * (high - low))


def padding_of(ends: NDArray[np.generic]) -> float:
    """Return what a scanner wrote where it did not scan: the value of half of the corners or more, as padding
    on one side has them, else zero.

    `ends` are the first and the last plane of the image.
    """
    corners = ends[:, :: max(ends.shape[1] - 1, 1), :: max(ends.shape[2] - 1, 1)]
    found, counts = np.unique(corners, return_counts=True)
    return float(found[counts.argmax()]) if 2 * counts.max() >= corners.size else 0.0


def leaves_out(inside: int, total: int) -> bool:
    """Return whether a hull of `inside` voxels leaves out so much of
    an image that its zeros were not scanned.
    """
    return inside > 0 and 1.0 - inside / total > LEAST_EMPTY


def fill_hulls(image: ArrayLike, padding: float = 0.0) -> Mask:
    """Return the convex hull of the voxels that are no `padding` in every plane (z)."""
    nonzero: Mask = np.asarray(image) != padding
    field = np.zeros(nonzero.shape, dtype=np.bool_)
    for plane, source in zip(field, nonzero, strict=True):
        _fill_hull(plane, source)
    return field


def _fill_hull(plane: Mask, nonzero: Mask) -> None:
    rows = np.flatnonzero(nonzero.any(axis=1))
    if rows.size == 0:
        return
    width = nonzero.shape[1]
    first = nonzero[rows].argmax(axis=1).astype(np.float64)
    last = width - 1.0 - nonzero[rows, ::-1].argmax(axis=1)
    spanned = np.arange(rows[0], rows[-1] + 1)
    left = np.ceil(_convex_below(rows, first, spanned) - 1e-9)
    right = np.floor(-_convex_below(rows, -last, spanned) + 1e-9)
    x = np.arange(width)
    plane[spanned] = (x >= left[:, None]) & (x <= right[:, None])


def _convex_below(at: NDArray[np.intp], values: Real, spanned: NDArray[np.intp]) -> Real:
    """Return the greatest convex function below the points (`at`, `values`),
    at `spanned` (Andrew's monotone chain).
    """
    chain: list[tuple[float, float]] = []
    for p in zip(at.tolist(), values.tolist(), strict=True):
        while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
            chain.pop()
        chain.append(p)
    return np.interp(spanned, [p[0] for p in chain], [p[1] for p in chain])


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
