import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.cohort import KneeImages
from srrd_ray.simulation.compose import Table
from srrd_ray.simulation.microstructure import sample_microstructure
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.pose import (
    FEMUR,
    TIBIA,
    JointPose,
    bring_into_contact,
    ct_to_mr,
    depth_at,
    depth_on,
    sample_sessions,
    tibia_pose,
)
from srrd_ray.simulation.scene import build_scene

from .conftest import TINY


def test_flexion_takes_the_shin_backwards() -> None:
    pose = tibia_pose(JointPose(flexion=30, axial=0, varus=0, shift=(0, 0, 0)))
    shin = transform_points(pose, np.array([0.0, 0.0, -100.0]))
    assert shin[1] > 30
    assert shin[0] == pytest.approx(0)


def test_transforms_are_rigid_and_differ_between_the_bones(tiny: KneeImages) -> None:
    for matrix in tiny.transforms.values():
        linear = np.array(matrix)[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(linear) == pytest.approx(1)
    assert not np.allclose(tiny.transforms["femur"], tiny.transforms["tibia"], atol=1e-3)


def test_the_true_transform_takes_a_bone_from_one_session_to_the_other(plan: SimulatedKnee) -> None:
    a = sample_anatomy(plan)
    scene = build_scene(plan, a, sample_microstructure(plan, a), TINY.extent)
    sessions = sample_sessions(plan, scene.bones, 3.0)
    point = np.array([20.0, 3.0, 8.0])
    for bone in (FEMUR, TIBIA):
        in_ct, in_mr = (transform_points(sessions[m].world_from_bone[bone], point) for m in ("ct", "mr"))
        np.testing.assert_allclose(transform_points(ct_to_mr(sessions, bone), in_ct), in_mr, atol=1e-9)
    surface = _plateau(scene.bones[TIBIA])
    pose = bring_into_contact(
        tibia_pose(JointPose(flexion=15, axial=-4, varus=1, shift=(0, 1, 0))), scene.bones, 3.0
    )
    assert -depth_at(scene.bones[FEMUR], transform_points(pose, surface)).max() == pytest.approx(
        3.0, abs=0.15
    )


def test_the_depth_on_a_grid_is_that_at_its_points() -> None:
    values = np.random.default_rng(0).normal(size=(7, 6, 5, 2)).astype(np.float32)
    table = Table(values, np.array([-2.0, -3.0, -4.0]), 1.25)
    grid = Geometry.from_affine(
        (4, 5, 6), np.array([[0.1, 0.5, 0, -2], [0.7, 0, 0.1, -2.5], [0, 0.1, 1.1, -4.4], [0, 0, 0, 1]])
    )
    points = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    np.testing.assert_allclose(depth_on(table, grid.affine, grid.shape), depth_at(table, points), atol=1e-5)


def _plateau(table: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    from srrd_ray.simulation.pose import _plateau_points

    return _plateau_points(table)  # type: ignore[arg-type]
