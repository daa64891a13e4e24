"""Surface, topology and box counts of one block, as sums that add up over the blocks of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.anisotropy import DIRECTIONS
from srrd_ray.morphometry.blocks import BONE, REGION, Bits, Shape, Window, add_halo, locate_within
from srrd_ray.morphometry.measures import BoneMeasures, with_surface_measures
from srrd_ray.morphometry.surface import MARGIN, Surface, surface
from srrd_ray.morphometry.thickness import Spacing, cube_edge, is_isotropic
from srrd_ray.morphometry.topology import Topology, euler_share

Mask: TypeAlias = NDArray[np.bool_]

BOX = 32
"""Blocks are whole numbers of boxes of this edge, so that box counts up to it add up."""
HALO: Shape = (MARGIN + 1,) * 3
SMALL_BOXES = (2, 4, 8, 16, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockStructure:
    """What one block adds to the structure of its volume; areas are mm².

    `boxes` are the counts of boxes of `SMALL_BOXES` voxels that the bone outline meets;
    `occupied` are the boxes of `BOX` voxels among them, as (z, y,
    x) in boxes from the first voxel of the volume.
    """

    bs: float
    smooth: float
    growth_mm: float
    bone_mm3: float
    orientation: tuple[float, ...]
    euler: float
    euler_corrected: float
    boxes: tuple[int, ...]
    occupied: tuple[tuple[int, int, int], ...]


def block_structure(
    bits: Bits, outer: Window, core: Window, shape: Shape, spacing_mm: Spacing
) -> BlockStructure:
    """Return the structure of the block `core`; `bits` holds `outer`, the block with `HALO`."""
    bone = (bits & BONE) != 0
    own_region = np.zeros(bone.shape, dtype=np.bool_)
    own_region[locate_within(core, outer)] = True
    region = own_region & ((bits & REGION) != 0)
    surface_sums = _surface(bone, region, spacing_mm)
    counts, occupied = _box_counts(bone, outer, core, region)
    return BlockStructure(
        bs=surface_sums.bs_mm2,
        smooth=surface_sums.smooth_mm2,
        growth_mm=surface_sums.growth_mm,
        bone_mm3=surface_sums.smooth_bv_mm3,
        orientation=surface_sums.orientation,
        euler=_euler_alone(bone & ((bits & REGION) != 0), own_region, outer, shape),
        euler_corrected=euler_share(bone, region),
        boxes=counts,
        occupied=occupied,
    )


def _surface(bone: Mask, region: Mask, spacing_mm: Spacing) -> Surface:
    """Return the surface in `region`; cubes are measured in voxels, whose halves are exact,
    so that blocks agree on ties.
    """
    if not is_isotropic(spacing_mm):
        return surface(bone, region, spacing_mm, DIRECTIONS)
    s = cube_edge(spacing_mm)
    sums = surface(bone, region, (1.0, 1.0, 1.0), DIRECTIONS)
    return Surface(
        bs_mm2=sums.bs_mm2 * s**2,
        smooth_mm2=sums.smooth_mm2 * s**2,
        smooth_bv_mm3=sums.smooth_bv_mm3 * s**3,
        growth_mm=sums.growth_mm * s,
        orientation=tuple(v * s**2 for v in sums.orientation),
    )


def _euler_alone(bone: Mask, own_region: Mask, outer: Window, shape: Shape) -> float:
    """Return the block's share of the Euler number of the bone of the region alone,
    with nothing round the volume.
    """
    ends = [(int(o.start == 0), int(o.stop == n)) for o, n in zip(outer, shape, strict=True)]
    return euler_share(np.pad(bone, ends), np.pad(own_region, ends, mode="edge"))


def _box_counts(
    bone: Mask, outer: Window, core: Window, region: Mask
) -> tuple[tuple[int, ...], tuple[tuple[int, int, int], ...]]:
    outline = (_outline(bone) & region)[locate_within(core, outer)]
    grids = [_boxes(outline, size) for size in SMALL_BOXES]
    first = np.array([axis.start // BOX for axis in core])
    occupied = tuple((int(z), int(y), int(x)) for z, y, x in np.argwhere(grids[-1]) + first)
    return tuple(int(np.count_nonzero(grid)) for grid in grids), occupied


def _outline(bone: Mask) -> Mask:
    """Return the bone voxels that share a face with marrow; the ends of the array are no faces."""
    padded = np.pad(bone, 1, mode="edge")
    inner: Mask = bone.copy()
    for axis in range(3):
        for shift in (-1, 1):
            np.logical_and(inner, np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1], out=inner)
    return bone & ~inner


def _boxes(outline: Mask, size: int) -> Mask:
    padded = np.pad(outline, [(0, -n % size) for n in outline.shape])
    z, y, x = (n // size for n in padded.shape)
    return np.asarray(padded.reshape(z, size, y, size, x, size).any(axis=(1, 3, 5)))


def window_with_halo(core: Window, shape: Shape) -> Window:
    """Return the window that `block_structure` needs for the block `core`."""
    return add_halo(core, HALO, shape)


def with_structure(about: BoneMeasures, parts: Sequence[BlockStructure], shape: Shape) -> BoneMeasures:
    """Return `about` with what the structures of all blocks of a volume of `shape` add up to;
    as `measure_maps` does it.
    """
    total = about.n_voxels * float(np.prod(about.spacing_mm))
    whole = Topology(
        euler=round(sum(p.euler for p in parts)), corrected=sum(p.euler_corrected for p in parts)
    )
    about = replace(about, euler=whole.euler, euler_corrected=whole.corrected)
    if about.status == "no-bone" or not about.bvtv:
        return replace(about, bs_mm2=0.0, bs_tv_per_mm=0.0)
    return replace(
        with_surface_measures(about, about.bvtv, _sum(parts)),
        conn_d_per_mm3=whole.connectivity_density(total),
        fractal_dimension=_fractal_dimension(parts, shape),
    )


def _sum(parts: Sequence[BlockStructure]) -> Surface:
    return Surface(
        bs_mm2=sum(p.bs for p in parts),
        smooth_mm2=sum(p.smooth for p in parts),
        smooth_bv_mm3=sum(p.bone_mm3 for p in parts),
        growth_mm=sum(p.growth_mm for p in parts),
        orientation=tuple(float(v) for v in np.sum([p.orientation for p in parts], axis=0)),
    )


def _fractal_dimension(parts: Sequence[BlockStructure], shape: Shape) -> float | None:
    sizes = [2**p for p in range(1, 12) if 2**p <= max(shape) // 4]
    small = dict(zip(SMALL_BOXES, np.sum([p.boxes for p in parts], axis=0).tolist(), strict=True))
    occupied = np.array([box for part in parts for box in part.occupied], dtype=np.int64).reshape(-1, 3)
    counts = [small[n] if n <= BOX else len(np.unique(occupied // (n // BOX), axis=0)) for n in sizes]
    if len(sizes) < 3 or min(counts) == 0:
        return None
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])
