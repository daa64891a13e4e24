from __future__ import annotations

import numpy as np

from srrd_ray.diagnosis.boosting import DEPTHS, TREES, boosting
from srrd_ray.statistics import auc
from tests.diagnosis.toys import knees


def test_it_finds_a_step_that_no_line_finds() -> None:
    train, test = knees(120, 0.0, 0), knees(120, 0.0, 1)
    for data in (train, test):
        data.labels[:] = np.abs(data.values[:, 0]) > 0.7
    assert auc(test.labels, boosting(train, 0)[-1](test)) > 0.9


def test_candidates_go_from_few_shallow_trees_to_many() -> None:
    train = knees(60, 1.0)
    models = boosting(train, 0)
    assert len(models) == len(TREES) * len(DEPTHS)
    spread = [float(np.std(model(train))) for model in models]
    assert spread[0] < spread[len(DEPTHS)] < spread[-1]


def test_the_same_knees_and_seed_give_the_same_probabilities() -> None:
    train, test = knees(40, 1.0), knees(20, 1.0, 1)
    first, second = (boosting(train, 7)[-1](test) for _ in range(2))
    np.testing.assert_array_equal(first, second)
