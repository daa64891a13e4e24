from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import logistic


@pytest.mark.parametrize("penalty", [0.1, 1.0, 300.0])
@pytest.mark.parametrize("knees", [12, 80])
def test_penalised_fit_is_that_of_scikit_learn(penalty: float, knees: int) -> None:
    rng = np.random.default_rng(knees)
    design = rng.normal(size=(knees, 8))
    truth = (rng.normal(size=knees) + design[:, 0] > 0).astype(float)
    oracle = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10000).fit(design, truth)
    intercept, coefficients = logistic(design, truth, penalty)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=1e-5)
    assert coefficients == pytest.approx(oracle.coef_[0], abs=1e-5)


def test_a_split_without_a_penalty_is_not_estimable_but_with_one_it_is() -> None:
    design, truth = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0.0, 0.0, 1.0, 1.0])
    with pytest.raises(NotEstimableError) as caught:
        logistic(design, truth)
    assert caught.value.code == "separated"
    assert 0 < logistic(design, truth, 1.0)[1][0] < 5


def test_no_effect_leaves_the_log_odds_of_the_share() -> None:
    intercept, coefficients = logistic(np.zeros((10, 1)), np.array([1.0] * 8 + [0.0] * 2), 1.0)
    assert intercept == pytest.approx(np.log(4))
    assert coefficients == pytest.approx([0.0])
