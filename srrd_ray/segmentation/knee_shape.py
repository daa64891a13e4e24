"""The shape of a knee in numbers: joint space, subchondral plates, and the first coordinates of its bones."""

from __future__ import annotations

from typing import Final

import numpy as np

from srrd_ray.core.bones import BONE_LABELS, BONES, BoneName
from srrd_ray.core.records import COMPARTMENTS, Side
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.patches.joint_space import JointSpace, joint_spaces
from srrd_ray.segmentation.shape_fit import fit_shape, shape_model, surface_of

COORDINATES: Final = 3
"""Modes of the shape model that are kept of each bone: cohorts have tens of knees."""
LEAST_POINTS: Final = 100
"""Points of a surface under which no shape is laid on it."""
OF_COMPARTMENT: Final = (
    "joint_space_least_{}_mm",
    "joint_space_mean_{}_mm",
    "femoral_plate_{}_mm",
    "tibial_plate_{}_mm",
)
SHAPE_COLUMNS: Final = (
    *(name.format(compartment) for compartment in COMPARTMENTS for name in OF_COMPARTMENT),
    *(f"{bone}_shape_{mode + 1}" for bone in BONES for mode in range(COORDINATES)),
)


def knee_shape(ct: Volume[Scalar], bones: Volume[np.uint8], side: Side) -> dict[str, float]:
    """Return the numbers of `SHAPE_COLUMNS` of one knee, NaN where it shows too little: mm, and SDs of the
    modes of the shape model.

    Parameters
    ----------
    ct
        HU.
    bones
        Femur and tibia, labelled, on the grid of the CT.

    Raises
    ------
    InputError
        `bone-missing` where femur or tibia is absent.
    """
    spaces = joint_spaces(ct, bones, side)
    values = [value for compartment in COMPARTMENTS for value in _values(spaces[compartment])]
    values += [value for bone in BONES for value in _coordinates(bones, bone, side)]
    return dict(zip(SHAPE_COLUMNS, values, strict=True))


def _values(space: JointSpace) -> tuple[float, ...]:
    return space.least_mm, space.mean_mm, space.femoral_plate_mm, space.tibial_plate_mm


def _coordinates(bones: Volume[np.uint8], bone: BoneName, side: Side) -> tuple[float, ...]:
    label = BONE_LABELS[bone]
    points, normals = surface_of(Volume(array=bones.array == label, geometry=bones.geometry))
    if len(points) < LEAST_POINTS:
        return (np.nan,) * COORDINATES
    return tuple(fit_shape(points, normals, shape_model(label), side).scores[:COORDINATES].tolist())
