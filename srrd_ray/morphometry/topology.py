"""Euler number and connectivity of bone, 26-connected, and its box-counting dimension.

Bone is the union of closed voxels: χ = vertices - edges + faces - voxels. For a region that is a part of a
larger structure each vertex, edge and face counts by the share of the voxels around it that lie in the region
(1/2 on a face of a box, 1/4 on its edge, 1/8 at its corner:
the correction of Odgaard & Gundersen, Bone 14:173, 1993, for regions of any shape).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled, inlined

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """Euler number of the bone inside the region alone (`euler`),
    and its share of the whole structure's (`corrected`).
    """

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
    """Return the contribution of the voxels of `roi` to the Euler number of `bone`;
    contributions of parts add up.
    """
    return float(_euler(np.pad(bone, 1), np.pad(roi, 1), True))


def _cells() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the 27 cells that meet in a vertex:
    the voxels round each (bit 4z + 2y + x of the eight), and its signed share.

    Along an axis a cell lies across the vertex, below or above it; a cell of n axes has 2ⁿ vertices.
    """
    octants = np.indices((2, 2, 2)).reshape(3, 8)
    voxels, shares = [], []
    for cell in product((None, 0, 1), repeat=3):
        around = [
            all(side is None or side == o for side, o in zip(cell, octant, strict=True))
            for octant in octants.T
        ]
        axes = sum(side is not None for side in cell)
        voxels.append(sum(1 << bit for bit, inside in enumerate(around) if inside))
        shares.append((-0.5) ** axes)
    return np.array(voxels, dtype=np.uint8), np.array(shares)


def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Return the vertex's sum for each of 256 neighbourhoods of bone, each cell's share of a voxel,
    and each cell's voxels.
    """
    voxels, shares = _cells()
    touched = (np.arange(256)[:, None] & voxels) != 0
    around = np.array([int(v).bit_count() for v in voxels])
    return touched @ shares, shares / around, voxels


WHOLE, SHARES, VOXELS = _tables()


@compiled
def _euler(bone: Mask, roi: Mask, weighted: bool) -> float:
    """Return Σ ± (cell touches bone) · (share of the voxels round it in `roi`, or 1),
    for volumes padded by one voxel.

    Vertex by vertex, each with its share of the cells that meet there:
    all terms are whole numbers of 1/64, so exact.
    """
    nz, ny, nx = bone.shape
    total = 0.0
    for z in range(1, nz):
        for y in range(1, ny):
            near = inside = 0
            for x in range(nx):
                near, inside = near >> 1 & 0x55, inside >> 1 & 0x55
                for corner in range(4):
                    k, j = z - 1 + (corner >> 1), y - 1 + (corner & 1)
                    near |= bone[k, j, x] << (2 * corner + 1)
                    if weighted:
                        inside |= roi[k, j, x] << (2 * corner + 1)
                if x == 0 or near == 0:
                    continue
                if not weighted or inside == 255:
                    total += WHOLE[near]
                elif inside != 0:
                    total += _partial(near, inside)
    return total


@inlined
def _partial(near: int, inside: int) -> float:
    total = 0.0
    for cell in range(27):
        if near & VOXELS[cell]:
            count, left = 0, inside & VOXELS[cell]
            while left:
                left &= left - 1
                count += 1
            total += SHARES[cell] * count
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
