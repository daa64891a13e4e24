"""Whether a probability means what it says: Brier score, expected calibration error, intercept and slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.estimate import paired
from srrd_ray.statistics.logistic import logistic
from srrd_ray.statistics.roc import require_both_classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Logistic recalibration of probabilities on the logit scale: 0 and 1 where they are right (Cox 1958)."""

    intercept: float
    slope: float


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean squared difference of probability and label.

    0 is best, 0.25 that of always saying one half.
    """
    truth, probability = _probabilities(labels, probabilities)
    return float(((probability - truth) ** 2).mean())


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error over `bins` bins of equal width (Naeini 2015)."""
    mean, observed, count = reliability(labels, probabilities, bins)
    return float((count * np.abs(mean - observed)).sum() / count.sum())


def reliability(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean probability, observed share and count of the bins that hold anything."""
    truth, probability = _probabilities(labels, probabilities)
    index = np.minimum((probability * bins).astype(np.intp), bins - 1)
    count = np.bincount(index, minlength=bins).astype(np.float64)
    held = count > 0
    mean = np.bincount(index, probability, minlength=bins)[held] / count[held]
    return mean, np.bincount(index, truth, minlength=bins)[held] / count[held], count[held]


def calibration(labels: ArrayLike, probabilities: ArrayLike) -> Calibration:
    """Return intercept and slope of the logistic regression of the labels on the logit of the probabilities.

    Raises
    ------
    NotEstimableError
        `one-class`; `no-variance` where all probabilities are the same; `separated` where they split the
        classes perfectly, so that the slope is infinite.
    """
    truth, probability = _probabilities(labels, probabilities)
    require_both_classes(truth)
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    if float(np.ptp(logit)) < 1e-9:
        raise NotEstimableError("no-variance", "all probabilities are the same", got=f"{truth.size} values")
    intercept, slope = logistic(logit[:, None], truth)
    return Calibration(intercept=intercept, slope=float(slope[0]))


def _probabilities(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, values = paired(labels, probabilities, 2)
    if values.min() < 0 or values.max() > 1 or not np.isin(truth, (0.0, 1.0)).all():
        raise NotEstimableError("labels-invalid", "labels are 0 or 1, probabilities between 0 and 1")
    return truth, values
