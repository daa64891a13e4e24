"""Squared Euclidean distance from every voxel of a phase to the nearest voxel centre of the other phase.

Separable: the distance along x, then for each of y and z the minimum over k of ``f(i ± k) + (k·spacing)²``,
taken over whole rows at once and stopped where k² alone exceeds every value of the row.
Integers (in voxels²) for isotropic spacing, so that the result is exact; float64 (mm²) otherwise.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled

Mask: TypeAlias = NDArray[np.bool_]
Squared: TypeAlias = NDArray[np.int32] | NDArray[np.float64]
Scalar: TypeAlias = float | np.int32
Steps: TypeAlias = tuple[float, float, float]

FAR = 2**30
"""Squared distance of a voxel that sees no wall, in voxels² (integers)."""


def squared_distance_voxels(mask: Mask) -> NDArray[np.int32]:
    """Return the squared distance in voxels² (z, y, x): 0 outside `mask`;
    `FAR` where the other phase is empty.
    """
    out = np.empty(mask.shape, dtype=np.int32)
    if mask.all():
        out.fill(FAR)
        return out
    _along_x(mask, out, np.int32(1), np.int32(FAR))
    _along_yz(out, np.int32(1), np.int32(1))
    return out


def squared_distance_mm(mask: Mask, spacing_mm: Steps) -> NDArray[np.float64]:
    """Return the squared distance in mm² (z, y, x): 0 outside `mask`; inf where the other phase is empty."""
    sz, sy, sx = spacing_mm
    out = np.empty(mask.shape, dtype=np.float64)
    _along_x(mask, out, sx * sx, np.inf)
    if not mask.all():
        _along_yz(out, sy * sy, sz * sz)
    return out


def _along_yz(out: Squared, step_y: Scalar, step_z: Scalar) -> None:
    nz, ny, _ = out.shape
    for z in range(nz):
        _minimum_along_first(out[z], step_y)
    for y in range(ny):
        _minimum_along_first(out[:, y], step_z)


@compiled
def _along_x(mask: Mask, out: Squared, step: Scalar, far: Scalar) -> None:
    nz, ny, nx = mask.shape
    for z in range(nz):
        for y in range(ny):
            run = nx + 1
            for x in range(nx):
                run = run + 1 if mask[z, y, x] else 0
                out[z, y, x] = far if run > nx else run * run * step
            run = nx + 1
            for x in range(nx - 1, -1, -1):
                run = run + 1 if mask[z, y, x] else 0
                if run <= nx and run * run * step < out[z, y, x]:
                    out[z, y, x] = run * run * step


@compiled
def _minimum_along_first(plane: Squared, step: Scalar) -> None:
    n = plane.shape[0]
    before = plane.copy()
    for i in range(n):
        row = plane[i]
        for k in range(1, max(i, n - 1 - i) + 1):
            add = step * before.dtype.type(k * k)
            if add >= row.max():
                break
            if i >= k:
                _lower(row, before[i - k], add)
            if i + k < n:
                _lower(row, before[i + k], add)


@compiled
def _lower(row: Squared, other: Squared, add: Scalar) -> None:
    for x in range(row.shape[0]):
        value = other[x] + add
        row[x] = min(value, row[x])
