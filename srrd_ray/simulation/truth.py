"""The exact truth of a simulated knee: transforms, landmarks, and trabecular sums in small cells.

Sums over cells are additive: BV/TV of any box is Σ n_bone / Σ n_total over the cells inside it, Tb.Th is Σ
sum_th_mm / Σ n_bone, Tb.Sp is Σ sum_sp_mm / Σ n_marrow. Counted is the trabecular compartment:
compact bone, cysts and their rims are no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.geometry import Geometry, Points, transform_points
from srrd_ray.core.records import COMPARTMENTS, Compartment
from srrd_ray.morphometry import local_thickness
from srrd_ray.simulation.anatomy import Anatomy
from srrd_ray.simulation.compose import MARROW, Scene, Table, compose
from srrd_ray.simulation.pose import Session, depth_at

CELL_MM = 3.0
BLOCK_CELLS = (4, 4, 5)
"""Cells (z, y, x) under each weight-bearing centre: 12 × 12 × 15 mm (SI, AP, ML)."""
TOP_MM = 1.0
"""Depth of the block's upper face under the joint surface, mm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Sums over one cube of `cell_mm` in the CT's LPS axes; position is its centre."""

    bone: BoneName
    compartment: Compartment
    x_mm: float
    y_mm: float
    z_mm: float
    cell_mm: float
    n_total: int
    n_bone: int
    sum_th_mm: float
    n_marrow: int
    sum_sp_mm: float
    voxel_mm: float


def truth_cells(scene: Scene, ct: Session, a: Anatomy, voxel_mm: float) -> list[Cell]:
    """Return the cells of the four weight-bearing regions, by exact local thickness at `voxel_mm`."""
    cells: list[Cell] = []
    for n, bone in enumerate(BONES):
        for side, compartment in enumerate(COMPARTMENTS):
            center = weight_bearing_center(scene, a, n, side)
            middle = transform_points(ct.world_from_bone[n], center)
            cells += _block(scene, ct, (bone, compartment), middle, voxel_mm)
    return cells


def weight_bearing_center(scene: Scene, a: Anatomy, bone: int, side: int) -> Points:
    """Return the middle of a region's block in its bone's frame, mm:
    under the centre of the compartment's surface.
    """
    x, y = a.centers_x[side], 0.0
    up = np.arange(-24.0, 24.0, 0.05)
    line = np.column_stack([np.full_like(up, x), np.full_like(up, y), up])
    inside = depth_at(scene.bones[bone], line) > 0
    surface = up[inside].min() if bone == 0 else up[inside].max()
    half = TOP_MM + BLOCK_CELLS[0] * CELL_MM / 2
    return np.array([x, y, surface + half if bone == 0 else surface - half])


def _block(
    scene: Scene, ct: Session, region: tuple[BoneName, Compartment], middle: Points, voxel_mm: float
) -> list[Cell]:
    per_cell = round(CELL_MM / voxel_mm)
    voxel = CELL_MM / per_cell
    margin = round(0.45 / voxel)
    counts = np.array(BLOCK_CELLS) * per_cell
    shape = counts + 2 * margin
    first = middle - (shape[::-1] - 1) / 2 * voxel
    grid = Geometry.axis_aligned((int(shape[0]), int(shape[1]), int(shape[2])), (voxel,) * 3, first)
    mineral, label = compose(scene, ct.bone_from_world() @ grid.affine, grid.shape, sharp=True)
    inside = label >= MARROW
    bone = (mineral >= 0.5) & inside
    marrow = inside & ~bone
    solid, hollow = (mineral >= 0.5), (mineral < 0.5)
    window = tuple(slice(margin, margin + int(n)) for n in counts)
    thickness, spacing = (local_thickness(m, (voxel,) * 3, dtype=np.float32)[window] for m in (solid, hollow))
    inside, bone, marrow = inside[window], bone[window], marrow[window]
    sums = [_cell_sums(v, per_cell) for v in (inside, bone, thickness * bone, marrow, spacing * marrow)]
    centers = (
        middle
        + (np.indices(BLOCK_CELLS).reshape(3, -1).T - (np.array(BLOCK_CELLS) - 1) / 2)[:, ::-1] * CELL_MM
    )
    return [
        _cell(region, position, [float(s.ravel()[n]) for s in sums], voxel)
        for n, position in enumerate(centers)
    ]


def _cell(region: tuple[BoneName, Compartment], position: Points, sums: list[float], voxel: float) -> Cell:
    total, bone, thickness, marrow, spacing = sums
    x, y, z = (round(float(v), 4) for v in position)
    return Cell(
        bone=region[0],
        compartment=region[1],
        x_mm=x,
        y_mm=y,
        z_mm=z,
        cell_mm=CELL_MM,
        n_total=int(total),
        n_bone=int(bone),
        sum_th_mm=thickness,
        n_marrow=int(marrow),
        sum_sp_mm=spacing,
        voxel_mm=voxel,
    )


def _cell_sums(values: NDArray[np.generic], per_cell: int) -> NDArray[np.float64]:
    """Return sums over cubes of `per_cell` voxels a side."""
    z, y, x = (n // per_cell for n in values.shape)
    blocks = values.reshape(z, per_cell, y, per_cell, x, per_cell)
    sums: NDArray[np.float64] = blocks.sum(axis=(1, 3, 5), dtype=np.float64)
    return sums


def landmarks(
    table: Table, session_grids: list[tuple[NDArray[np.float64], Geometry]], count: int = 16
) -> Points:
    """Return `count` points of a bone's surface, in its frame, far from each other and inside every image.

    `session_grids` pairs (4, 4) world from bone with the image's grid, one for each session.
    """
    near = np.argwhere(np.abs(table.values[..., 0]) < 0.5 * table.step_mm)
    points = table.origin_mm + near[:, ::-1] * table.step_mm
    for world_from_bone, grid in session_grids:
        index = grid.lps_to_index(transform_points(world_from_bone, points))
        border = 3.0 / np.array(grid.spacing_mm)
        points = points[((index > border) & (index < np.array(grid.shape) - 1 - border)).all(axis=1)]
    if len(points) == 0:
        return points
    chosen = [int(np.argmin(points.sum(axis=1)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return points[chosen]
