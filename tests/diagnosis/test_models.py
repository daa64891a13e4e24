from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from srrd_ray.core import serial
from srrd_ray.core.errors import InputError, NotEstimableError
from srrd_ray.diagnosis import ALL, DiagnosisConfig, LinearModel, Training, fit, out_of_fold, patient_folds
from srrd_ray.diagnosis.models import choose_penalty
from srrd_ray.statistics import auc

NAMES = ("a", "b", "c")


def knees(n: int, effect: float, seed: int = 0) -> Training:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    values = rng.normal(size=(n, 3)) * [1, 10, 0.1] + effect * labels[:, None] * [1, 0, 0]
    return Training(values=values, labels=labels, patients=tuple(f"p{i}" for i in range(n)))


def test_fit_is_ridge_logistic_regression_on_standardised_features() -> None:
    data = knees(60, 1.5)
    model = fit(data, NAMES, DiagnosisConfig(inverse_penalties=(0.1,)), seed=0)
    scaled = (data.values - data.values.mean(axis=0)) / data.values.std(axis=0)
    expected = LogisticRegression(C=0.1, tol=1e-8).fit(scaled, data.labels).predict_proba(scaled)[:, 1]
    assert model.fold == ALL
    assert model.probability(data.values) == pytest.approx(expected)


def test_units_of_the_features_do_not_matter() -> None:
    data = knees(40, 1.0)
    other = Training(values=data.values * [1000, 0.01, 1] + 5, labels=data.labels, patients=data.patients)
    config = DiagnosisConfig()
    first, second = fit(data, NAMES, config, seed=0), fit(other, NAMES, config, seed=0)
    assert first.probability(data.values) == pytest.approx(second.probability(other.values), abs=1e-6)


def test_noise_gets_a_stronger_penalty_than_a_clear_effect() -> None:
    config = DiagnosisConfig()
    noise = [choose_penalty(knees(40, 0.0, seed), config, seed=0) for seed in range(5)]
    assert np.median(noise) <= 0.03
    assert choose_penalty(knees(40, 4.0), config, seed=0) == max(config.inverse_penalties)


def out_of_fold_auc(data: Training) -> float:
    folds = patient_folds(data.patients, data.labels.tolist(), 4, seed=0)
    models = out_of_fold(data, NAMES, folds, DiagnosisConfig(inverse_penalties=(0.01, 0.1)), seed=0)
    fold = [folds[patient] for patient in data.patients]
    scores = [models[f].probability(row[None])[0] for f, row in zip(fold, data.values, strict=True)]
    return auc(data.labels, scores)


def test_out_of_fold_finds_an_effect_and_none_where_there_is_none() -> None:
    assert out_of_fold_auc(knees(200, 2.5)) > 0.85
    assert np.mean([out_of_fold_auc(knees(100, 0.0, seed)) for seed in range(6)]) == pytest.approx(
        0.5, abs=0.07
    )


def test_a_constant_feature_does_no_harm() -> None:
    data = knees(20, 1.0)
    data.values[:, 2] = 7.0
    assert np.isfinite(fit(data, NAMES, DiagnosisConfig(), seed=0).probability(data.values)).all()


def test_one_class_in_training_is_not_estimable() -> None:
    data = knees(10, 1.0)
    one = Training(values=data.values, labels=np.ones(10, dtype=np.intp), patients=data.patients)
    with pytest.raises(NotEstimableError, match="only one class"):
        fit(one, NAMES, DiagnosisConfig(), seed=0)


def test_a_single_positive_is_enough_for_a_model() -> None:
    data = knees(10, 1.0)
    labels = np.zeros(10, dtype=np.intp)
    labels[3] = 1
    model = fit(
        Training(values=data.values, labels=labels, patients=data.patients), NAMES, DiagnosisConfig(), seed=0
    )
    assert np.isfinite(model.probability(data.values)).all()


def test_a_model_survives_its_json_and_a_torn_one_is_refused() -> None:
    model = fit(knees(20, 1.0), NAMES, DiagnosisConfig(), seed=0)
    assert serial.from_json(LinearModel, serial.to_json(model)) == model
    with pytest.raises(InputError, match="a feature"):
        LinearModel(
            fold=0,
            names=("a", "b"),
            mean=(0,),
            scale=(1, 1),
            coefficients=(1, 1),
            intercept=0,
            inverse_penalty=1,
        )
