from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.distillation.halves import HALVES
from srrd_ray.morphometry.resolve import MorphometryConfig
from srrd_ray.patches import SubchondralPoint
from srrd_ray.patches.sampling import mr_grid
from srrd_ray.simulation.cohort import View, sample_acquisition
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.simulation.school import VIEW, SchoolKnee
from srrd_ray.stages.shared.evidence_cubes import boxes_of, read_evidence_cubes, write_evidence_cubes

CONFIG = MorphometryConfig()
COARSE = View(ct_mm=VIEW.ct_mm, mr_mm=VIEW.mr_mm, center_mm=VIEW.center_mm, truth_voxel_mm=0.3)


def test_the_boxes_of_a_cube_are_its_own_and_those_of_its_halves_in_the_order_of_the_teachers() -> None:
    point = SubchondralPoint(bone="tibia", compartment="medial", center_lps_mm=(10, 20, 30), depth_mm=7.0)
    whole, *halves = boxes_of(point, CONFIG)
    assert whole.size_mm == CONFIG.box_mm
    grid = mr_grid(point.center_lps_mm)
    for box, (axis, side) in zip(halves, HALVES, strict=True):
        index = np.indices(grid.shape).reshape(3, -1).T
        kept = (
            index[:, axis - 2] >= grid.shape[axis - 2] // 2
            if side
            else index[:, axis - 2] < grid.shape[axis - 2] // 2
        )
        places = grid.index_to_lps(index[kept])
        np.testing.assert_allclose(places.mean(axis=0), box.center_lps_mm, atol=1e-6)
        assert np.prod(box.size_mm) == pytest.approx(np.prod(whole.size_mm) / 2)


@pytest.mark.slow
def test_cubes_have_the_truth_and_what_mr_measures_of_them_and_of_their_halves(tmp_path: Path) -> None:
    plan = simulate_cohort_plan(4, 4242, "quick")[0]
    path = tmp_path / "knee.zarr"
    count = write_evidence_cubes(
        path, SchoolKnee(plan=plan, micro=None, scans=sample_acquisition(plan)), CONFIG, COARSE
    )
    cubes = read_evidence_cubes([path, path])
    assert 8 < len(cubes) <= 2 * count
    assert cubes.halves.shape == (len(HALVES), len(cubes), 4)
    assert np.isfinite(cubes.halves).all()
    measured, truth = cubes.data.targets, cubes.truth
    assert np.corrcoef(measured[:, 0], truth[:, 0])[0, 1] > 0.2
    assert not np.array_equal(measured, truth)
    along = cubes.halves.reshape(3, 2, len(cubes), 4).mean(axis=1)
    np.testing.assert_allclose(along[:, :, 0], np.broadcast_to(measured[:, 0], along.shape[:2]), atol=0.06)
