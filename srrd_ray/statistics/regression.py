"""Predicted bone parameters against a reference: patients are the sample, patches and knees are their repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.errors import NotEstimableError
from srrd_ray.statistics.agreement import icc_value
from srrd_ray.statistics.bootstrap import Rows, bca, delta_icc
from srrd_ray.statistics.estimate import Estimate

KEYS = ["participant", "side", "bone", "compartment"]
REFERENCE = ".reference"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """A method and a reference, one value a `unit`; `patients` names the patient of each."""

    method: NDArray[np.float64]
    reference: NDArray[np.float64]
    patients: NDArray[np.str_]


def with_reference(predictions: pd.DataFrame, reference: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the patches found in both tables (by store and row), the reference's `columns` suffixed ``.reference``."""
    renamed = reference[["store", "row", *columns]].rename(columns={name: name + REFERENCE for name in columns})
    joined: pd.DataFrame = predictions.merge(renamed, on=["store", "row"], how="inner", validate="many_to_one")
    return joined


def region_pairs(table: pd.DataFrame, column: str) -> Pairs:
    """Return the means over the patches of each region of each knee; patches without both values are left out."""
    means = _regions(table, column).reset_index()
    return _pairs(means, column)


def patient_pairs(table: pd.DataFrame, column: str) -> Pairs:
    """Return one pair a patient: the mean over the regions of all his knees, each region counting the same."""
    means = _regions(table, column).groupby("participant", sort=True).mean().reset_index()
    return _pairs(means, column)


def region_icc(table: pd.DataFrame, column: str, *, seed: int, resamples: int) -> Estimate:
    """Return ICC(A,1) over regions (four a knee), its interval from resampled patients."""
    pairs = region_pairs(table, column)

    def value(rows: Rows) -> float:
        return icc_value(pairs.method[rows], pairs.reference[rows])

    return bca(value, _enough(pairs).patients, seed=seed, resamples=resamples)


def mean_icc(table: pd.DataFrame, columns: tuple[str, ...], *, seed: int, resamples: int) -> Estimate:
    """Return the mean over parameters of the patients' ICC(A,1), its interval from resampled patients."""
    kept = _complete(table, columns)
    all_pairs = [_enough(patient_pairs(kept, column)) for column in columns]

    def value(rows: Rows) -> float:
        return float(np.mean([icc_value(pairs.method[rows], pairs.reference[rows]) for pairs in all_pairs]))

    return bca(value, all_pairs[0].patients, seed=seed, resamples=resamples)


def gain(ours: pd.DataFrame, theirs: pd.DataFrame, columns: tuple[str, ...], *, seed: int, resamples: int) -> Estimate:
    """Return the mean ICC(A,1) of `ours` minus that of `theirs` on the patches of both, by paired patient bootstrap."""
    a, b = _complete(ours, columns), _complete(theirs, columns)
    both = a[["store", "row"]].merge(b[["store", "row"]], on=["store", "row"])
    a, b = (table.merge(both, on=["store", "row"]) for table in (a, b))
    x, y = ([_enough(patient_pairs(table, column)) for column in columns] for table in (a, b))
    return delta_icc(
        [pairs.method for pairs in x],
        [pairs.method for pairs in y],
        [pairs.reference for pairs in x],
        x[0].patients,
        seed=seed,
        resamples=resamples,
    )


def _complete(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the patches with every value, so that all parameters have the same patients."""
    names = [name + suffix for name in columns for suffix in ("", REFERENCE)]
    return table[np.isfinite(table[names].to_numpy(dtype=np.float64)).all(axis=1)]


def _enough(pairs: Pairs) -> Pairs:
    if pairs.patients.size < 3:
        raise NotEstimableError("too-few", "too few pairs", got=str(pairs.patients.size), expected="at least 3")
    return pairs


def _regions(table: pd.DataFrame, column: str) -> pd.DataFrame:
    names = [column, column + REFERENCE]
    finite = table[np.isfinite(table[names].to_numpy(dtype=np.float64)).all(axis=1)]
    means: pd.DataFrame = finite.groupby(KEYS, sort=True, observed=True)[names].mean()
    return means


def _pairs(means: pd.DataFrame, column: str) -> Pairs:
    return Pairs(
        method=means[column].to_numpy(dtype=np.float64),
        reference=means[column + REFERENCE].to_numpy(dtype=np.float64),
        patients=means["participant"].to_numpy(dtype=str),
    )
