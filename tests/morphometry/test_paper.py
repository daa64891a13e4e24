from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.morphometry.paper import paper_measures

SPACING = (0.7, 0.1, 0.1)


def stripes(width: int, period: int) -> NDArray[np.float32]:
    image = np.zeros((4, 60, 60), np.float32)
    image[:, np.arange(60) % period < width] = 100.0
    return image


def test_stripes_have_their_half_width_as_thickness_and_three_half_gaps_as_spacing() -> None:
    image = stripes(4, 10)
    found = paper_measures(image, np.ones(image.shape, bool), SPACING)
    assert found.tb_th_mm == pytest.approx(0.2, abs=0.06)
    assert found.tb_sp_mm == pytest.approx(3 * 0.3, abs=0.2)


def test_its_four_numbers_are_functions_of_two() -> None:
    image = stripes(3, 9)
    found = paper_measures(image, np.ones(image.shape, bool), SPACING)
    assert found.bvtv == pytest.approx(found.tb_th_mm / (found.tb_th_mm + found.tb_sp_mm))
    assert found.tb_n_per_mm == pytest.approx(1 / (found.tb_th_mm + found.tb_sp_mm))


def test_it_works_across_the_coarsest_axis_whichever_it_is() -> None:
    image = stripes(4, 10)
    turned = np.moveaxis(image, 0, 2)
    one = paper_measures(image, np.ones(image.shape, bool), SPACING)
    other = paper_measures(np.ascontiguousarray(turned), np.ones(turned.shape, bool), (0.1, 0.1, 0.7))
    assert other == one


def test_a_region_without_bone_says_so() -> None:
    flat = np.zeros((3, 40, 40), np.float32)
    with pytest.raises(NotEstimableError, match="paper-empty"):
        paper_measures(flat, np.zeros(flat.shape, bool), SPACING)
