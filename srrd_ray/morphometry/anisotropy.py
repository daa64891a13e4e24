"""Degree of anisotropy and main directions from the mean intercept length.

The number of intercepts a unit length of lines along d makes with a surface is Σ area·|n·d| / TV (Crofton):
the limit of infinitely many lines, without noise.
An ellipsoid is fitted to 1/MIL² over directions (Harrigan & Mann, J. Mater. Sci. 19:761, 1984);
its tensor has eigenvalues 1/radius².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anisotropy:
    """DA = 1 - λmin/λmax (0 isotropic, 1 fully oriented);
    `ratio` is longest/shortest radius, null where one is infinite.

    `axes` are unit vectors (z, y, x) from the longest mean intercept length to the shortest;
    `eigenvalues` (1/mm²) rise.
    """

    da: float
    ratio: float | None
    eigenvalues: Vector
    axes: tuple[Vector, Vector, Vector]


def _directions(count: int = 300) -> Real:
    """Return unit vectors spread evenly over the half sphere,
    made symmetric under permutation and reflection of axes.
    """
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    z = (np.arange(count) + 0.5) / count
    flat = np.sqrt(1 - z * z)
    spiral = np.stack([z, flat * np.cos(turn), flat * np.sin(turn)], axis=1)
    turned = np.concatenate([np.roll(spiral, shift, axis=1) for shift in range(3)])
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]])
    both: Real = turned[None] * signs[:, None]
    return both.reshape(-1, 3)


DIRECTIONS = _directions()


def anisotropy(orientation: tuple[float, ...], volume_mm3: float) -> Anisotropy | None:
    """Return the ellipsoid of `Surface.orientation` (mm², one a direction) in a region of `volume_mm3`;
    null without surface.
    """
    intercepts = np.asarray(orientation) / volume_mm3
    if not intercepts.any():
        return None
    z, y, x = DIRECTIONS.T
    terms = np.stack([z * z, y * y, x * x, 2 * z * y, 2 * z * x, 2 * y * x], axis=1)
    zz, yy, xx, zy, zx, yx = np.linalg.lstsq(terms, intercepts**2, rcond=None)[0]
    values, vectors = np.linalg.eigh(np.array([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]]))
    low, high = max(float(values[0]), 0.0), float(values[2])
    return Anisotropy(
        da=1.0 - low / high,
        ratio=float(np.sqrt(high / low)) if low > 1e-9 * high else None,
        eigenvalues=_vector(values),
        axes=(_vector(vectors[:, 0]), _vector(vectors[:, 1]), _vector(vectors[:, 2])),
    )


def _vector(values: Real) -> Vector:
    a, b, c = values.tolist()
    return a, b, c
