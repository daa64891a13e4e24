from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.core.volume import Volume
from srrd_ray.morphometry.calibration import MARROW_HU, MINERAL_HU
from srrd_ray.patches.joint_space import RADIUS_MM, JointSpace, joint_spaces
from tests.patches.phantoms import CONDYLE_R, CONDYLE_X, CONDYLE_Z, HALF_AP, HALF_ML, rotation, voxel_lps

STEP = 0.6
GRID = Geometry.axis_aligned((80, 70, 130), (STEP,) * 3, (-38.7, -20.7, -18.0))
SOFT, DEEP = (80.0 - MARROW_HU) / (MINERAL_HU - MARROW_HU), 0.25
Knee = tuple[Volume[np.float32], Volume[np.uint8]]


@cache
def planted(
    plate_mm: float = 1.0, blur_mm: float = 0.4, medial_mm: float = 4.0, lateral_mm: float = 4.0
) -> Knee:
    """CT and bones of a right knee: two spherical condyles over a plateau that leaves each its gap, and plates
    of solid bone.
    """
    x, y, z = np.moveaxis(voxel_lps(GRID), -1, 0)
    top = CONDYLE_Z + CONDYLE_R
    away = np.minimum(*(np.sqrt((x - c) ** 2 + y**2 + (z - top) ** 2) for c in (-CONDYLE_X, CONDYLE_X)))
    femur = CONDYLE_R - away
    held = (np.abs(x) <= HALF_ML) & (np.abs(y) <= HALF_AP)
    tibia = np.where(held, CONDYLE_Z - np.where(x > 0, medial_mm, lateral_mm) - z, -9.0)
    depth = np.maximum(femur, tibia)
    bone, under = (np.clip(mm / STEP + 0.5, 0, 1) for mm in (depth, depth - plate_mm))
    share = SOFT * (1 - bone) + (bone - under) + DEEP * under
    hu = ndimage.gaussian_filter(share, blur_mm / STEP) * (MINERAL_HU - MARROW_HU) + MARROW_HU
    labels = np.where(femur > 0, 1, np.where(tibia > 0, 2, 0)).astype(np.uint8)
    return Volume(array=hu.astype(np.float32), geometry=GRID), Volume(array=labels, geometry=GRID)


def medial(knee: Knee) -> JointSpace:
    return joint_spaces(*knee, "R")["medial"]


def expected_mean_mm(least_mm: float) -> float:
    """The mean along z over the disc, whose centre lies 2 mm beside that of the condyle."""
    u, v = np.meshgrid(*(np.linspace(-RADIUS_MM, RADIUS_MM, 201),) * 2)
    within = np.hypot(u, v) <= RADIUS_MM
    return float(least_mm + (CONDYLE_R - np.sqrt(CONDYLE_R**2 - (u + 2) ** 2 - v**2))[within].mean())


def test_widths_are_those_of_a_sphere_over_a_plane() -> None:
    found = medial(planted(blur_mm=0.25))
    assert found.least_mm == pytest.approx(4.05, abs=0.3)
    assert found.mean_mm == pytest.approx(expected_mean_mm(4.0), abs=0.3)


def test_a_space_that_is_two_millimetres_narrower_reads_so() -> None:
    wide, narrow = medial(planted()), medial(planted(medial_mm=2.0))
    assert wide.least_mm - narrow.least_mm == pytest.approx(2.0, abs=0.2)
    assert wide.mean_mm - narrow.mean_mm == pytest.approx(2.0, abs=0.2)


def test_medial_is_the_other_side_in_a_left_knee() -> None:
    ct, bones = planted(medial_mm=2.0)
    right, left = joint_spaces(ct, bones, "R"), joint_spaces(ct, bones, "L")
    assert right["medial"] == left["lateral"]
    assert right["lateral"].least_mm > right["medial"].least_mm + 1.5


def test_masks_that_end_a_voxel_early_hardly_change_the_widths() -> None:
    ct, bones = planted()
    ball = ndimage.generate_binary_structure(3, 1)
    eroded = sum(n * ndimage.binary_erosion(bones.array == n, ball, border_value=1) for n in (1, 2))
    smaller = Volume(array=np.asarray(eroded, np.uint8), geometry=GRID)
    assert medial((ct, smaller)).least_mm == pytest.approx(medial((ct, bones)).least_mm, abs=0.15)


@pytest.mark.parametrize("plate_mm", [0.5, 1.0])
def test_plates_are_as_thick_as_planted_whatever_the_blur(plate_mm: float) -> None:
    for blur_mm in (0.25, 0.6):
        found = medial(planted(plate_mm=plate_mm, blur_mm=blur_mm))
        assert found.tibial_plate_mm == pytest.approx(plate_mm, abs=0.15)
        assert found.femoral_plate_mm == pytest.approx(plate_mm, abs=0.15)


def test_a_leg_that_lies_turned_in_the_scanner_has_the_same_values() -> None:
    ct, bones = planted(medial_mm=3.0)
    turn = np.eye(4)
    turn[:3, :3] = rotation((1.0, 0.5, 0.0), 8.0)
    grid = Geometry.from_affine(GRID.shape, turn @ GRID.affine)
    turned = medial((Volume(array=ct.array, geometry=grid), Volume(array=bones.array, geometry=grid)))
    assert np.allclose(transform_points(turn, GRID.corners_lps()), grid.corners_lps())
    assert turned.least_mm == pytest.approx(medial((ct, bones)).least_mm, abs=0.25)
    assert turned.tibial_plate_mm == pytest.approx(medial((ct, bones)).tibial_plate_mm, abs=0.1)


def test_where_the_image_ends_in_the_plate_there_are_no_values_and_beyond_it_all() -> None:
    ct, bones = planted()
    low, enough = (
        joint_spaces(ct.crop((0, 0, 0), shape), bones.crop((0, 0, 0), shape), "R")
        for shape in ((43, 70, 130), (65, 70, 130))
    )
    assert np.isnan(low["medial"].least_mm)
    assert enough == joint_spaces(ct, bones, "R")


def test_a_bone_that_is_absent_is_named() -> None:
    ct, bones = planted()
    alone = Volume(array=np.where(bones.array == 1, 1, 0).astype(np.uint8), geometry=GRID)
    with pytest.raises(InputError, match="tibia"):
        joint_spaces(ct, alone, "R")
