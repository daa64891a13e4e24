"""Local thickness of a volume of any size, block by block, bit for bit the map of the whole.

Two passes. Distances: a block is read with a halo that grows until it is at least as long as the longest
distance found in the block, which then is exact. Painting: a block is read with a halo of the largest radius
of the whole volume, so that every ball that reaches it is there;
centres whose ball does not reach it are dropped. Memory is that of one block and halo.

Both phases lie in one array: squared distances to the other phase, positive in bone, negative in marrow,
0 outside the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry.compiled import compiled
from srrd_ray.morphometry.distance import squared_distance_mm, squared_distance_voxels
from srrd_ray.morphometry.painting import paint_mm, paint_voxels
from srrd_ray.morphometry.thickness import (
    Border,
    Spacing,
    cube_edge,
    is_isotropic,
    trim_surface,
    without_wall_beyond,
)

Shape: TypeAlias = tuple[int, int, int]
Window: TypeAlias = tuple[slice, slice, slice]
Mask: TypeAlias = NDArray[np.bool_]
Bits: TypeAlias = NDArray[np.uint8]
Signed: TypeAlias = NDArray[np.int32] | NDArray[np.float64]
Map: TypeAlias = NDArray[np.float32]
Phase: TypeAlias = Literal["bone", "marrow"]

BONE, FIELD, REGION = 1, 2, 4
"""Bits of a voxel: bone or marrow, scanned or not, averaged or not."""
FIRST_HALO = 24
TRIM: Shape = (2, 2, 2)
"""Voxels round a block that its surface depends on by BoneJ's rule: neighbours, and theirs."""
LARGEST_GIB = 3.2
BYTES = {"cubic": 14, "other": 24}
"""Bytes a voxel of a block with its halo takes at the peak of either pass."""


def iterate_blocks(shape: Shape, edge: int) -> tuple[Window, ...]:
    """Return the windows of `edge` voxels that tile a volume, in C order;
    those at the far faces are cut short.
    """
    return tuple(
        window_at((z, y, x), shape, edge) for z, y, x in product(*(range(0, n, edge) for n in shape))
    )


def window_at(start: Shape, shape: Shape, edge: int) -> Window:
    """Return the window of `edge` voxels at `start`, cut to the volume."""
    z, y, x = (slice(a, min(a + edge, n)) for a, n in zip(start, shape, strict=True))
    return z, y, x


def add_halo(core: Window, halo: Shape, shape: Shape) -> Window:
    """Return `core` with a halo on every side, cut to the volume."""
    z, y, x = (
        slice(max(c.start - h, 0), min(c.stop + h, n)) for c, h, n in zip(core, halo, shape, strict=True)
    )
    return z, y, x


def locate_within(core: Window, outer: Window) -> Window:
    """Return where `core` lies in an array that holds `outer`."""
    z, y, x = (slice(c.start - o.start, c.stop - o.start) for c, o in zip(core, outer, strict=True))
    return z, y, x


def halo_voxels(reach: float, spacing_mm: Spacing) -> Shape:
    """Return the voxels along each axis that cover `reach` (voxels or mm, see `distance_unit`)."""
    z, y, x = (math.ceil(reach / s * (1 + 1e-9)) for s in distance_unit(spacing_mm))
    return z, y, x


def distance_unit(spacing_mm: Spacing) -> Spacing:
    """Return the voxel size in the unit of the distances: voxels where voxels are cubes, else mm."""
    return (1.0, 1.0, 1.0) if is_isotropic(spacing_mm) else spacing_mm


def block_distances(
    read: Callable[[Window], Bits], core: Window, shape: Shape, spacing_mm: Spacing, border: Border = "open"
) -> Signed:
    """Return the signed squared distances of a block, those of the whole volume.

    Parameters
    ----------
    read
        Returns the bits (`BONE`, `FIELD`) of any window of the volume, which holds both phases.
    core
        The block.

    Raises
    ------
    InputError
        `block-too-large` where a distance is so long that its halo would not fit into memory.
    """
    reach = FIRST_HALO * max(distance_unit(spacing_mm))
    while True:
        outer = add_halo(core, halo_voxels(reach, spacing_mm), shape)
        refuse_large(outer, spacing_mm)
        signed: Signed = _signed_distances(read(outer), outer, shape, spacing_mm, border)[
            locate_within(core, outer)
        ]
        longest = float(np.sqrt(np.abs(signed).max(initial=0)))
        clear = _clearance(core, outer, shape, spacing_mm)
        if longest < clear or clear == math.inf:
            return signed.copy()
        reach = max(min(longest * (1 + 1e-9), 2 * reach), reach + 1e-6)


def _signed_distances(bits: Bits, outer: Window, shape: Shape, spacing_mm: Spacing, border: Border) -> Signed:
    bone, field = (bits & BONE) != 0, (bits & FIELD) != 0
    parts = [
        part & field if border == "closed" else without_wall_beyond(part, field) for part in (bone, ~bone)
    ]
    signed: Signed = _squared_distances(parts[0], outer, shape, spacing_mm, border)
    np.subtract(signed, _squared_distances(parts[1], outer, shape, spacing_mm, border), out=signed)
    signed[~field] = 0
    return signed


def _squared_distances(
    phase: Mask, outer: Window, shape: Shape, spacing_mm: Spacing, border: Border
) -> Signed:
    wall = [
        (int(border == "closed" and o.start == 0), int(border == "closed" and o.stop == n))
        for o, n in zip(outer, shape, strict=True)
    ]
    padded = np.pad(phase, wall)
    inner = tuple(slice(a, n - b) for (a, b), n in zip(wall, padded.shape, strict=True))
    if is_isotropic(spacing_mm):
        return np.ascontiguousarray(squared_distance_voxels(padded)[inner])
    return np.ascontiguousarray(squared_distance_mm(padded, spacing_mm)[inner])


def _clearance(core: Window, outer: Window, shape: Shape, spacing_mm: Spacing) -> float:
    """Return the distance from `core` to the nearest voxel of the volume outside `outer`;
    inf where there is none.
    """
    gaps = [math.inf]
    for c, o, n, s in zip(core, outer, shape, distance_unit(spacing_mm), strict=True):
        gaps += [(c.start - o.start + 1) * s] if o.start > 0 else []
        gaps += [(o.stop - c.stop + 1) * s] if o.stop < n else []
    return min(gaps)


def refuse_large(outer: Window, spacing_mm: Spacing) -> None:
    """Refuse (`block-too-large`) a window that would not fit into memory."""
    voxels = math.prod(o.stop - o.start for o in outer)
    gib = voxels * BYTES["cubic" if is_isotropic(spacing_mm) else "other"] / 2**30
    if gib > LARGEST_GIB:
        raise InputError(
            "block-too-large",
            "a ball is so large that a block with its halo does not fit into memory",
            got=f"{gib:.1f} GiB",
            expected=f"at most {LARGEST_GIB} GiB",
            todo=(
                "Check the threshold: large empty or solid parts are seldom trabecular bone; or give smaller "
                "--blocks."
            ),
        )


def block_thickness(
    signed: Signed,
    inner: Window,
    spacing_mm: Spacing,
    phase: Phase,
    *,
    beyond: bool = False,
    threads: int = 1,
) -> Map:
    """Return the local thickness of one phase in a block, mm, 0 outside the phase.

    Parameters
    ----------
    signed
        Signed squared distances of the block and a halo of the largest
        radius of this phase in the whole volume.
    inner
        Where the block lies in them.
    beyond
        Balls also paint the voxels of the other phase that they reach: for BoneJ's rule, see `trim_painted`.
    """
    squared = np.maximum(signed if phase == "bone" else -signed, 0)
    unit = distance_unit(spacing_mm)
    ends = [(axis.start, axis.stop - 1) for axis in inner]
    _drop_far(squared, np.array(ends, dtype=np.int64), np.array(unit))
    if is_isotropic(spacing_mm):
        paint_voxels(squared, beyond=beyond, threads=threads)
        factor = 2.0 * cube_edge(spacing_mm)
    else:
        paint_mm(squared, spacing_mm, beyond=beyond, threads=threads)
        factor = 2.0
    painted = squared[inner]
    out: Map = np.empty(painted.shape, dtype=np.float32)
    for plane, source in zip(out, painted, strict=True):
        plane[...] = factor * np.sqrt(source, dtype=np.float64)
    return out


def trim_painted(painted: Map, scanned: Mask, core: Window, round_it: Window) -> Map:
    """Return BoneJ's map in `core` from balls painted beyond their phase in `round_it`,
    `core` with `TRIM` voxels round it, of which `scanned` were.

    It still holds what lies outside the phase.
    """
    out: Map = trim_surface(painted, scanned)[locate_within(core, round_it)]
    return out


@compiled
def _drop_far(squared: Signed, ends: NDArray[np.int64], unit: NDArray[np.float64]) -> None:
    """Set to 0 the voxels whose ball does not reach the block between
    `ends` (first and last index of each axis).
    """
    nz, ny, nx = squared.shape
    for z in range(nz):
        dz = max(ends[0, 0] - z, z - ends[0, 1], 0) * unit[0]
        for y in range(ny):
            dy = max(ends[1, 0] - y, y - ends[1, 1], 0) * unit[1]
            for x in range(nx):
                dx = max(ends[2, 0] - x, x - ends[2, 1], 0) * unit[2]
                if squared[z, y, x] * (1.0 + 1e-9) < dz * dz + dy * dy + dx * dx:
                    squared[z, y, x] = 0


def ridge_of_block(signed: Signed, thickness: Map, spacing_mm: Spacing) -> Mask:
    """Return the ridge of bone in a block: the voxels whose own ball is the largest that covers them."""
    factor = 2.0 * cube_edge(spacing_mm) if is_isotropic(spacing_mm) else 2.0
    own_diameter: NDArray[np.float64] = factor * np.sqrt(np.maximum(signed, 0), dtype=np.float64)
    return (signed > 0) & (own_diameter >= thickness * (1 - 1e-5))


def largest_squared_radii(signed: Signed) -> tuple[float, float]:
    """Return the largest squared radius in bone and in marrow, in the unit of the distances."""
    return max(float(signed.max(initial=0)), 0.0), max(-float(signed.min(initial=0)), 0.0)
