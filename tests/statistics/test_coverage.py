from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.coverage import coverage, left_out

RNG = np.random.default_rng(4)


@pytest.mark.parametrize(("hits", "of"), [(27, 30), (30, 30), (0, 12), (1, 9)])
def test_with_one_value_a_patient_it_is_the_exact_binomial_interval(hits: int, of: int) -> None:
    found = coverage(np.arange(of) < hits, np.arange(of))
    exact = stats.binomtest(hits, of).proportion_ci(method="exact")
    assert tuple(found) == pytest.approx((hits / of, exact.low, exact.high))


def test_values_that_go_together_tell_no_more_than_their_patients() -> None:
    inside = np.arange(20) < 17
    alone = coverage(inside, np.arange(20))
    assert coverage(np.repeat(inside, 4), np.repeat(np.arange(20), 4)) == pytest.approx(alone, abs=0.02)
    apart = coverage(np.tile(inside, 4), np.arange(80))
    assert apart.high - apart.low < 0.6 * (alone.high - alone.low)


def test_the_interval_holds_the_share_of_values_that_go_together() -> None:
    held = []
    for _ in range(400):
        errors = np.abs(RNG.normal(size=(30, 1)) + 0.5 * RNG.normal(size=(30, 4)))
        bound = 1.6448536269514722 * np.sqrt(1.25)
        found = coverage(errors.ravel() <= bound, np.repeat(np.arange(30), 4))
        held.append(found.low <= 0.9 <= found.high)
    assert np.mean(held) > 0.93


def test_each_patient_is_judged_by_the_others() -> None:
    errors = np.r_[np.ones(39), 100.0]
    inside = left_out(errors, np.arange(40).astype(str))
    assert inside.tolist() == [True] * 39 + [False]


def test_nine_of_ten_are_inside_the_bound_of_the_others() -> None:
    shares = [left_out(np.abs(RNG.normal(size=50)), np.arange(50).astype(str)).mean() for _ in range(30)]
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)


def test_too_few_patients_are_said_so() -> None:
    with pytest.raises(NotEstimableError, match="too-few"):
        coverage([True, True], ["a", "a"])
    with pytest.raises(NotEstimableError, match="too-few"):
        left_out(np.ones(8), np.arange(8).astype(str))
