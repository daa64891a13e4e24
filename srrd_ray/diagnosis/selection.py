"""A classifier's setting, chosen inside the training patients, and what the chosen model says of the others.

Every classifier is a `Fit`: all candidate settings on the same knees. Which is used is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.diagnosis.splits import patient_folds, rows_of_fold
from srrd_ray.statistics import require_both_classes

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """Labelled knees: features (n, f), labels (0 or 1), the patient of each; `cubes` (m, c) of each knee
    where the classifier reads them.
    """

    values: Values
    labels: NDArray[np.intp]
    patients: tuple[str, ...]
    cubes: tuple[Values, ...] = ()

    def take(self, rows: Sequence[int]) -> Training:
        """Return only `rows`."""
        return Training(
            values=self.values[rows],
            labels=self.labels[rows],
            patients=tuple(self.patients[r] for r in rows),
            cubes=tuple(self.cubes[r] for r in rows) if self.cubes else (),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledKnees:
    """What is known of labelled knees: features of the readings (n, f), the readings of the cubes of each
    (m, c), its shape (n, s; NaN where unknown), its label and its patient.
    """

    readings: Values
    cubes: tuple[Values, ...]
    shape: Values
    labels: NDArray[np.intp]
    patients: tuple[str, ...]


Probability: TypeAlias = Callable[[Training], Values]
"""A fitted model: the probability of osteoarthritis of each knee; labels are not looked at."""
Fit: TypeAlias = Callable[[Training, int], Sequence[Probability]]
"""From knees and a seed to one model a candidate setting, the simplest first."""


def choose(fit: Fit, data: Training, inner_folds: int, seed: int) -> int:
    """Return which candidate has the least log loss over inner folds of patients, the first of equals;
    0 where no inner fold can be trained.
    """
    count = min(inner_folds, len(set(data.patients)))
    if count < 2:
        return 0
    losses: list[list[float]] = []
    folds = patient_folds(data.patients, data.labels.tolist(), count, seed)
    for fold in range(count):
        train, test = rows_of_fold(data.patients, folds, fold)
        if np.unique(data.labels[train]).size == 2:
            held = data.take(test)
            losses.append([_loss(held.labels, model(held)) for model in fit(data.take(train), seed)])
    return int(np.argmin(np.sum(losses, axis=0).round(9))) if losses else 0


def held_out(fit: Fit, data: Training, folds: Mapping[str, int], inner_folds: int, seed: int) -> Values:
    """Return the probability of each knee, by a model of the patients of all other `folds`.

    Raises
    ------
    NotEstimableError
        `one-class` where the training knees of a fold are all of one class.
    """
    found = np.empty(len(data.labels))
    for fold in sorted({folds[patient] for patient in data.patients}):
        train, test = rows_of_fold(data.patients, folds, fold)
        known = data.take(train)
        require_both_classes(known.labels)
        found[test] = fit(known, seed)[choose(fit, known, inner_folds, seed)](data.take(test))
    return found


def filling(fit: Fit) -> Fit:
    """Return `fit` for features of which some are NaN: each is taken for the mean of the training knees."""

    def filled(data: Training, seed: int) -> Sequence[Probability]:
        known = np.isfinite(data.values)
        means = np.where(known, data.values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        models = fit(_fill(data, means), seed)
        return [partial(_filled, model, means) for model in models]

    return filled


def _filled(model: Probability, means: Values, knees: Training) -> Values:
    return model(_fill(knees, means))


def _fill(data: Training, means: Values) -> Training:
    return replace(data, values=np.where(np.isfinite(data.values), data.values, means))


def _loss(labels: NDArray[np.intp], probability: Values) -> float:
    likelihood = np.clip(np.where(labels == 1, probability, 1 - probability), 1e-9, 1)
    return float(-np.log(likelihood).sum())
