"""How well repeated measurements of the same subjects repeat: precision error, least significant change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.estimate import Estimate

LSC_FACTOR: Final = 2.77
"""1.96 · √2: a difference of two measurements exceeds so many precision errors in one of twenty."""
LEAST_SUBJECTS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """The precision error of a measurement; intervals are of 95 %.

    Parameters
    ----------
    subjects
        How many were measured twice or more.
    degrees_of_freedom
        Repeats beyond the first, over all subjects.
    rms_sd, rms_cv_percent
        Root mean square of the subjects' SD (in the unit of the values) and coefficient of variation.
    least_significant_change
        What two measurements of a subject have to differ by for the difference to be more than noise, at
        95 % confidence, in the unit of the values.
    """

    subjects: int
    degrees_of_freedom: int
    rms_sd: float
    rms_sd_ci: tuple[float, float]
    rms_cv_percent: float
    rms_cv_percent_ci: tuple[float, float]
    least_significant_change: float


def precision(values: ArrayLike) -> Precision:
    """Return the precision error of values (subject, repeat), NaN where a repeat is missing.

    Subjects with fewer than two values are left out. Intervals are those of a variance, by chi-square: they
    take errors of subjects to be independent. (Glüer et al., Accurate assessment of precision errors,
    Osteoporos Int 5:262, 1995.)

    Raises
    ------
    NotEstimableError
        `too-few` below three subjects with two values, `mean-zero` where a subject's mean is not positive.

    Examples
    --------
    >>> found = precision([[1.0, 1.0], [2.0, 2.2], [4.0, 4.0]])
    >>> round(found.rms_sd, 4), round(found.rms_cv_percent, 2), round(found.least_significant_change, 3)
    (0.0816, 3.89, 0.226)
    """
    table = np.asarray(values, dtype=np.float64)
    counts = np.isfinite(table).sum(axis=1)
    table, free = table[counts > 1], counts[counts > 1] - 1
    if len(table) < LEAST_SUBJECTS:
        raise NotEstimableError(
            "too-few", "too few subjects were measured twice", got=str(len(table)),
            expected=f"at least {LEAST_SUBJECTS}",
        )  # fmt: skip
    means, sds = np.nanmean(table, axis=1), np.nanstd(table, axis=1, ddof=1)
    if (means <= 0).any():
        raise NotEstimableError("mean-zero", "a subject's mean is not positive", got=f"{means.min():g}")
    sd, cv = _rms(sds, free), _rms(100 * sds / means, free)
    return Precision(
        subjects=len(table),
        degrees_of_freedom=int(free.sum()),
        rms_sd=sd.value,
        rms_sd_ci=(sd.low, sd.high),
        rms_cv_percent=cv.value,
        rms_cv_percent_ci=(cv.low, cv.high),
        least_significant_change=LSC_FACTOR * sd.value,
    )


def _rms(sds: NDArray[np.float64], free: NDArray[np.int_]) -> Estimate:
    """Return the root of the mean variance, subjects weighted by their degrees of freedom."""
    total = int(free.sum())
    variance = float((free * sds**2).sum() / total)
    high, low = stats.chi2.ppf([0.025, 0.975], total)
    return Estimate(variance**0.5, (total * variance / low) ** 0.5, (total * variance / high) ** 0.5)
