from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import icc
from srrd_ray.statistics.regression import Pairs, gain, mean_icc, pooled_icc


def pairs(noise: float, seed: int = 0, patients: int = 20, repeats: int = 1) -> Pairs:
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.normal(size=patients), repeats)
    names = np.repeat([f"p{n:02d}" for n in range(patients)], repeats)
    return Pairs(method=truth + noise * rng.normal(size=truth.size), reference=truth, patients=names)


def test_mean_over_parameters_is_the_mean_of_their_iccs() -> None:
    one, other = pairs(0.3), pairs(1.0, seed=1)
    expected = np.mean([icc(p.method, p.reference).value for p in (one, other)])
    assert mean_icc([one, other], seed=0, resamples=50).value == pytest.approx(expected)


def test_many_regions_of_few_patients_have_the_interval_of_few_patients() -> None:
    few, many = pairs(0.8, patients=10, repeats=8), pairs(0.8, patients=80)
    a, b = (pooled_icc(p, seed=0, resamples=400) for p in (few, many))
    assert a.high - a.low > 1.3 * (b.high - b.low)


def test_the_gain_of_the_better_model_is_the_difference_of_the_means() -> None:
    good, bad = pairs(0.2), pairs(1.5)
    found = gain([good], [bad], seed=0, resamples=200)
    assert found.value == pytest.approx(
        icc(good.method, good.reference).value - icc(bad.method, bad.reference).value
    )
    assert found.low > 0


def test_two_patients_are_too_few() -> None:
    with pytest.raises(NotEstimableError, match="too few"):
        mean_icc([pairs(0.1, patients=2)], seed=0, resamples=10)
