from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, TIBIA
from srrd_ray.segmentation.knee_shape import SHAPE_COLUMNS, knee_shape
from tests.segmentation.planted import shaped_knee

Knee = tuple[Volume[np.int16], Volume[np.uint8]]


@cache
def scanned(side: Side) -> Knee:
    """A knee of the mean bones of people, all of each bone as dense as its plate."""
    labels = shaped_knee(side)
    bones = np.where(np.isin(labels.array, (FEMUR, TIBIA)), labels.array, 0).astype(np.uint8)
    hu = np.where(bones > 0, 900, 60).astype(np.int16)
    return Volume(array=hu, geometry=labels.geometry), Volume(array=bones, geometry=labels.geometry)


def values(knee: Knee, side: Side) -> np.ndarray:
    found = knee_shape(*knee, side)
    assert tuple(found) == SHAPE_COLUMNS
    return np.array(list(found.values()))


def test_mean_bones_lie_at_the_origin_of_the_shape_coordinates() -> None:
    found = values(scanned("R"), "R")[[name.split("_")[1] == "shape" for name in SHAPE_COLUMNS]]
    assert len(found) == 6
    assert np.abs(found).max() < 0.6


def test_a_knee_and_its_mirror_image_have_the_same_shape() -> None:
    np.testing.assert_allclose(values(scanned("L"), "L"), values(scanned("R"), "R"), atol=0.15)


def test_taken_for_the_other_side_the_compartments_change_places() -> None:
    right, wrong = (knee_shape(*scanned("R"), side) for side in ("R", "L"))
    for name in ("joint_space_least_{}_mm", "tibial_plate_{}_mm"):
        assert wrong[name.format("medial")] == right[name.format("lateral")]


def test_of_a_sliver_of_bone_there_are_no_coordinates() -> None:
    ct, bones = scanned("R")
    few = bones.array.copy()
    few[few == FEMUR] = 0
    few[40, 30, 20:30] = FEMUR
    found = knee_shape(ct, Volume(array=few, geometry=bones.geometry), "R")
    assert np.isnan([found["femur_shape_1"], found["joint_space_least_medial_mm"]]).all()
    assert np.isfinite(found["tibia_shape_1"])


def test_a_bone_that_is_absent_is_named() -> None:
    ct, bones = scanned("R")
    alone = np.where(bones.array == TIBIA, TIBIA, 0).astype(np.uint8)
    with pytest.raises(InputError, match="femur"):
        knee_shape(ct, Volume(array=alone, geometry=bones.geometry), "R")
