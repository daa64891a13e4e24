"""Intervals by resampling patients: everything of a patient is drawn, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.agreement import icc_value
from srrd_ray.statistics.estimate import Estimate, finite

Rows: TypeAlias = NDArray[np.intp]
Statistic: TypeAlias = Callable[[Rows], float]
LEAST_PATIENTS = 5
LOST_SHARE = 0.1
LEFT_OUT = 500
"""Samples of the jackknife at most: one a patient would take time by the square of the patients."""


def patient_resamples(patients: ArrayLike, count: int, seed: int) -> Iterator[Rows]:
    """Yield `count` times the rows of patients drawn with replacement.

    The order of the rows of the input is irrelevant.
    """
    names, inverse = np.unique(np.asarray(patients), return_inverse=True)
    order, sizes = np.argsort(inverse, kind="stable"), np.bincount(inverse)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = rng.integers(0, names.size, names.size)
        lengths = sizes[drawn]
        first = np.repeat(starts[drawn] - (np.cumsum(lengths) - lengths), lengths)
        yield order[first + np.arange(first.size)]


def bca(
    statistic: Statistic, patients: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Estimate:
    """Return a statistic with its bias-corrected and accelerated bootstrap interval over patients.

    Source: Efron 1987. Where few patients give a distribution that lies beside the value, the interval is
    extended to it.

    Parameters
    ----------
    statistic
        From row numbers (a patient's rows all there, perhaps several times) to a number; may raise
        `NotEstimableError` on a resample, which is then left out.
    patients
        One name a row.
    seed
        Of the resampling; same seed, same interval.

    Raises
    ------
    NotEstimableError
        `too-few` below five patients, `resamples-lost` where more than a tenth of the resamples or of the
        samples without a patient had no value, and whatever the statistic raises on the data themselves.
    """
    names = np.asarray(patients)
    distinct = np.unique(names)
    if distinct.size < LEAST_PATIENTS:
        raise NotEstimableError(
            "too-few",
            "too few patients to resample",
            got=str(distinct.size),
            expected=f"at least {LEAST_PATIENTS}",
        )
    value = statistic(np.arange(names.size))
    drawn = _values(statistic, patient_resamples(names, resamples, seed))
    left_out = _values(statistic, _all_but_some(names))
    low, high = np.quantile(drawn, _levels(value, drawn, left_out, level))
    return Estimate(float(value), min(float(value), float(low)), max(float(value), float(high)))


def _all_but_some(patients: NDArray[np.generic]) -> Iterator[Rows]:
    """Yield the rows without each patient in turn.

    Of many patients, yield the rows without each of `LEFT_OUT` groups of them. The acceleration that is made
    of the groups stays the same: skewness falls with the root of a group's size, as their number does.
    """
    names, inverse = np.unique(patients, return_inverse=True)
    groups = min(names.size, LEFT_OUT)
    group = inverse * groups // names.size
    yield from (np.flatnonzero(group != index) for index in range(groups))


def delta_icc(
    ours: Sequence[ArrayLike],
    theirs: Sequence[ArrayLike],
    references: Sequence[ArrayLike],
    patients: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
) -> Estimate:
    """Return the mean over parameters of ICC(A,1) of `ours` minus that of `theirs`.

    Its interval is the paired patient bootstrap. Every sequence holds one array a parameter, in one order,
    one value a row; both models see the same resamples.

    Raises
    ------
    NotEstimableError
        As `bca` and `icc`.
    """
    a, b, c = ([finite(values) for values in arrays] for arrays in (ours, theirs, references))

    def difference(rows: Rows) -> float:
        gains = [
            icc_value(x[rows], z[rows]) - icc_value(y[rows], z[rows]) for x, y, z in zip(a, b, c, strict=True)
        ]
        return float(np.mean(gains))

    return bca(difference, patients, seed=seed, resamples=resamples)


def _values(statistic: Statistic, samples: Iterator[Rows]) -> NDArray[np.float64]:
    """Return the statistic of each sample that has one; most must have."""
    values, lost = [], 0
    for rows in samples:
        try:
            values.append(statistic(rows))
        except NotEstimableError:
            lost += 1
    count = len(values) + lost
    if lost > LOST_SHARE * count:
        raise NotEstimableError(
            "resamples-lost", "too many resamples without a value", got=f"{lost} of {count}"
        )
    return np.array(values, dtype=np.float64)


def _levels(
    value: float, drawn: NDArray[np.float64], left_out: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    """Return the two quantile levels of the bootstrap distribution that BCa reads."""
    below = (np.count_nonzero(drawn < value) + 0.5 * np.count_nonzero(drawn == value)) / drawn.size
    edge = 0.5 / drawn.size
    bias = float(special.ndtri(np.clip(below, edge, 1 - edge)))
    shifted = bias + special.ndtri([(1 - level) / 2, 1 - (1 - level) / 2])
    room = 1 - _acceleration(left_out) * shifted
    beyond = np.copysign(
        np.inf, shifted
    )  # where the acceleration leaves no room: the end of the distribution
    moved = np.divide(shifted, room, out=beyond, where=room > 0)
    levels: NDArray[np.float64] = special.ndtr(bias + moved)
    return levels


def _acceleration(left_out: NDArray[np.float64]) -> float:
    deviation = left_out.mean() - left_out
    largest = float(np.abs(deviation).max())
    if largest == 0:
        return 0.0
    scaled = deviation / largest
    return float((scaled**3).sum() / (6 * (scaled**2).sum() ** 1.5))
