"""A knee in closed form: a flat tibial plateau at z = -2 mm and two spherical condyles that touch z = +2 mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry, Points
from srrd_ray.core.volume import Volume

PLATEAU_Z, CONDYLE_Z = -2.0, 2.0
HALF_ML, HALF_AP, CONDYLE_X, CONDYLE_R = 34.0, 18.0, 17.0, 22.0


def rotation(axis: tuple[float, float, float], degrees: float) -> NDArray[np.float64]:
    k = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), k)
    angle = np.deg2rad(degrees)
    return np.asarray(
        np.eye(3) * np.cos(angle) - np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(k, k)
    )


def oblique_grid(degrees: float = 12.0) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = rotation((0.3, 1.0, 0.2), degrees) @ np.diag([0.8, 0.8, 1.0])
    centre = np.array([100, 70, 70]) / 2.0
    affine[:3, 3] = -affine[:3, :3] @ centre
    return Geometry.from_affine((71, 71, 101), affine)


def voxel_lps(grid: Geometry) -> Points:
    return grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))


def knee_labels(grid: Geometry) -> Volume[np.uint8]:
    x, y, z = np.moveaxis(voxel_lps(grid), -1, 0)
    inside = (np.abs(x) <= HALF_ML) & (np.abs(y) <= HALF_AP)
    tibia = inside & (z <= PLATEAU_Z)
    top = CONDYLE_Z + CONDYLE_R
    radius = [np.sqrt((x - c) ** 2 + y**2 + (z - top) ** 2) for c in (-CONDYLE_X, CONDYLE_X)]
    femur = (np.minimum(*radius) <= CONDYLE_R) | (inside & (z >= top))
    return Volume(array=(femur + 2 * (tibia & ~femur)).astype(np.uint8), geometry=grid)
