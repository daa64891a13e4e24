"""Local thickness from a surface between the voxels: off by default, as no other tool measures so.

The voxel definition takes the wall for the nearest voxel centre of the other phase: an odd plate reads one voxel high, rods
and spheres one low. Here the wall is where a grey image crosses its threshold between two voxel centres (linear
interpolation), or where a smoothed mask does; balls reach to the tangent plane of the nearest crossing, and beside the
voxel centres also the points between two neighbours at which the distances from opposite walls meet are centres.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from srrd_ray.errors import InputError
from srrd_ray.morphometry.compiled import compiled
from srrd_ray.morphometry.painting import pack, paint_row

Mask: TypeAlias = NDArray[np.bool_]
Real: TypeAlias = NDArray[np.float64]
Spacing: TypeAlias = tuple[float, float, float]
Offset: TypeAlias = tuple[int, int, int]

SMOOTHING = 1.0
"""SD in voxels of the Gaussian on a mask without grey image; applied as 2G - G², which leaves curved walls in place."""
ALIGNED = 0.8
"""Least cosine between the way to a crossing and the normal there, for its tangent plane to stand for the wall."""
FACES: tuple[Offset, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
HALF: tuple[Offset, ...] = tuple(
    (z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)
)


def wall_level(phase: Mask, grey: ArrayLike | None) -> Real:
    """Return an image that is positive in `phase`, negative outside, and zero on the wall between.

    Parameters
    ----------
    phase
        (z, y, x).
    grey
        Such an image, as ``image - threshold``; null for the smoothed mask. Where its sign contradicts the phase the wall
        runs along the voxel.

    Raises
    ------
    InputError
        `grey-mismatch` where the image is of another shape or has NaN.
    """
    if grey is None:
        once: Real = ndimage.gaussian_filter(phase.astype(np.float64), SMOOTHING, mode="nearest")
        twice: Real = ndimage.gaussian_filter(once, SMOOTHING, mode="nearest")
        level = 2 * once - twice - 0.5
    else:
        level = np.asarray(grey, dtype=np.float64)
    if level.shape != phase.shape or np.isnan(level).any():
        raise InputError(
            "grey-mismatch",
            "the grey image has the mask's shape and no NaN",
            got=str(level.shape),
            expected=str(phase.shape),
        )
    least = 1e-6 * max(float(np.abs(level).max(initial=0.0)), 1e-30)
    return np.where(phase, np.maximum(level, least), np.minimum(level, -least))


def subvoxel_diameter(level: Real, steps: Spacing, seen: Mask | None) -> Real:
    """Return the local thickness (mm) of where `level` is positive; inf where there is no wall; centres only in `seen`."""
    inside = level > 0 if seen is None else (level > 0) & seen
    points, normals = _crossings(level, steps, seen)
    if len(points) == 0:
        return np.where(inside, np.inf, 0.0)
    centres = np.argwhere(inside) * np.asarray(steps)
    radius, away = _wall_distance(centres, points, normals)
    between, reach = _meetings(inside, radius, away, steps)
    order = np.argsort(-np.concatenate([radius, reach]), kind="stable")
    out = np.where(inside, 1e-300, 0.0)
    rows = pack(out)
    all_centres = np.concatenate([centres, between])[order]
    _paint(all_centres, np.concatenate([radius, reach])[order], rows, np.asarray(steps), out)
    return np.where(inside, 2.0 * out, 0.0)


def _pairs(shape: tuple[int, ...], offset: Offset) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of all voxels that have a neighbour at `offset`, and of these neighbours."""
    own = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, shape, strict=True))
    other = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, shape, strict=True))
    return own, other


def _crossings(level: Real, steps: Spacing, seen: Mask | None) -> tuple[Real, Real]:
    """Return the points (n, 3) in mm where lines between face neighbours meet the wall, and the unit normals into the phase."""
    slopes = [
        np.gradient(level, s, axis=a) if level.shape[a] > 1 else np.zeros_like(level) for a, s in enumerate(steps)
    ]
    points, normals = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for offset in FACES:
        own, other = _pairs(level.shape, offset)
        crossed = (level[own] > 0) != (level[other] > 0)
        if seen is not None:
            crossed &= seen[own] & seen[other]
        first, second = level[own][crossed], level[other][crossed]
        share = (first / (first - second))[:, None]
        start = np.argwhere(crossed).astype(np.float64)
        slope = np.stack([s[own][crossed] for s in slopes], axis=1)
        ahead = np.stack([s[other][crossed] for s in slopes], axis=1)
        points.append((start + share * offset) * steps)
        normals.append(slope * (1 - share) + ahead * share)
    joined = np.concatenate(normals)
    return np.concatenate(points), joined / np.maximum(np.linalg.norm(joined, axis=1), 1e-30)[:, None]


def _wall_distance(centres: Real, points: Real, normals: Real) -> tuple[Real, Real]:
    """Return the distance of each centre to the wall, mm, and the unit vector that leads away from it."""
    found: tuple[Real, NDArray[np.intp]] = cKDTree(points).query(centres)
    length, nearest = found
    way = centres - points[nearest]
    along = np.einsum("ij,ij->i", way, normals[nearest])
    flat = along > ALIGNED * length
    away = np.where(flat[:, None], normals[nearest], way / np.maximum(length, 1e-30)[:, None])
    return np.where(flat, along, length), away


def _meetings(inside: Mask, radius: Real, away: Real, steps: Spacing) -> tuple[Real, Real]:
    """Return the points (n, 3) between neighbours where the distances that grow from both sides meet, and the distance there."""
    at = np.full(inside.shape, -1)
    at[inside] = np.arange(len(radius))
    points, reach = [np.zeros((0, 3))], [np.zeros(0)]
    for offset in HALF:
        own, other = _pairs(inside.shape, offset)
        both = inside[own] & inside[other]
        i, j = at[own][both], at[other][both]
        span = float(np.linalg.norm(np.multiply(offset, steps)))
        unit = np.multiply(offset, steps) / span
        rise, fall = away[i] @ unit, -(away[j] @ unit)
        move = (radius[j] - radius[i] + span * fall) / np.maximum(rise + fall, 1e-30)
        meets = (rise > 0) & (fall > 0) & (move > 0) & (move < span)
        start = (np.argwhere(both) + [s.start for s in own])[meets] * np.asarray(steps)
        points.append(start + move[meets, None] * unit)
        reach.append((radius[i] + move * rise)[meets])
    return np.concatenate(points), np.concatenate(reach)


@compiled
def _paint(centres: Real, radii: Real, rows: NDArray[np.uint64], steps: Real, out: Real) -> None:
    """Paint balls of descending radius (mm) round any centres (mm from the first voxel) over the voxels not yet painted."""
    nz, ny, nx = out.shape
    sz, sy, sx = steps
    for i in range(radii.shape[0]):
        radius = radii[i] * (1 + 1e-9)
        cz, cy, cx = centres[i]
        for z in range(max(int(np.ceil((cz - radius) / sz)), 0), min(int(np.floor((cz + radius) / sz)), nz - 1) + 1):
            left = radius * radius - (z * sz - cz) ** 2
            wide = np.sqrt(max(left, 0.0))
            for y in range(max(int(np.ceil((cy - wide) / sy)), 0), min(int(np.floor((cy + wide) / sy)), ny - 1) + 1):
                half = np.sqrt(max(left - (y * sy - cy) ** 2, 0.0))
                first, last = max(int(np.ceil((cx - half) / sx)), 0), min(int(np.floor((cx + half) / sx)), nx - 1)
                if first <= last:
                    paint_row(rows[z, y], out[z, y], first, last, radii[i])
