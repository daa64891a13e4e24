"""The thickness of the subchondral plate as part of a row of measures, where the bone and the side of its joint are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.errors import NotEstimableError
from srrd_ray.geometry import Geometry
from srrd_ray.morphometry.plate import plate_thickness
from srrd_ray.records import Bone
from srrd_ray.stages.measured import Flat

JOINT_LPS: dict[Bone, tuple[float, float, float]] = {"femur": (0.0, 0.0, -1.0), "tibia": (0.0, 0.0, 1.0)}
"""Where the knee's joint lies from each bone, LPS."""


def plate_row(compact: NDArray[np.bool_], inside: NDArray[np.bool_] | None, grid: Geometry, bone: Bone | None) -> Flat:
    """Return Plate.Th (mm), its SD, points and share that goes deeper; empty where bone or mask are not known.

    `compact` is bone, `inside` the whole bone with its marrow. Null values where no plate can be seen.
    """
    if bone is None or inside is None:
        return {}
    try:
        found = plate_thickness(compact, inside, grid.spacing_mm, toward(grid, JOINT_LPS[bone]))
    except NotEstimableError:
        return {"Plate.Th": None, "Plate.Th.SD": None, "Plate.points": 0, "Plate.deep": None}
    return {
        "Plate.Th": found.mean_mm,
        "Plate.Th.SD": found.sd_mm,
        "Plate.points": found.n_points,
        "Plate.deep": found.deep,
    }


def toward(grid: Geometry, direction_lps: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return a direction of the world along the axes (z, y, x) of a grid's arrays."""
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    along: NDArray[np.float64] = np.asarray(direction_lps) @ axes
    return along[::-1].copy()
