"""The composition of a scene: mineral fraction and tissue label at every point, on any grid and in any pose.

One compiled kernel serves MR, CT and truth: each samples the same continuous fields on its own grid. Smooth
fields (depth under the bone surface, volume fraction, warp …) are tables in the frame of each bone, read at
the corners of bricks and interpolated between them; the trabecular fields are read from the tile at every
point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.simulation.compose_kernel import KNOT_MM, compose_bricks
from srrd_ray.simulation.trabeculae import TILE_UNIT, fabric_of, thickness_table

CHANNELS = (
    "depth",
    "cartilage",
    "compact",
    "fraction",
    "rod",
    "lesion",
    "cyst",
    "warp_x",
    "warp_y",
    "warp_z",
    "meniscus",
)
"""Channels of a bone's table: depth under the surface mm (negative outside), cartilage and compact bone
thickness mm, bone volume fraction, λ, water fraction of a marrow lesion, depth inside a cyst mm (negative
outside), the warp of the texture mm, and how far inside the ring of a meniscus a point lies (the tibia's
alone is read).
"""
SOFT_CHANNELS = ("ligament", "muscle", "vessel", "fascia", "limb", "grain", "streak")
"""Channels of the soft tissue table, positive inside, and two noises of SD 1: where fat has septa (near 0),
and where muscle has fat (far above 0).
"""

AIR, FAT, MUSCLE, FLUID, CARTILAGE, MENISCUS, LIGAMENT, SKIN, CYST, COMPACT, BLOOD = range(11)
MARROW = 64
"""First marrow label: MARROW + 16 · (water of a lesion, eighths) + (bone volume fraction / 0.04, at most 15).
"""
FRACTION_STEP = 0.04


class Table(NamedTuple):
    """Smooth fields in a body's frame: values (z, y, x, channel), the position of node (0, 0, 0),
    the step in mm.
    """

    values: NDArray[np.float32]
    origin_mm: NDArray[np.float64]
    step_mm: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A knee: its bones (femur and tibia first), soft tissue, and trabecular texture.

    `tile_from_bone` is (bones, 2, 3, 4): for each bone `trabeculae.tile_maps`.
    """

    bones: tuple[Table, ...]
    soft: Table
    tile: NDArray[np.int16]
    tile_from_bone: NDArray[np.float64]


def compose(
    scene: Scene, bones_from_index: NDArray[np.float64], shape: Shape, *, sharp: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the mineral fraction and the tissue label of a grid, both (z, y, x).

    Parameters
    ----------
    bones_from_index
        (bones, 4, 4): from the column (i, j, k, 1) of the grid to each bone's frame, mm.
    sharp
        Trabecular bone is 0 or 1 by the centre of the voxel, not the part of the voxel that it fills.
    """
    mineral = np.empty(shape, np.float32)
    label = np.empty(shape, np.uint8)
    maps = np.ascontiguousarray(bones_from_index[:, :3, :], dtype=np.float64)
    fabric = fabric_of(scene.tile_from_bone, maps)
    plates = thickness_table() * TILE_UNIT
    compose_bricks(
        mineral,
        label,
        scene.bones,
        scene.soft,
        maps,
        scene.tile,
        scene.tile_from_bone,
        fabric,
        plates,
        sharp,
    )
    return mineral, label


def compose_planes(
    scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield number, mineral fraction and label (y, x) of every plane of `grid`,
    composed a brick's depth at a time.
    """
    planes, rows, columns = grid.shape
    slab = max(int(KNOT_MM / grid.spacing_mm[0]), 1)
    for first in range(0, planes, slab):
        part = grid.crop((first, 0, 0), (min(slab, planes - first), rows, columns))
        minerals, labels = compose(scene, bones_from_world @ part.affine, part.shape)
        for number, (mineral, label) in enumerate(zip(minerals, labels, strict=True), start=first):
            yield number, mineral, label


def marrow_fraction_and_water() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bone volume fraction and lesion water of every marrow label, from MARROW up (128 each)."""
    code = np.arange(128, dtype=np.float64)
    return np.asarray(code % 16 * FRACTION_STEP), np.asarray(code // 16 / 7)
