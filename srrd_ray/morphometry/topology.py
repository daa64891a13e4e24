"""Euler number and connectivity of bone, 26-connected, and its box-counting dimension.

Bone is the union of closed voxels: χ = vertices - edges + faces - voxels. For a region that is a part of a larger structure
each vertex, edge and face counts by the share of the voxels around it that lie in the region (1/2 on a face of a box, 1/4
on its edge, 1/8 at its corner: the correction of Odgaard & Gundersen, Bone 14:173, 1993, for regions of any shape).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """Euler number of the bone inside the region alone (`euler`), and its share of the whole structure's (`corrected`)."""

    euler: int
    corrected: float

    def connectivity_density(self, volume_mm3: float) -> float:
        """Conn.D: (1 - corrected χ) / TV, 1/mm³."""
        return (1.0 - self.corrected) / volume_mm3


def topology(bone: Mask, roi: Mask) -> Topology:
    """Return the Euler numbers of `bone` in `roi`, (z, y, x) each."""
    return Topology(
        euler=round(_euler(np.pad(bone & roi, 1), np.ones((1, 1, 1), np.bool_), False)),
        corrected=euler_share(bone, roi),
    )


def euler_share(bone: Mask, roi: Mask) -> float:
    """Return what the voxels of `roi` add to the Euler number of `bone`: shares of parts add up to the whole."""
    return float(_euler(np.pad(bone, 1), np.pad(roi, 1), True))


@compiled
def _euler(bone: Mask, roi: Mask, weighted: bool) -> float:
    """Return Σ ± (cell touches bone) · (share of the voxels round it in `roi`, or 1), for volumes padded by one voxel."""
    nz, ny, nx = bone.shape
    total = 0.0
    for z in range(1, nz):
        for y in range(1, ny):
            for x in range(1, nx):
                for cell in range(8):
                    dz, dy, dx = cell >> 2 & 1, cell >> 1 & 1, cell & 1
                    touched = False
                    inside = 0
                    for k in range(z - 1 + dz, z + 1):
                        for j in range(y - 1 + dy, y + 1):
                            for i in range(x - 1 + dx, x + 1):
                                touched = touched or bone[k, j, i]
                                inside += weighted and roi[k, j, i]
                    if touched:
                        around = (2 - dz) * (2 - dy) * (2 - dx)
                        sign = 1 - 2 * (dz + dy + dx & 1)
                        total += sign * (inside / around if weighted else 1.0)
    return total


def fractal_dimension(bone: Mask, roi: Mask) -> float | None:
    """Return the box-counting dimension of the bone surface; null where fewer than three box sizes fit.

    Boxes of 2, 4, 8 … voxels up to a quarter of the longest side; slope of log count over log 1/size.
    """
    outline = _outline(np.pad(bone, 1, mode="edge")) & roi
    sizes = [2**p for p in range(1, 12) if 2**p <= max(bone.shape) // 4]
    counts = [_boxes(outline, size) for size in sizes]
    if len(sizes) < 3 or min(counts) == 0:
        return None
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def _outline(padded: Mask) -> Mask:
    """Return the bone voxels that share a face with marrow, without the padding."""
    core = padded[1:-1, 1:-1, 1:-1]
    inner = core.copy()
    for axis in range(3):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    return core & ~inner


def _boxes(outline: Mask, size: int) -> int:
    padded = np.pad(outline, [(0, -n % size) for n in outline.shape])
    z, y, x = (n // size for n in padded.shape)
    return int(padded.reshape(z, size, y, size, x, size).any(axis=(1, 3, 5)).sum())
