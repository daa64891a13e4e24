"""How well scores separate two classes.

AUC, DeLong's test and interval, also where a patient brings both knees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.bootstrap import patient_resamples
from srrd_ray.statistics.estimate import Estimate, finite, paired

MIN_POSITIVES = 10
NO_VARIANCE = 1e-15
"""Variance of an AUC that is rounding."""
Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]


class DeLong(NamedTuple):
    """Two correlated AUCs, z of their difference (positive where A is the better one) and its two-sided p."""

    auc_a: float
    auc_b: float
    z: float
    p: float


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve (Mann-Whitney; ties count one half).

    Raises
    ------
    NotEstimableError
        `one-class`, `labels-invalid`, `values-not-finite`, `pairs-differ`, `too-few`.
    """
    positive, values = _classes(labels, scores)
    require_both_classes(positive)
    ranks = mid_ranks(values)
    ones = int(positive.sum())
    zeros = positive.size - ones
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1 on; equal values share their mean rank.

    `scipy.stats` would take a second to load.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def require_both_classes(labels: ArrayLike, positives: int = 1, negatives: int = 1) -> None:
    """Raise where `labels` hold too few of a class.

    Raises
    ------
    NotEstimableError
        `one-class` where a class is absent, `too-few-positives` or `too-few-negatives` where it is too small.
    """
    ones = int(np.count_nonzero(np.asarray(labels)))
    counts = f"{ones} positive, {np.asarray(labels).size - ones} negative"
    if ones == 0 or ones == np.asarray(labels).size:
        what = "only one class is present" if np.asarray(labels).size else "no label is known"
        raise NotEstimableError("one-class", what, got=counts)
    if ones < positives:
        raise NotEstimableError(
            "too-few-positives", "too few positives", got=counts, expected=f"at least {positives}"
        )
    if np.asarray(labels).size - ones < negatives:
        raise NotEstimableError(
            "too-few-negatives", "too few negatives", got=counts, expected=f"at least {negatives}"
        )


def delong_test(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, patients: ArrayLike | None = None
) -> DeLong:
    """Return the AUCs of two scores on the same knees, z and p of their difference.

    Placements by mid-ranks (Sun and Xu 2014) of DeLong's test (1988); with `patients` (one name a knee) the
    variance is that of clustered data (Obuchowski, Biometrics 1997;53:567), which is DeLong's where everybody
    brings one knee.

    Raises
    ------
    NotEstimableError
        As `auc`; `too-few-positives` or `too-few-negatives` with a single one; `too-few` where a class comes
        from one patient; `no-variance` where the AUCs differ and their variance is zero.

    Examples
    --------
    >>> labels = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> auc_a, auc_b, z, p = delong_test(labels, [1, 2, 3, 5, 4, 6, 7, 8], [1, 5, 3, 7, 4, 2, 6, 8])
    >>> print(auc_a, auc_b, round(z, 3), round(p, 3))
    0.9375 0.625 1.581 0.114
    """
    positive, a = _classes(labels, scores_a)
    b = _classes(labels, scores_b)[1]
    require_both_classes(positive, 2, 2)
    areas, covariance = _clustered(positive, np.stack([a, b]), patients)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= NO_VARIANCE:
        if abs(difference) > 1e-12:
            raise NotEstimableError(
                "no-variance", "the variance of the difference is zero", got=f"{difference:+.3f}"
            )
        return DeLong(float(areas[0]), float(areas[1]), 0.0, 1.0)
    z = difference / float(np.sqrt(variance))
    return DeLong(float(areas[0]), float(areas[1]), z, 2 * float(special.ndtr(-abs(z))))


def auc_ci(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Return the AUC with DeLong's interval on the logit scale, clustered by `patients` where given.

    Where DeLong's variance is zero (an AUC of 0 or 1, scores that are all the same) the interval is the
    score-like one of Newcombe (Stat Med 2006;25:559, method 5), with patients as the sample size where given.

    Raises
    ------
    NotEstimableError
        As `delong_test`.
    """
    positive, values = _classes(labels, scores)
    require_both_classes(positive, 2, 2)
    areas, covariance = _clustered(positive, values[None], patients)
    area, variance = float(areas[0]), float(covariance[0, 0])
    quantile = float(special.ndtri(1 - (1 - level) / 2))
    if not (0 < area < 1 and variance > NO_VARIANCE):
        return _newcombe(area, *_class_sizes(positive, patients), quantile)
    centre, half = special.logit(area), quantile * np.sqrt(variance) / (area * (1 - area))
    return Estimate(area, float(special.expit(centre - half)), float(special.expit(centre + half)))


def roc_points(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true positive rates from (0, 0) to (1, 1), one point a distinct score."""
    positive, values = _classes(labels, scores)
    require_both_classes(positive)
    order = np.argsort(-values, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(values[order])), values.size - 1]
    hits = np.cumsum(positive[order])[last]
    misses = last + 1 - hits
    return np.r_[0.0, misses / misses[-1]], np.r_[0.0, hits / hits[-1]]


def roc_band(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    *,
    grid: ArrayLike,
    seed: int,
    resamples: int = 500,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pointwise 95 % band of the true positive rate at the false positive rates `grid`.

    It is made by patient bootstrap.

    Raises
    ------
    NotEstimableError
        As `auc`; `resamples-lost` where no resample has both classes.
    """
    positive, values = _classes(labels, scores)
    require_both_classes(positive)
    curves = []
    for rows in patient_resamples(patients, resamples, seed):
        if 0 < positive[rows].sum() < rows.size:
            fpr, tpr = roc_points(positive[rows], values[rows])
            curves.append(np.interp(np.asarray(grid, dtype=np.float64), fpr, tpr))
    if not curves:
        raise NotEstimableError(
            "resamples-lost", "no resample has both classes", got=f"{resamples} resamples"
        )
    low, high = np.percentile(np.stack(curves), [2.5, 97.5], axis=0)
    return low, high


def _classes(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Scores]:
    truth, values = paired(labels, scores, 2)
    if not np.isin(truth, (0.0, 1.0)).all():
        raise NotEstimableError("labels-invalid", "labels are 0 or 1", got=str(np.unique(truth)[:5].tolist()))
    return truth == 1, finite(values)


def _placements(positive: Labels, values: Scores) -> tuple[float, NDArray[np.float64]]:
    """Return the AUC and the placement value of each knee among those of the other class."""
    ones, zeros = int(positive.sum()), int((~positive).sum())
    overall = mid_ranks(values)
    placed = np.empty(values.size)
    placed[positive] = (overall[positive] - mid_ranks(values[positive])) / zeros
    placed[~positive] = 1 - (overall[~positive] - mid_ranks(values[~positive])) / ones
    return float(placed[positive].mean()), placed


def _clustered(
    positive: Labels, scores: NDArray[np.float64], patients: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUCs of the rows of `scores` and their covariance (Obuchowski 1997, equations 4-6)."""
    group = _groups(positive.size, patients)
    count = int(group.max()) + 1
    placed = [_placements(positive, row) for row in scores]
    areas = np.array([area for area, _ in placed])
    parts = []
    for chosen in (positive, ~positive):
        sums = [np.bincount(group[chosen], (p - area)[chosen], minlength=count) for area, p in placed]
        parts.append((np.stack(sums), int(chosen.sum()), np.unique(group[chosen]).size))
    (x, ones, x_groups), (y, zeros, y_groups) = parts
    if min(x_groups, y_groups) < 2:
        raise NotEstimableError(
            "too-few", "a class comes from one patient", got=f"{x_groups} and {y_groups} patients"
        )
    own = x_groups / (x_groups - 1) * x @ x.T / ones**2 + y_groups / (y_groups - 1) * y @ y.T / zeros**2
    cross = count / (count - 1) * (x @ y.T + y @ x.T) / (ones * zeros)
    return areas, own + cross


def _groups(size: int, patients: ArrayLike | None) -> NDArray[np.intp]:
    if patients is None:
        return np.arange(size)
    names = np.asarray(patients)
    if names.size != size:
        raise NotEstimableError(
            "pairs-differ", "patients and scores differ in number", got=f"{names.size} and {size}"
        )
    inverse: NDArray[np.intp] = np.unique(names, return_inverse=True)[1]
    return inverse


def _class_sizes(positive: Labels, patients: ArrayLike | None) -> tuple[int, int]:
    group = _groups(positive.size, patients)
    return np.unique(group[positive]).size, np.unique(group[~positive]).size


def _newcombe(area: float, ones: int, zeros: int, quantile: float) -> Estimate:
    extra = (ones + zeros) / 2 - 1

    def excess(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return (area - theta) ** 2 - quantile**2 * variance / (ones * zeros)

    tiny = 1e-12
    low = 0.0 if area <= tiny else float(optimize.brentq(excess, tiny, area - 1e-9))
    high = 1.0 if area >= 1 - tiny else float(optimize.brentq(excess, area + 1e-9, 1 - tiny))
    return Estimate(area, low, high)
