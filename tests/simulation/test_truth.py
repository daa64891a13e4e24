import numpy as np
import pytest

from srrd_ray.core.geometry import transform_points
from srrd_ray.simulation.cohort import KneeImages
from srrd_ray.simulation.truth import _cell_sums


def test_cell_sums_add_up_to_the_whole() -> None:
    values = np.random.default_rng(0).random((8, 12, 16))
    sums = _cell_sums(values, 4)
    assert sums.shape == (2, 3, 4)
    assert sums.sum() == pytest.approx(values.sum())
    assert sums[1, 2, 3] == pytest.approx(values[4:, 8:, 12:].sum())


def test_cells_cover_a_block_under_each_of_the_four_regions(tiny: KneeImages) -> None:
    regions = {(c.bone, c.compartment) for c in tiny.cells}
    assert len(regions) == 4
    assert len(tiny.cells) == 4 * 80
    one = [c for c in tiny.cells if (c.bone, c.compartment) == ("femur", "medial")]
    extent = [max(v) - min(v) for v in zip(*((c.x_mm, c.y_mm, c.z_mm) for c in one), strict=True)]
    np.testing.assert_allclose(extent, [12, 9, 9], atol=1e-3)


def test_the_truth_lies_within_the_priors(tiny: KneeImages) -> None:
    bone, total = sum(c.n_bone for c in tiny.cells), sum(c.n_total for c in tiny.cells)
    assert 0.1 < bone / total < 0.45
    assert all(c.n_bone + c.n_marrow == c.n_total for c in tiny.cells)
    assert 0.4 < sum(c.sum_sp_mm for c in tiny.cells) / sum(c.n_marrow for c in tiny.cells) < 1.6


def test_the_femur_is_above_and_medial_is_on_the_right_side(tiny: KneeImages) -> None:
    def middle(bone: str, compartment: str) -> tuple[float, float]:
        cells = [c for c in tiny.cells if (c.bone, c.compartment) == (bone, compartment)]
        return float(np.mean([c.x_mm for c in cells])), float(np.mean([c.z_mm for c in cells]))

    assert middle("femur", "medial")[1] > middle("tibia", "medial")[1] + 10
    assert (
        middle("femur", "medial")[0] < middle("femur", "lateral")[0] - 20
    )  # a left knee: medial is towards -x


def test_landmarks_lie_in_both_images_and_on_the_bones_edge(tiny: KneeImages) -> None:
    for bone, points in tiny.landmarks_ct_lps.items():
        assert len(points) >= 12
        in_mr = tiny.mr.geometry.lps_to_index(transform_points(tiny.transforms[bone], points))
        assert (in_mr > 0).all()
        assert (in_mr < np.array(tiny.mr.geometry.shape)).all()
