from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import cv_percent
from srrd_ray.statistics.precision import LSC_FACTOR, precision

RNG = np.random.default_rng(12)
PAIRS = RNG.normal(1.0, 0.2, (12, 1)) + RNG.normal(0, 0.03, (12, 2))


def test_of_pairs_it_is_dahlbergs_error_and_the_cv_of_pairs() -> None:
    found = precision(PAIRS)
    first, second = PAIRS.T
    assert found.rms_sd == pytest.approx(np.sqrt(((first - second) ** 2).sum() / (2 * 12)))
    assert found.rms_cv_percent == pytest.approx(cv_percent(first, second))
    assert (found.subjects, found.degrees_of_freedom) == (12, 12)


def test_it_is_the_error_within_subjects_of_an_analysis_of_variance() -> None:
    table = RNG.normal(0, 1, (8, 1)) + RNG.normal(5, 0.1, (8, 4))
    within = ((table - table.mean(axis=1, keepdims=True)) ** 2).sum() / (8 * 3)
    f, _ = stats.f_oneway(*table)
    between = 4 * table.mean(axis=1).var(ddof=1)
    assert precision(table).rms_sd ** 2 == pytest.approx(within)
    assert precision(table).rms_sd ** 2 == pytest.approx(between / f)


def test_a_known_precision_is_found_and_covered_by_nineteen_intervals_of_twenty() -> None:
    found = [precision(RNG.normal(1, 0.2, (15, 1)) + RNG.normal(0, 0.02, (15, 2))) for _ in range(1000)]
    assert np.sqrt(np.mean([one.rms_sd**2 for one in found])) == pytest.approx(0.02, rel=0.03)
    covered = np.mean([one.rms_sd_ci[0] <= 0.02 <= one.rms_sd_ci[1] for one in found])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_one_of_twenty_differences_of_noise_exceeds_the_least_significant_change() -> None:
    noise = RNG.normal(10, 0.5, (100_000, 2))
    change = precision(noise).least_significant_change
    assert (np.abs(noise[:, 0] - noise[:, 1]) > change).mean() == pytest.approx(0.05, abs=0.003)
    assert pytest.approx(1.96 * np.sqrt(2), abs=0.003) == LSC_FACTOR


def test_a_missing_repeat_is_left_out_and_not_taken_for_a_value() -> None:
    table = np.c_[PAIRS, np.full(12, np.nan)]
    table[0, 2] = PAIRS[0].mean()
    found = precision(np.r_[table, [[3.0, np.nan, np.nan]]])
    assert (found.subjects, found.degrees_of_freedom) == (12, 13)
    assert found.rms_sd == pytest.approx(precision(PAIRS).rms_sd * np.sqrt(12 / 13))


def test_the_order_of_the_repeats_says_nothing() -> None:
    assert precision(PAIRS[:, ::-1]).rms_sd == pytest.approx(precision(PAIRS).rms_sd)


def test_two_subjects_and_a_mean_of_zero_have_no_precision() -> None:
    with pytest.raises(NotEstimableError, match="too-few"):
        precision([[1.0, 2.0], [1.0, 2.0], [1.0, np.nan]])
    with pytest.raises(NotEstimableError, match="mean-zero"):
        precision([[1.0, 2.0], [1.0, 2.0], [1.0, -1.0]])
