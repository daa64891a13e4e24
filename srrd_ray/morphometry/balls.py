"""Balls on a grid: the shape of one, and which of many are inside another and need no painting.

One set of kernels serves both units: squared voxels (int32, exact) and mm² (float64).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled, inlined

Squared: TypeAlias = NDArray[np.int32] | NDArray[np.float64]
Reach: TypeAlias = NDArray[np.int32]
Steps: TypeAlias = tuple[float, float, float]

TIE = 1e-12
"""Relative tolerance of float distances: the same distance by different sums is a tie, and counts."""

SIDE = 4
"""Planes that belong together: slabs of threads begin at multiples of it."""


def run_over_slabs(work: Callable[[int, int], None], planes: int, threads: int) -> None:
    """Call `work(first, last)` on disjoint slabs of z planes, one per thread; 0 threads:
    all cores of this process.
    """
    count = max(1, min(threads or len(os.sched_getaffinity(0)), planes))
    edges = sorted({0, planes} | {planes * i // count // SIDE * SIDE for i in range(1, count)})
    if len(edges) == 2:
        work(0, planes)
        return
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        for done in [pool.submit(work, a, b) for a, b in pairwise(edges)]:
            done.result()


def find_uncovered_centres(
    squared: Squared, steps: Steps, bins: int, width: float, threads: int
) -> NDArray[np.uint8]:
    """Return 1 for centres whose ball is not covered by a 26-neighbour's ball,
    for radii in `bins` of `width`.
    """
    keep = np.zeros(squared.shape, dtype=np.uint8)
    cover = np.zeros((8, bins), dtype=squared.dtype)
    _fill_cover(cover, np.asarray(steps), width)
    np.maximum.accumulate(cover, axis=1, out=cover)
    scale = (1 + 1e-10) / width
    run_over_slabs(lambda a, b: _mark(squared, cover, scale, keep, a, b), squared.shape[0], threads)
    return keep


@compiled
def _fill_cover(cover: Squared, steps: NDArray[np.float64], width: float) -> None:
    """Set cover[n, bin] to the largest squared distance from a centre's
    neighbour to a voxel of the ball in that bin.

    The neighbour is one step away along the axes that the bits 4, 2, 1 of n name (z, y, x).
    """
    bins = cover.shape[1]
    sz, sy, sx = steps * steps
    limit = bins * width
    for a in range(int(np.sqrt(limit / sz)) + 2):
        for b in range(int(np.sqrt(limit / sy)) + 2):
            for c in range(int(np.sqrt(limit / sx)) + 2):
                own = a * a * sz + b * b * sy + c * c * sx
                at = int(own / width)
                if at >= bins:
                    break
                for n in range(1, 8):
                    away = (
                        own
                        + (n >> 2) * (2 * a + 1) * sz
                        + (n >> 1 & 1) * (2 * b + 1) * sy
                        + (n & 1) * (2 * c + 1) * sx
                    )
                    cover[n, at] = max(cover[n, at], away)


@compiled
def _mark(
    squared: Squared, cover: Squared, scale: float, keep: NDArray[np.uint8], first: int, last: int
) -> None:
    nz, ny, nx = squared.shape
    best = np.zeros((8, nx), squared.dtype)
    for z in range(first, last):
        for y in range(ny):
            best[:] = 0
            for dz in range(-1 if z > 0 else 0, 2 if z + 1 < nz else 1):
                for dy in range(-1 if y > 0 else 0, 2 if y + 1 < ny else 1):
                    n = 4 * (dz * dz) + 2 * (dy * dy)
                    _raise_row(best[n], best[n + 1], squared[z + dz, y + dy])
            for x in range(nx):
                own = squared[z, y, x]
                if own > 0:
                    at = int(own * scale)
                    covered = False
                    for n in range(1, 8):
                        covered |= best[n, x] >= cover[n, at]
                    keep[z, y, x] = not covered


@inlined
def _raise_row(level: Squared, neighbours: Squared, row: Squared) -> None:
    """Raise `level` to `row`, and `neighbours` to its neighbours along x."""
    for x in range(row.shape[0]):
        level[x] = max(level[x], row[x])
    for x in range(row.shape[0] - 1):
        neighbours[x] = max(neighbours[x], row[x + 1])
    for x in range(1, row.shape[0]):
        neighbours[x] = max(neighbours[x], row[x - 1])


@compiled
def set_ball_shape(squared: float, steps: NDArray[np.float64], half: Reach, reach: Reach) -> int:
    """Set the half widths of a ball's rows (dz, dy >= 0) and its reach along y in each plane;
    return that along z.
    """
    sz, sy, sx = steps
    top = int(np.sqrt(squared) / sz)
    for z in range(top + 1):
        left = max(squared - (z * sz) ** 2, 0.0)
        reach[z] = int(np.sqrt(left) / sy)
        for y in range(reach[z] + 1):
            half[z, y] = int(np.sqrt(max(left - (y * sy) ** 2, 0.0)) / sx)
    return top
