from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import bca, delta_icc, icc, patient_resamples


def test_resamples_take_patients_whole() -> None:
    patients = np.array(["a", "b", "a", "c", "b", "a"])
    for rows in patient_resamples(patients, 20, seed=0):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]


def test_bca_is_that_of_scipy_for_independent_rows() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    ours = bca(lambda rows: float(values[rows].mean()), np.arange(60), seed=1, resamples=4000)
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=2).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(3).normal(size=20)

    def mean(rows: NDArray[np.intp]) -> float:
        return float(values[rows].mean())

    first, again, other = (bca(mean, np.arange(20), seed=seed, resamples=200) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_repeated_rows_of_a_patient_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(4).normal(size=30)
    many, patients = np.repeat(values, 5), np.repeat(np.arange(30), 5)
    once = bca(lambda rows: float(values[rows].mean()), np.arange(30), seed=1)
    repeated = bca(lambda rows: float(many[rows].mean()), patients, seed=1)
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))


def test_a_better_model_has_a_difference_above_zero() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(4, 40))
    good, bad = (
        truth + rng.normal(scale=0.3, size=truth.shape),
        truth + rng.normal(scale=1.5, size=truth.shape),
    )
    found = delta_icc(list(good), list(bad), list(truth), np.arange(40), seed=0, resamples=300)
    expected = np.mean([icc(g, t).value - icc(b, t).value for g, b, t in zip(good, bad, truth, strict=True)])
    assert found.value == pytest.approx(expected)
    assert 0 < found.low < found.value < found.high


def test_a_model_against_itself_differs_by_nothing() -> None:
    truth = np.random.default_rng(6).normal(size=20)
    assert tuple(delta_icc([truth + 1], [truth + 1], [truth], np.arange(20), seed=0, resamples=50)) == (
        0,
        0,
        0,
    )


def test_few_patients_are_refused_however_many_rows() -> None:
    with pytest.raises(NotEstimableError, match="patients"):
        bca(lambda rows: float(rows.mean()), np.repeat(["a", "b", "c", "d"], 50), seed=0)


def test_a_statistic_that_rarely_has_a_value_is_not_estimated() -> None:
    def fragile(rows: NDArray[np.intp]) -> float:
        if np.unique(rows).size < 10:
            raise NotEstimableError("too-few", "distinct rows")
        return 1.0

    with pytest.raises(NotEstimableError) as caught:
        bca(fragile, np.arange(10), seed=0, resamples=100)
    assert caught.value.code == "resamples-lost"


def test_the_work_does_not_grow_with_the_square_of_the_patients() -> None:
    calls: list[int] = []

    def mean(rows: NDArray[np.intp]) -> float:
        calls.append(rows.size)
        return float(values[rows].mean())

    values = np.random.default_rng(0).exponential(size=2000)
    found = bca(mean, np.arange(2000), seed=1, resamples=200)
    assert found.low < found.value < found.high
    assert len(calls) == 1 + 200 + 500
    assert set(calls[-500:]) == {1996}, "groups of four patients are left out"
