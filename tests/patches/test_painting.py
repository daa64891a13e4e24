from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.volume import Volume
from srrd_ray.patches.painting import paint
from tests.patches.phantoms import oblique_grid, voxel_lps

GRID = oblique_grid()
EVERYWHERE = Volume(array=np.ones(GRID.shape, dtype=np.bool_), geometry=GRID)


def test_a_single_cube_paints_a_ball_of_its_own_value() -> None:
    center = np.array([[3.0, -4.0, 5.0]])
    painted = paint(center, np.array([0.3]), EVERYWHERE, reach_mm=6.0).array
    inside = np.linalg.norm(voxel_lps(GRID) - center[0], axis=-1) <= 6.0
    np.testing.assert_array_equal(np.isfinite(painted), inside)
    np.testing.assert_allclose(painted[inside], 0.3, rtol=1e-6)


def test_between_two_cubes_the_map_goes_from_one_value_to_the_other() -> None:
    centers = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    painted = paint(centers, np.array([1.0, 3.0]), EVERYWHERE, reach_mm=6.0)
    line = painted.at([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    assert 1.0 <= line[0] < 1.4
    assert line[1] == pytest.approx(2.0, abs=0.05)
    assert 2.6 < line[2] <= 3.0


def test_nothing_is_painted_outside_the_bone_or_the_volume() -> None:
    bone = Volume(array=voxel_lps(GRID)[..., 2] < 0, geometry=GRID)
    painted = paint(np.array([[0.0, 0.0, 0.0], [500.0, 0.0, 0.0]]), np.array([1.0, 9.0]), bone)
    assert not np.isfinite(painted.array[~bone.array]).any()
    assert np.nanmax(painted.array) == 1.0
