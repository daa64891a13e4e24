"""Predicted bone parameters against a reference.

Patients are the sample, patches and knees are their repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.statistics.agreement import icc_value
from srrd_ray.statistics.bootstrap import Rows, bca, delta_icc
from srrd_ray.statistics.estimate import Estimate, paired


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """A method and a reference, one value a patient (or region); `patients` names the patient of each."""

    method: NDArray[np.float64]
    reference: NDArray[np.float64]
    patients: NDArray[np.str_]


def pooled_icc(pairs: Pairs, *, seed: int, resamples: int) -> Estimate:
    """Return ICC(A,1) over all pairs, several of a patient allowed: its interval is from resampled patients.

    Raises
    ------
    NotEstimableError
        `too-few` with fewer than three pairs or five patients, and as `icc`.
    """
    return mean_icc([pairs], seed=seed, resamples=resamples)


def mean_icc(parameters: Sequence[Pairs], *, seed: int, resamples: int) -> Estimate:
    """Return the mean over parameters of ICC(A,1), with its interval from resampled patients.

    All parameters have the same patients.
    """
    for pairs in parameters:
        paired(pairs.method, pairs.reference, 3)

    def value(rows: Rows) -> float:
        return float(np.mean([icc_value(pairs.method[rows], pairs.reference[rows]) for pairs in parameters]))

    return bca(value, parameters[0].patients, seed=seed, resamples=resamples)


def gain(ours: Sequence[Pairs], theirs: Sequence[Pairs], *, seed: int, resamples: int) -> Estimate:
    """Return the mean ICC(A,1) of `ours` minus that of `theirs`.

    The interval is a paired bootstrap over the patients of both.
    """
    for pairs in (*ours, *theirs):
        paired(pairs.method, pairs.reference, 3)
    return delta_icc(
        [pairs.method for pairs in ours],
        [pairs.method for pairs in theirs],
        [pairs.reference for pairs in ours],
        ours[0].patients,
        seed=seed,
        resamples=resamples,
    )
