"""How often intervals hold the truth, where a patient gives several values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics.estimate import Estimate
from srrd_ray.statistics.expected import bound_of_new


def coverage(inside: ArrayLike, patients: ArrayLike) -> Estimate:
    """Return the share of values inside their intervals, with its exact 95 % interval.

    Values of a patient go together: Clopper and Pearson's interval is taken for as many independent values
    as have the variance that is seen between patients, of the patients where all values are inside or none.
    With one value a patient it is Clopper and Pearson's. (Korn and Graubard, Surv Methodol 24:193, 1998.)

    Raises
    ------
    NotEstimableError
        `too-few` below two patients.

    Examples
    --------
    >>> coverage([True, True, False, True], ["a", "a", "b", "b"]).value
    0.75
    """
    hits, names = np.asarray(inside, dtype=np.float64), np.asarray(patients)
    _, of = np.unique(names, return_inverse=True)
    groups = int(of.max(initial=-1)) + 1
    if groups < 2:
        raise NotEstimableError("too-few", "too few patients", got=str(groups), expected="at least 2")
    share = float(hits.mean())
    independent = _independent(hits, of, groups)
    found = share * independent
    low = stats.beta.ppf(0.025, found, independent - found + 1) if share > 0 else 0.0
    high = stats.beta.ppf(0.975, found + 1, independent - found) if share < 1 else 1.0
    return Estimate(share, float(low), float(high))


def _independent(hits: NDArray[np.float64], of: NDArray[np.intp], groups: int) -> float:
    """Return how many independent values would tell as much."""
    size, share = hits.size, float(hits.mean())
    if share in (0.0, 1.0):
        return float(groups)
    sums = np.bincount(of, hits - share)
    variance = float((sums**2).sum()) * groups / (groups - 1) / size**2
    if variance == 0:
        return float(size)
    return min(float(size), size * share * (1 - share) / ((size - 1) * variance))


def left_out(errors: NDArray[np.float64], patients: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return whether the absolute error of each value stays within the bound that all other patients give.

    Raises
    ------
    NotEstimableError
        `too-few` where the others are too few to give one.
    """
    inside = np.zeros(errors.size, dtype=np.bool_)
    for name in np.unique(patients):
        own = patients == name
        bound = bound_of_new(errors[~own], patients[~own])
        if bound is None:
            raise NotEstimableError("too-few", "too few patients", got=str(np.unique(patients).size))
        inside[own] = errors[own] <= bound
    return inside
