"""Regularised logistic regression on a few features, its penalty chosen inside the training patients,
kept as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.settings import Folds, NotEmpty, Positive, validate_fields
from srrd_ray.diagnosis.selection import Fit, Probability, Training, choose
from srrd_ray.diagnosis.splits import rows_of_fold
from srrd_ray.statistics import logistic, require_both_classes

ALL = -1
"""The `fold` of a model that was fitted on every labelled knee."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisConfig:
    """How osteoarthritis is classified.

    Parameters
    ----------
    inverse_penalties
        Candidates for C of the ridge penalty, on standardised features; ties go to the smaller one.
    inner_folds
        Patient-grouped folds within the training patients that choose among them.
    """

    inverse_penalties: Annotated[tuple[Positive, ...], NotEmpty()] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    inner_folds: Folds = 4

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel:
    """Logistic regression: probability = expit(intercept + sum(coefficient * (feature - mean) / scale)).

    `mean` and `scale` are those of the training knees. `fold` is the fold that it never saw (`ALL`: none).
    """

    fold: int
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    inverse_penalty: float

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.mean), len(self.scale), len(self.coefficients)}
        if len(sizes) != 1:
            raise InputError("model-invalid", "a linear model has one mean, scale and coefficient a feature")

    def probability(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of osteoarthritis of each row of `values` (knees, features)."""
        scaled = (np.asarray(values, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(1 / (1 + np.exp(-(scaled @ np.array(self.coefficients) + self.intercept))))


def fit(
    data: Training, names: tuple[str, ...], config: DiagnosisConfig, *, seed: int, fold: int = ALL
) -> LinearModel:
    """Return the model of `data`, with the penalty of least log loss over inner folds of patients.

    Raises
    ------
    NotEstimableError
        `one-class` where the training knees are all of one class.
    """
    require_both_classes(data.labels)
    return _fit(data, names, choose_penalty(data, config, seed), fold)


def choose_penalty(data: Training, config: DiagnosisConfig, seed: int) -> float:
    """Return the candidate C of least log loss over inner folds;
    the smallest one where no inner fold can be trained.
    """
    return sorted(config.inverse_penalties)[choose(ridge(config), data, config.inner_folds, seed)]


def ridge(config: DiagnosisConfig) -> Fit:
    """Return logistic regression as a classifier among others: one model a penalty, the strongest first."""

    def fitted(data: Training, _: int) -> Sequence[Probability]:
        names = tuple(str(n) for n in range(data.values.shape[1]))
        models = [_fit(data, names, c, ALL) for c in sorted(config.inverse_penalties)]
        return [partial(_probability, model) for model in models]

    return fitted


def _probability(model: LinearModel, knees: Training) -> NDArray[np.float64]:
    return model.probability(knees.values)


def out_of_fold(
    data: Training, names: tuple[str, ...], folds: Mapping[str, int], config: DiagnosisConfig, *, seed: int
) -> tuple[LinearModel, ...]:
    """Return one model a fold that occurs in `folds`, fitted on the labelled knees of all other folds.

    Raises
    ------
    NotEstimableError
        `one-class` where the training knees of a fold are all of one class.
    """
    models = []
    for fold in sorted(set(folds.values())):
        train, _ = rows_of_fold(data.patients, folds, fold)
        models.append(fit(data.take(train), names, config, seed=seed, fold=fold))
    return tuple(models)


def _fit(data: Training, names: tuple[str, ...], inverse_penalty: float, fold: int) -> LinearModel:
    mean, scale = data.values.mean(axis=0), data.values.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    intercept, coefficients = logistic(
        (data.values - mean) / scale, data.labels.astype(np.float64), 1 / inverse_penalty
    )
    return LinearModel(
        fold=fold,
        names=names,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficients=tuple(coefficients.tolist()),
        intercept=intercept,
        inverse_penalty=inverse_penalty,
    )
