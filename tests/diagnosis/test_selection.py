from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.diagnosis import DiagnosisConfig, Training, out_of_fold, patient_folds
from srrd_ray.diagnosis.models import ridge
from srrd_ray.diagnosis.selection import Probability, choose, filling, held_out
from tests.diagnosis.toys import knees

CONFIG = DiagnosisConfig(inverse_penalties=(0.01, 0.1))


def always(probability: float, data: Training) -> np.ndarray:
    return np.full(len(data.labels), probability)


def constants(data: Training, seed: int) -> Sequence[Probability]:
    """Candidates that always say the same: 0.1, 0.5 and 0.9."""
    return [partial(always, probability) for probability in (0.1, 0.5, 0.9)]


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0), (0.5, 1), (0.9, 2)])
def test_the_candidate_that_fits_the_inner_folds_is_chosen(share: float, expected: int) -> None:
    data = replace(knees(40, 0.0), labels=(np.arange(40) < 40 * share).astype(np.intp))
    assert choose(constants, data, 4, seed=0) == expected


def test_of_equals_the_simplest_is_chosen_and_also_where_nothing_can_be_tried() -> None:
    def same(data: Training, seed: int) -> Sequence[Probability]:
        return [partial(always, 0.5)] * 3

    assert choose(same, knees(20, 0.0), 4, seed=0) == 0
    assert choose(constants, replace(knees(20, 0.0), patients=("p",) * 20), 4, seed=0) == 0


def test_each_knee_is_told_by_a_model_of_other_patients_alone() -> None:
    data = replace(knees(24, 1.0), patients=tuple(f"p{n // 2}" for n in range(24)))
    folds = {f"p{n}": n % 3 for n in range(12)}
    seen: list[tuple[set[str], set[str]]] = []

    def spy(train: Training, seed: int) -> Sequence[Probability]:
        def told(test: Training) -> np.ndarray:
            seen.append((set(train.patients), set(test.patients)))
            return np.full(len(test.labels), 0.5)

        return [told]

    held_out(spy, data, folds, 4, seed=0)
    assert len(seen) == 3 * (4 + 1)
    assert all(not trained & told for trained, told in seen)


def test_logistic_regression_is_here_what_it_is_as_the_diagnosis() -> None:
    data = knees(40, 1.0)
    folds = patient_folds(data.patients, data.labels.tolist(), 4, seed=1)
    models = out_of_fold(data, ("a", "b", "c"), folds, CONFIG, seed=5)
    expected = [
        models[folds[p]].probability(row[None])[0] for p, row in zip(data.patients, data.values, strict=True)
    ]
    found = held_out(ridge(CONFIG), data, folds, CONFIG.inner_folds, seed=5)
    np.testing.assert_allclose(found, expected)


def test_labels_of_the_tested_fold_reach_none_of_its_probabilities() -> None:
    data = knees(40, 1.0)
    folds = patient_folds(data.patients, data.labels.tolist(), 4, seed=1)
    tested = np.array([folds[p] == 0 for p in data.patients])
    other = replace(data, labels=np.where(tested, 1 - data.labels, data.labels))
    run = partial(held_out, ridge(CONFIG), folds=folds, inner_folds=3, seed=5)
    np.testing.assert_array_equal(run(data)[tested], run(other)[tested])


def test_one_class_in_training_is_not_estimable() -> None:
    data = replace(knees(10, 0.0), labels=np.ones(10, dtype=np.intp))
    with pytest.raises(NotEstimableError, match="only one class"):
        held_out(ridge(CONFIG), data, {p: n % 2 for n, p in enumerate(data.patients)}, 2, seed=0)


def test_an_unknown_feature_is_taken_for_the_mean_of_the_training_knees() -> None:
    data = knees(30, 1.0)
    gap = replace(data, values=data.values.copy())
    gap.values[3, 0] = np.nan
    mean = replace(data, values=data.values.copy())
    mean.values[3, 0] = np.delete(data.values[:, 0], 3).mean()
    filled, plain = filling(ridge(CONFIG))(gap, 0), ridge(CONFIG)(mean, 0)
    np.testing.assert_allclose(filled[1](gap), plain[1](mean))


def test_a_feature_that_nobody_has_does_no_harm() -> None:
    data = knees(30, 1.0)
    data.values[:, 1] = np.nan
    assert np.isfinite(filling(ridge(CONFIG))(data, 0)[0](data)).all()
