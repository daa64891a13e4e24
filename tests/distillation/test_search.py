from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.errors import TrainingError
from srrd_ray.distillation.search import agreement, region_means
from tests.distillation.toys import toy

DATA = toy(32)


def test_a_student_that_is_right_scores_one_and_one_that_says_the_mean_scores_nothing() -> None:
    assert agreement(DATA.targets, DATA) == pytest.approx(1)
    middle = region_means(DATA.targets, DATA).mean(axis=0).astype(np.float32)
    assert agreement(np.tile(middle, (32, 1)), DATA) == pytest.approx(0, abs=1e-3)


def test_a_score_of_few_regions_may_lie_below_minus_one() -> None:
    four = DATA.rows(np.arange(32) < 16)
    middle = region_means(four.targets, four).mean(axis=0).astype(np.float32)
    assert agreement(2 * middle - four.targets, four) == pytest.approx(-4 / 2, abs=1e-3)


def test_too_few_regions_and_regions_that_nobody_tells_apart_score_nothing() -> None:
    two = DATA.rows(np.arange(32) < 8)
    assert agreement(two.targets, two) == 0
    same = DATA.rows(np.repeat(True, 32))
    same.targets[:] = 1.0
    assert agreement(np.full((32, 4), 2.0, dtype=np.float32), same) == 0


def test_predictions_that_are_no_numbers_fail_the_trial_instead_of_beating_bad_ones() -> None:
    predicted = DATA.targets.copy()
    predicted[3, 1] = np.nan
    with pytest.raises(TrainingError) as caught:
        agreement(predicted, DATA)
    assert caught.value.code == "prediction-not-finite"
