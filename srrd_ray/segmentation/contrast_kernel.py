"""The compiled part of `contrast`: what each voxel of a patch holds of a label map, with partial volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled, inlined

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
SUBSAMPLES = 8
"""Points of a voxel that are looked up, two along each axis."""
BEND_STEP = 8
"""Voxels between the nodes of a displacement."""


@inlined
def _displacement(bend: Floats, axis: int, z: int, y: int, x: int) -> float:
    """Return the displacement of a voxel along an axis, linear between the nodes."""
    fz, fy, fx = z / BEND_STEP, y / BEND_STEP, x / BEND_STEP
    k, j, i = int(fz), int(fy), int(fx)
    tz, ty, tx = fz - k, fy - j, fx - i
    b = bend[axis]
    low = (b[k, j, i] * (1 - tx) + b[k, j, i + 1] * tx) * (1 - ty) + (
        b[k, j + 1, i] * (1 - tx) + b[k, j + 1, i + 1] * tx
    ) * ty
    high = (b[k + 1, j, i] * (1 - tx) + b[k + 1, j, i + 1] * tx) * (1 - ty) + (
        b[k + 1, j + 1, i] * (1 - tx) + b[k + 1, j + 1, i + 1] * tx
    ) * ty
    between: float = low * (1 - tz) + high * tz
    return between


@compiled
def gather(
    labels: Bytes,
    to_map: NDArray[np.float64],
    bend: Floats,
    class_of: Bytes,
    tables: Floats,
    counts: Bytes,
    sums: Floats,
) -> None:
    """Fill `counts` (classes, z, y, x) with how many points of each voxel lie in each class, and `sums`
    (rows of `tables`, z, y, x) with the mean of each table over the labels of these points.

    `to_map` (3, 4) takes voxel indices (z, y, x, 1) to those of `labels`; `bend` (3, …) is added, in voxels
    of `labels`. Points outside of `labels` count nowhere.
    """
    rows = tables.shape[0]
    depth, height, width = counts.shape[1:]
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                for n in range(SUBSAMPLES):
                    dz = 0.25 if n & 4 else -0.25
                    dy = 0.25 if n & 2 else -0.25
                    dx = 0.25 if n & 1 else -0.25
                    if n == 0:
                        oz = to_map[0, 3] + _displacement(bend, 0, z, y, x) + 0.5
                        oy = to_map[1, 3] + _displacement(bend, 1, z, y, x) + 0.5
                        ox = to_map[2, 3] + _displacement(bend, 2, z, y, x) + 0.5
                    sz, sy, sx = z + dz, y + dy, x + dx
                    mz = to_map[0, 0] * sz + to_map[0, 1] * sy + to_map[0, 2] * sx + oz
                    my = to_map[1, 0] * sz + to_map[1, 1] * sy + to_map[1, 2] * sx + oy
                    mx = to_map[2, 0] * sz + to_map[2, 1] * sy + to_map[2, 2] * sx + ox
                    if mz < 0 or my < 0 or mx < 0:
                        continue
                    k, j, i = int(mz), int(my), int(mx)
                    if k >= labels.shape[0] or j >= labels.shape[1] or i >= labels.shape[2]:
                        continue
                    label = labels[k, j, i]
                    counts[class_of[label], z, y, x] += 1
                    for row in range(rows):
                        sums[row, z, y, x] += tables[row, label] * 0.125
