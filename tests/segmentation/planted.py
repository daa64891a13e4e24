"""A knee of balls and cylinders, and one of mean bones, where label maps of simulated knees would take seconds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import BONES, FEMUR, FIBULA, PATELLA, TIBIA
from srrd_ray.simulation.labels import LABELS
from srrd_ray.simulation.meshes import signed_depth
from srrd_ray.simulation.shape_model import MODES, shape_bones, smooth_mesh

SPACING = 2.0


def knee_labels(side: Side = "L", spacing: float = SPACING) -> Volume[np.uint8]:
    """Classes of a knee in a box of 120 x 120 x 100 mm (z, y, x), the joint in its middle."""
    shape = (int(120 / spacing), int(120 / spacing), int(100 / spacing))
    grid = Geometry.axis_aligned(shape, (spacing,) * 3, (-49, -59, -59))
    x, y, z = np.moveaxis(grid.index_to_lps(np.moveaxis(np.indices(shape), 0, -1)), -1, 0)
    lateral = x if side == "L" else -x
    labels = np.zeros(shape, np.uint8)
    labels[((lateral / 36) ** 2 + (y / 28) ** 2 + ((z - 22) / 20) ** 2 < 1)] = FEMUR
    labels[(np.hypot(lateral, y) < 14) & (z > 20)] = FEMUR
    deep = np.where(lateral < 0, 26, 21)
    labels[((lateral / 34) ** 2 + (y / deep) ** 2 < 1) & (z < -2) & (z > -25)] = TIBIA
    labels[(np.hypot(lateral, y) < 15) & (z < -20)] = TIBIA
    labels[(np.hypot(lateral - 27, y - 22) < 6) & (z < -18)] = FIBULA
    labels[(((lateral - 4) / 19) ** 2 + ((y + 42) / 10) ** 2 + ((z - 20) / 19) ** 2 < 1)] = PATELLA
    return Volume(array=labels, geometry=grid)


def shaped_knee(side: Side = "L") -> Volume[np.uint8]:
    """Classes of a knee of the mean bones of people, in a box of the same size."""
    right = _right_knee()
    labels = right.array.copy() if side == "R" else right.array[:, :, ::-1].copy()
    return Volume(array=labels, geometry=right.geometry)


@lru_cache(maxsize=1)
def _right_knee() -> Volume[np.uint8]:
    shape = (60, 60, 50)
    grid = Geometry.axis_aligned(shape, (SPACING,) * 3, (-49, -59, -59))
    labels = np.zeros(shape, np.uint8)
    for bone, vertices in enumerate(shape_bones(np.zeros(MODES))[: len(BONES)]):
        depth = signed_depth(
            smooth_mesh(bone, vertices), grid.index_to_lps((0, 0, 0)), SPACING, shape, 4.0
        ).depth
        labels[depth > 0] = FEMUR + bone
    return Volume(array=labels, geometry=grid)


def simulated_map(spacing: float = SPACING) -> NDArray[np.uint8]:
    """The same bones as labels of a simulated knee: muscle around them, air outside."""
    labels = np.pad(knee_labels(spacing=spacing).array, 4)
    labels[4:-4, 4:-4, 4:-4][labels[4:-4, 4:-4, 4:-4] == 0] = LABELS["muscle"]
    return labels
