"""Local thickness from a sub-voxel surface: off by default, as no other tool measures it.

The voxel definition takes the wall for the nearest voxel centre of the other phase: an odd plate reads one
voxel high, rods and spheres one low. Here the wall is where a grey image crosses its threshold between two
voxel centres (linear interpolation), or where a smoothed mask does; balls reach to the tangent plane of the
nearest crossing, and beside the voxel centres also the points between two neighbours at which the distances
from opposite walls meet are centres.

A mask alone gives its wall to about half a voxel, and the nearest of many uncertain points is too near:
balls then reach to the mean of the tangent planes around the nearest one. Smaller bumps of the wall are lost.
"""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry.compiled import compiled
from srrd_ray.morphometry.painting import pack, paint_row

Mask: TypeAlias = NDArray[np.bool_]
Real: TypeAlias = NDArray[np.float64]
Spacing: TypeAlias = tuple[float, float, float]
Offset: TypeAlias = tuple[int, int, int]

SMOOTHING = 1.0
"""SD in voxels of the Gaussian on a mask without grey image;
applied as 2G - G², which leaves curved walls in place.
"""
ALIGNED = 0.8
"""Least cosine between the way to a crossing and the normal there for
its tangent plane to represent the wall.
"""
BESIDE, TOLERANCE, TOWARD, MOST = 0.95, 0.8, 0.5, 0.3
"""Of the crossings of a mask whose planes are averaged: least cosine between the way and the normal; how much
farther than the nearest a plane may be, voxels; least cosine between the normal and that of the nearest; and
by how much the mean may lie beyond the nearest, voxels. Found by trial on rods, spheres and shells;
bars of square section, whose edges a digital rod has too, then read 0.5-0.7 voxels high.
"""
FACES: tuple[Offset, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
HALF: tuple[Offset, ...] = tuple(
    (z, y, x) for z, y, x in product((-1, 0, 1), repeat=3) if (z, y, x) > (0, 0, 0)
)


def wall_level(phase: Mask, grey: ArrayLike | None) -> Real:
    """Return an image that is positive in `phase`, negative outside, and zero on the wall between.

    Parameters
    ----------
    phase
        (z, y, x).
    grey
        Such an image, as ``image - threshold``; null for the smoothed mask.
        Where its sign contradicts the phase the wall runs along the voxel.

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


def subvoxel_diameter(level: Real, steps: Spacing, scanned: Mask | None, *, from_mask: bool) -> Real:
    """Return the local thickness (mm) of where `level` is positive; inf where there is no wall;
    centres only in `scanned`.

    `from_mask`: `level` is a smoothed mask, whose crossings are averaged.
    """
    inside = level > 0 if scanned is None else (level > 0) & scanned
    points, normals = _crossings(level, steps, scanned)
    if len(points) == 0:
        return np.where(inside, np.inf, 0.0)
    centres = np.argwhere(inside) * np.asarray(steps)
    radius, away = _wall_distance(centres, points, normals)
    if from_mask:
        radius = _averaged(centres, radius, away, points, normals, shape=level.shape, steps=np.asarray(steps))
    between, reach = _meetings(inside, radius, away, steps)
    order = np.argsort(-np.concatenate([radius, reach]), kind="stable")
    out = np.where(inside, 1e-300, 0.0)
    rows = pack(out)
    all_centres = np.concatenate([centres, between])[order]
    _paint(all_centres, np.concatenate([radius, reach])[order], rows, np.asarray(steps), out)
    return np.where(inside, 2.0 * out, 0.0)


def _pairs(shape: tuple[int, ...], offset: Offset) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of all voxels that have a neighbour at `offset`, and of these neighbours."""
    first = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, shape, strict=True))
    other = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, shape, strict=True))
    return first, other


def _crossings(level: Real, steps: Spacing, scanned: Mask | None) -> tuple[Real, Real]:
    """Return the points (n, 3) in mm where lines between face neighbours meet the wall,
    and the unit normals into the phase.
    """
    slopes = [
        np.gradient(level, s, axis=a) if level.shape[a] > 1 else np.zeros_like(level)
        for a, s in enumerate(steps)
    ]
    points, normals = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for offset in FACES:
        own, other = _pairs(level.shape, offset)
        crossed = (level[own] > 0) != (level[other] > 0)
        if scanned is not None:
            crossed &= scanned[own] & scanned[other]
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
    query: tuple[Real, NDArray[np.intp]] = cKDTree(points).query(centres)
    length, nearest = query
    way = centres - points[nearest]
    along = np.einsum("ij,ij->i", way, normals[nearest])
    flat = along > ALIGNED * length
    away = np.where(flat[:, None], normals[nearest], way / np.maximum(length, 1e-30)[:, None])
    return np.where(flat, along, length), away


def _averaged(
    centres: Real,
    radius: Real,
    away: Real,
    points: Real,
    normals: Real,
    *,
    shape: tuple[int, ...],
    steps: Real,
) -> Real:
    """Return for each centre the mean distance, mm, of the planes of the crossings around its nearest one."""
    cell = np.ravel_multi_index(tuple((points / steps).astype(np.intp).T), shape)
    order = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[order], np.arange(int(np.prod(shape)) + 1))
    out = np.empty_like(radius)
    sizes, voxel = np.array(shape), float(steps.max())
    _average(
        centres, radius, away, points[order], normals[order], first, sizes, steps, TOLERANCE * voxel, out
    )
    return np.minimum(out, radius + MOST * voxel)


@compiled
def _average(
    centres: Real,
    radius: Real,
    away: Real,
    points: Real,
    normals: Real,
    first: NDArray[np.intp],
    shape: NDArray[np.intp],
    steps: Real,
    tolerance: float,
    out: Real,
) -> None:
    """Fill `out` by `_averaged`; crossings are sorted by voxel, those of voxel n lie from ``first[n]`` on."""
    for i in range(radius.shape[0]):
        farthest = radius[i] + tolerance
        reach = farthest / BESIDE
        total, count = 0.0, 0
        low = np.maximum(np.floor((centres[i] - reach) / steps), 0).astype(np.intp)
        high = np.minimum(np.floor((centres[i] + reach) / steps), shape - 1).astype(np.intp)
        for z in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                row = (z * shape[1] + y) * shape[2]
                for n in range(first[row + low[2]], first[row + high[2] + 1]):
                    dz, dy, dx = (
                        centres[i, 0] - points[n, 0],
                        centres[i, 1] - points[n, 1],
                        centres[i, 2] - points[n, 2],
                    )
                    plane = dz * normals[n, 0] + dy * normals[n, 1] + dx * normals[n, 2]
                    turn = (
                        away[i, 0] * normals[n, 0] + away[i, 1] * normals[n, 1] + away[i, 2] * normals[n, 2]
                    )
                    if plane > farthest or turn < TOWARD or plane <= 0:
                        continue
                    if plane * plane > BESIDE * BESIDE * (dz * dz + dy * dy + dx * dx):
                        total += plane
                        count += 1
        out[i] = total / count if count else radius[i]


def _meetings(inside: Mask, radius: Real, away: Real, steps: Spacing) -> tuple[Real, Real]:
    """Return the points (n, 3) between neighbours where the distances that grow from both sides meet,
    and the distance there.
    """
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
    """Paint balls of descending radius (mm) round any centres (mm from the first
    voxel) over the voxels not yet painted.
    """
    nz, ny, nx = out.shape
    sz, sy, sx = steps
    for i in range(radii.shape[0]):
        radius = radii[i] * (1 + 1e-9)
        cz, cy, cx = centres[i]
        for z in range(
            max(int(np.ceil((cz - radius) / sz)), 0), min(int(np.floor((cz + radius) / sz)), nz - 1) + 1
        ):
            left = radius * radius - (z * sz - cz) ** 2
            wide = np.sqrt(max(left, 0.0))
            for y in range(
                max(int(np.ceil((cy - wide) / sy)), 0), min(int(np.floor((cy + wide) / sy)), ny - 1) + 1
            ):
                half = np.sqrt(max(left - (y * sy - cy) ** 2, 0.0))
                first, last = (
                    max(int(np.ceil((cx - half) / sx)), 0),
                    min(int(np.floor((cx + half) / sx)), nx - 1),
                )
                if first <= last:
                    paint_row(rows[z, y], out[z, y], first, last, radii[i])
