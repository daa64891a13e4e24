from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.core.records import COMPARTMENTS, Compartment, Side
from srrd_ray.core.volume import Volume
from srrd_ray.patches import PatchConfig, SubchondralPoint, subchondral_points
from tests.patches.phantoms import (
    CONDYLE_R,
    CONDYLE_X,
    CONDYLE_Z,
    HALF_ML,
    PLATEAU_Z,
    knee_labels,
    oblique_grid,
    rotation,
)

LABELS = knee_labels(oblique_grid())


def region(points: tuple[SubchondralPoint, ...], bone: BoneName, compartment: Compartment) -> np.ndarray:
    return np.array([p.center_lps_mm for p in points if (p.bone, p.compartment) == (bone, compartment)])


@pytest.mark.parametrize(("side", "sign"), [("R", 1.0), ("L", -1.0)])
def test_medial_points_lie_left_in_a_right_knee_and_right_in_a_left_knee(side: Side, sign: float) -> None:
    points = subchondral_points(LABELS, side, PatchConfig())
    for bone in BONES:
        assert (sign * region(points, bone, "medial")[:, 0] > 8).all()
        assert (sign * region(points, bone, "lateral")[:, 0] < -8).all()


def test_tibial_points_lie_exactly_at_their_depth_below_a_flat_plateau() -> None:
    points = subchondral_points(LABELS, "R", PatchConfig(depth_mm=7.0))
    heights = np.concatenate([region(points, "tibia", c)[:, 2] for c in COMPARTMENTS])
    np.testing.assert_allclose(heights, PLATEAU_Z - 7.0, atol=0.8)


def test_femoral_points_lie_above_their_own_column_of_a_spherical_condyle() -> None:
    points = region(subchondral_points(LABELS, "R", PatchConfig(depth_mm=7.0)), "femur", "medial")
    across = np.hypot(points[:, 0] - CONDYLE_X, points[:, 1])
    surface = CONDYLE_Z + CONDYLE_R - np.sqrt(CONDYLE_R**2 - across**2)
    np.testing.assert_allclose(points[:, 2], surface + 7.0, atol=0.9)


@pytest.mark.parametrize("bone", BONES)
def test_points_surround_the_middle_of_the_weight_bearing_surface(bone: BoneName) -> None:
    points = region(subchondral_points(LABELS, "R", PatchConfig()), bone, "medial")
    np.testing.assert_allclose(points[:, :2].mean(axis=0), (0.28 * 2 * HALF_ML, 0.0), atol=1.6)


def test_candidates_start_at_the_centre_and_stay_within_the_radius() -> None:
    config = PatchConfig(pitch_mm=3.0, radius_mm=8.0, layers=2)
    points = region(subchondral_points(LABELS, "R", config), "tibia", "lateral")
    first = points[: len(points) // 2]
    distance = np.linalg.norm(first[:, :2] - first[:, :2].mean(axis=0), axis=1)
    assert (np.diff(distance) >= -1e-6).all()
    assert distance.max() <= 8.0 * np.sqrt(2)
    np.testing.assert_allclose(points[len(first) :, 2], first[:, 2] - 3.0, atol=1e-3)


def test_points_do_not_depend_on_the_orientation_of_the_grid() -> None:
    straight = subchondral_points(knee_labels(oblique_grid(0.0)), "R", PatchConfig())
    tilted = subchondral_points(LABELS, "R", PatchConfig())
    difference = np.array([p.center_lps_mm for p in straight]) - np.array([p.center_lps_mm for p in tilted])
    assert np.abs(difference).max() < 1.5


@pytest.mark.parametrize("axis", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])
def test_a_leg_that_lies_tilted_is_read_at_the_same_places(axis: tuple[float, float, float]) -> None:
    tilt = np.eye(4)
    tilt[:3, :3] = rotation(axis, 8.0)
    grid = Geometry.from_affine(LABELS.geometry.shape, tilt @ LABELS.geometry.affine)
    config = PatchConfig(pitch_mm=0.2, radius_mm=0.2)
    straight = subchondral_points(LABELS, "R", config)
    tilted = subchondral_points(Volume(array=LABELS.array, geometry=grid), "R", config)
    expected = transform_points(tilt, [p.center_lps_mm for p in straight])
    assert np.abs(expected - np.array([p.center_lps_mm for p in tilted])).max() < 2.5


def test_a_missing_bone_is_refused_by_name() -> None:
    labels = Volume(array=np.minimum(LABELS.array, 1).astype(np.uint8), geometry=LABELS.geometry)
    with pytest.raises(InputError, match=r"\[bone-missing\].*tibia"):
        subchondral_points(labels, "R", PatchConfig())
