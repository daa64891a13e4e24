"""The thickness of the subchondral plate in a row of measures,
where the bone and the side of its joint are known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_OF, BoneName
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.geometry import Geometry
from srrd_ray.measurement.result import Flat
from srrd_ray.morphometry.plate import plate_by_mass, plate_thickness


def plate_row(
    image: NDArray[np.generic], inside: NDArray[np.bool_] | None, grid: Geometry, bone: BoneName | None
) -> Flat:
    """Return Plate.Th (mm), its SD, points and how it was found; empty where bone or mask are not known.

    `image` is binary bone (rays run to the first marrow), or the bone fraction also outside the bone (float:
    the mineral along the rays). `inside` is the whole bone with its marrow.
    Null values where no plate can be seen.
    """
    if bone is None or inside is None:
        return {}
    by_mass = image.dtype != np.bool_
    row: Flat = {
        "Plate.method": "mineral along the normal" if by_mass else "along the normal to the first marrow"
    }
    measure = plate_by_mass if by_mass else plate_thickness
    try:
        plate = measure(image, inside, grid.spacing_mm, to_array_axes(grid, BONE_OF[bone].joint_lps))
    except NotEstimableError:
        return {"Plate.Th": None, "Plate.Th.SD": None, "Plate.points": 0, "Plate.deep": None, **row}
    return {
        "Plate.Th": plate.mean_mm,
        "Plate.Th.SD": plate.sd_mm,
        "Plate.points": plate.n_points,
        "Plate.deep": plate.deep,
        **row,
    }


def to_array_axes(grid: Geometry, direction_lps: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return a direction of the world along the axes (z, y, x) of a grid's arrays."""
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    along: NDArray[np.float64] = np.asarray(direction_lps) @ axes
    return along[::-1].copy()
