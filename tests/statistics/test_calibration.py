from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import brier, calibration, ece, reliability


def test_brier_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 50), rng.uniform(size=50)
    assert brier(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))


def test_ece_of_certain_and_right_is_zero_and_of_certain_and_wrong_is_one() -> None:
    labels = np.array([0, 1, 1, 0])
    assert ece(labels, labels) == 0
    assert ece(labels, 1 - labels) == 1


def test_ece_by_hand_over_two_bins() -> None:
    labels, probabilities = [1, 0, 1, 1], [0.2, 0.4, 0.9, 0.7]
    assert ece(labels, probabilities, bins=2) == pytest.approx(0.5 * abs(0.3 - 0.5) + 0.5 * abs(0.8 - 1.0))


def test_reliability_leaves_empty_bins_out() -> None:
    mean, observed, count = reliability([0, 1], [0.05, 1.0])
    assert mean == pytest.approx([0.05, 1.0])
    assert observed == pytest.approx([0, 1])
    assert count.tolist() == [1, 1]


def test_calibration_is_the_unpenalised_logistic_regression_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.uniform(0.05, 0.95, 200)
    labels = rng.uniform(size=200) < probabilities
    logit = np.log(probabilities / (1 - probabilities))
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], labels)
    found = calibration(labels, probabilities)
    assert (found.intercept, found.slope) == pytest.approx(
        (expected.intercept_[0], expected.coef_[0, 0]), abs=1e-5
    )


def test_probabilities_that_are_too_extreme_have_a_slope_below_one() -> None:
    rng = np.random.default_rng(2)
    logit = rng.normal(size=5000)
    labels = rng.uniform(size=5000) < 1 / (1 + np.exp(-logit))
    assert calibration(labels, 1 / (1 + np.exp(-2 * logit))).slope == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("labels", "probabilities", "code"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separated"),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], "no-variance"),
        ([1, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], "one-class"),
        ([0, 1, 0, 1], [0.1, 0.2, 1.8, 0.9], "labels-invalid"),
    ],
)
def test_calibration_without_a_value_says_why(
    labels: list[int], probabilities: list[float], code: str
) -> None:
    with pytest.raises(NotEstimableError) as caught:
        calibration(labels, probabilities)
    assert caught.value.code == code
