"""What of an image was scanned: the hull of it in every plane, a value that is none of it, another grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]

LEAST_GAP = 0.1
"""Distance of padding from the values of an image, as a share of their range."""
TOUCHED = 1e-3
"""Share of padding in an interpolated value from which it is no value of the image."""


def is_apart(padding: tuple[float, float], low: float, high: float) -> bool:
    """Return whether the values of padding are none of an image whose others lie between `low` and `high`.

    An image of one other value is binary: its two values belong together.

    >>> is_apart((-2000, -2000), -1000, 3000), is_apart((0, 0), 1, 255), is_apart((0, 0), 255, 255)
    (True, False, False)
    """
    return low < high and max(low - padding[1], padding[0] - high) > LEAST_GAP * (high - low)


def resample_scanned(scanned: Mask | None, geometry: Geometry, grid: Geometry) -> Mask | None:
    """Return what of `grid` holds nothing but scanned values of an image on `geometry`; null for all of it.

    `scanned` is null for all of the image.
    """
    unknown = np.zeros(geometry.shape, np.float32) if scanned is None else (~scanned).astype(np.float32)
    share = Volume(array=unknown, geometry=geometry).resample_onto(grid, fill=1.0).array
    known: Mask = share < TOUCHED
    return None if known.all() else known


def fill_hulls(scanned: Mask) -> Mask:
    """Return the convex hull of a (z, y, x) mask in every plane (z)."""
    field = np.zeros(scanned.shape, dtype=np.bool_)
    for plane, source in zip(field, scanned, strict=True):
        _fill_hull(plane, source)
    return field


def _fill_hull(plane: Mask, inside: Mask) -> None:
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return
    width = inside.shape[1]
    first = inside[rows].argmax(axis=1).astype(np.float64)
    last = width - 1.0 - inside[rows, ::-1].argmax(axis=1)
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
