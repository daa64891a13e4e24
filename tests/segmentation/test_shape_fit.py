from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FEMUR, TIBIA
from srrd_ray.segmentation.shape_fit import fit_shape, shape_model, surface_of
from srrd_ray.simulation.meshes import Mesh, Points
from srrd_ray.simulation.shape_model import MODES, draw_scores, shape_bones, smooth_mesh
from tests.segmentation.planted import shaped_knee


def somebody(number: int, *, left: bool) -> tuple[Points, Points]:
    """Surface and outward normals of a bone of the model's people, turned as a leg in a scanner."""
    rng = np.random.default_rng(number)
    mesh = smooth_mesh(number - FEMUR, shape_bones(draw_scores(rng))[number - FEMUR])
    turn = Rotation.from_euler("xyz", (8, -10, 12), degrees=True).as_matrix() * ([-1, 1, 1] if left else 1)
    some = rng.choice(len(mesh.vertices), 1200, replace=False)
    return (mesh.vertices @ turn.T)[some] + (30, -40, 900), (Mesh(*mesh).normals() @ turn.T)[some]


@pytest.mark.parametrize("number", [FEMUR, TIBIA])
@pytest.mark.parametrize("left", [False, True])
def test_the_shape_of_somebody_is_found_in_any_pose_and_on_either_side(number: int, left: bool) -> None:
    points, normals = somebody(number, left=left)
    shape = fit_shape(points, normals, shape_model(number))
    assert shape.misfit_mm(points) < 0.6
    middle = np.abs(points[:, 2] - np.median(points[:, 2])) < 40
    outside = shape.outside_mm((points + 4 * normals)[middle])
    assert np.nanmedian(outside) == pytest.approx(4, abs=0.5)
    assert np.nanmedian(shape.outside_mm((points - 4 * normals)[middle])) < -3


@pytest.mark.parametrize("number", [FEMUR, TIBIA])
def test_scores_tell_one_end_of_a_mode_from_the_other(number: int) -> None:
    ends = []
    for score in (-2.0, 2.0):
        scores = np.zeros(MODES)
        scores[0] = score
        mesh = smooth_mesh(number - FEMUR, shape_bones(scores)[number - FEMUR])
        some = np.random.default_rng(0).choice(len(mesh.vertices), 1200, replace=False)
        normals = Mesh(*mesh).normals()[some]
        ends.append(fit_shape(mesh.vertices[some], normals, shape_model(number), "R").scores[0])
    assert ends[0] < -0.5 < 0.5 < ends[1]


def test_beyond_the_end_of_the_shaft_nothing_is_said() -> None:
    points, normals = somebody(FEMUR, left=False)
    shape = fit_shape(points, normals, shape_model(FEMUR))
    far = points[np.argmax(points[:, 2])] + (0, 0, 40)
    assert np.isnan(shape.outside_mm(far[None])).all()


def test_a_part_that_no_shape_reaches_does_not_move_the_fit() -> None:
    points, normals = somebody(FEMUR, left=False)
    ball = np.random.default_rng(0).normal(size=(250, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    lump = points[np.argmax(points[:, 1])] + 15 * ball + (0, 20, 0)
    both = fit_shape(np.concatenate([points, lump]), np.concatenate([normals, ball]), shape_model(FEMUR))
    assert both.misfit_mm(points) < 0.7
    assert np.nanmax(both.outside_mm(lump)) > 25


def test_where_the_image_cuts_a_bone_there_is_no_surface() -> None:
    labels = shaped_knee()
    points, normals = surface_of(Volume(array=labels.array == FEMUR, geometry=labels.geometry))
    top = labels.geometry.corners_lps()[:, 2].max()
    at_top = points[:, 2] > top - 1
    assert len(points) > 500
    assert (np.abs(normals[at_top, 2]) < 0.7).all(), "walls of the shaft, not its cut"


def test_the_surface_lies_between_voxels_and_points_outwards() -> None:
    grid = Geometry.axis_aligned((30, 60, 60), (2.0, 1.0, 1.0), (-29.5, -29.5, -29.0))
    away = np.linalg.norm(grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)), axis=-1)
    points, normals = surface_of(Volume(array=away < 20, geometry=grid))
    radius = np.linalg.norm(points, axis=1)
    assert radius.mean() == pytest.approx(20, abs=0.5)
    assert ((points / radius[:, None]) * normals).sum(axis=1).min() > 0.9
