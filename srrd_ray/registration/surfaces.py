"""Coarse alignment by the surfaces of a bone:
points of one mask fall onto the zero level of the other's distance map.

It needs no common grey values, so it also works where a synthetic CT has the shape right and the values
wrong. Surfaces made by the edge of a field of view are not surfaces of the bone and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Geometry, Points, transform_points
from srrd_ray.core.volume import Volume
from srrd_ray.registration.grids import inside

Vector = NDArray[np.float64]
FAR_MM = 8.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Surface:
    """A bone as seen in one image: its surface points (n, 3) LPS mm away from the edge of the field of view,
    its signed distance map (mm, negative inside) with the map's gradient (z, y, x), its centroid,
    and the grid of the maps.
    """

    points: Points
    distance: NDArray[np.float32]
    gradient: NDArray[np.float32]
    centroid: Vector
    grid: Geometry


def extract_surface(
    mask: Volume[np.bool_], field: Geometry, count: int = 800, margin_mm: float = 2.0
) -> Surface:
    """Return the surface of `mask` (isotropic grid along LPS) seen in the field of view `field`.

    `count` points are taken evenly from the list of surface voxels: no chance is involved.
    """
    spacing = mask.geometry.spacing_mm[0]
    distance = signed_distance_mm(mask.array, spacing)
    border_mm = (
        ndimage.distance_transform_edt(np.pad(inside(mask.geometry, field), 1))[1:-1, 1:-1, 1:-1] * spacing
    )
    shell = np.argwhere((np.abs(distance) <= 0.75 * spacing) & (border_mm > margin_mm))
    chosen = (
        shell[np.linspace(0, len(shell) - 1, min(count, len(shell))).astype(int)] if len(shell) else shell
    )
    grid = mask.geometry
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        np.clip(distance, -FAR_MM, FAR_MM), 0.7, mode="nearest"
    )
    gradient = np.stack([np.gradient(smooth, spacing, axis=axis) for axis in range(3)]).astype(np.float32)
    centroid = grid.index_to_lps(np.argwhere(mask.array).mean(axis=0))
    return Surface(
        points=grid.index_to_lps(chosen), distance=smooth, gradient=gradient, centroid=centroid, grid=grid
    )


def signed_distance_mm(mask: NDArray[np.bool_], spacing: float) -> NDArray[np.float32]:
    """Return the distance to the surface of `mask` in mm, negative inside, zero half-way between voxels."""
    outer: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    inner: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    signed = np.where(mask, 0.5 - inner, outer - 0.5) * spacing
    return signed.astype(np.float32)


def align_surfaces(fixed: Surface, moving: Surface, start: Vector, steps: int = 25) -> tuple[Vector, float]:
    """Return the 4×4 transform (fixed -> moving) reached from `start` by Levenberg-Marquardt,
    and its cost in mm.

    The cost is the mean robust distance, both ways, of the points that the other image sees;
    points that it does not see cost 1 mm each, so that leaving the field of view is no way to a good fit.
    """
    matrix, damping = np.asarray(start, dtype=np.float64), 1e-2
    best = surface_cost(fixed, moving, matrix)
    for _ in range(steps):
        step = _step(fixed, moving, matrix, damping)
        trial = apply_motion(matrix, step, fixed.centroid)
        cost = surface_cost(fixed, moving, trial)
        if cost < best:
            gain, matrix, best, damping = best - cost, trial, cost, damping * 0.3
            if gain < 1e-4:
                break
        else:
            damping *= 5.0
            if damping > 1e4:
                break
    return matrix, best


def surface_cost(fixed: Surface, moving: Surface, matrix: Vector) -> float:
    """Return the mean of the robust distances both ways, mm."""
    there = _robust(_sample(moving, transform_points(matrix, fixed.points)))
    back = _robust(_sample(fixed, transform_points(np.linalg.inv(matrix), moving.points)))
    return float(np.concatenate([there, back]).mean()) if there.size and back.size else float("inf")


def apply_motion(matrix: Vector, step: Vector, centre: Vector) -> Vector:
    """Return `matrix` followed by a small motion:
    rotation vector (rad) about the image of `centre`, then shift (mm).
    """
    pivot = transform_points(matrix, centre)
    turn = Rotation.from_rotvec(step[:3]).as_matrix()
    small = np.eye(4)
    small[:3, :3] = turn
    small[:3, 3] = pivot - turn @ pivot + step[3:]
    product: Vector = small @ matrix
    return product


def _robust(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = np.where(np.isnan(distance), 1.0, np.sqrt(1.0 + distance**2) - 1.0)
    return result


def _sample(surface: Surface, points: Points) -> NDArray[np.float32]:
    """Return signed distances at points; NaN outside the grid."""
    index = surface.grid.lps_to_index(points).T
    values: NDArray[np.float32] = ndimage.map_coordinates(surface.distance, index, order=1, cval=np.nan)
    return values


def _step(fixed: Surface, moving: Surface, matrix: Vector, damping: float) -> Vector:
    points = transform_points(matrix, fixed.points)
    index = moving.grid.lps_to_index(points).T
    distance = _sample(moving, points)
    slopes = [ndimage.map_coordinates(g, index, order=1) for g in moving.gradient]
    normal = np.stack(slopes[::-1], axis=1).astype(np.float64)
    weight = np.where(np.isnan(distance), 0.0, 1.0 / np.sqrt(1.0 + np.nan_to_num(distance) ** 2))
    arm = points - transform_points(matrix, fixed.centroid)
    jacobian = np.hstack([np.cross(arm, normal), normal])
    weighted = jacobian * weight[:, None]
    normal_matrix: Vector = weighted.T @ jacobian
    normal_matrix += damping * np.diag(np.diag(normal_matrix) + 1e-6 * len(points))
    step = -np.linalg.solve(normal_matrix, weighted.T @ np.nan_to_num(distance)).astype(np.float64)
    step[:3] = np.clip(step[:3], -0.15, 0.15)
    step[3:] = np.clip(step[3:], -4.0, 4.0)
    return step
