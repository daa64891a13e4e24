"""Tables of patches to pairs of values.

The patches of a region are averaged, then the regions of a patient.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.statistics.regression import Pairs

KEYS = ("participant", "side", "bone", "compartment")
REFERENCE = ".reference"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "predictions": (*KEYS, "store", "row", "model", *PARAMETERS),
    "measures": (*KEYS, "store", "row", *PARAMETERS),
    "truth": ("store", "row", *PARAMETERS),
}
"""What is read of the tables with a row a patch: they are the long ones."""


def with_reference(
    predictions: pd.DataFrame, reference: pd.DataFrame, columns: tuple[str, ...]
) -> pd.DataFrame:
    """Return the patches found in both tables (by store and row).

    The reference's `columns` are suffixed ``.reference``.
    """
    renamed = reference[["store", "row", *columns]].rename(
        columns={name: name + REFERENCE for name in columns}
    )
    joined: pd.DataFrame = predictions.merge(
        renamed, on=["store", "row"], how="inner", validate="many_to_one"
    )
    return joined


def region_pairs(table: pd.DataFrame, column: str) -> Pairs:
    """Return the means over the patches of each region of each knee.

    Patches without both values are left out.
    """
    return _pairs(_regions(table, column).reset_index(), column)


def patient_pairs(table: pd.DataFrame, column: str) -> Pairs:
    """Return one pair a patient: the mean over the regions of all knees, each region counting the same."""
    return _pairs(_regions(table, column).groupby("participant", sort=True).mean().reset_index(), column)


def patient_pairs_of(table: pd.DataFrame, columns: tuple[str, ...]) -> list[Pairs]:
    """Return the patients' pairs of each column.

    Only patches that have every value are used, so that all columns have the same patients.
    """
    kept = complete(table, columns)
    return [patient_pairs(kept, column) for column in columns]


def common(a: pd.DataFrame, b: pd.DataFrame, columns: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the patches that have every value in both tables."""
    a, b = complete(a, columns), complete(b, columns)
    keys = a[["store", "row"]].merge(b[["store", "row"]], on=["store", "row"])
    return a.merge(keys, on=["store", "row"]), b.merge(keys, on=["store", "row"])


def complete(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the patches of which every value and reference is finite."""
    names = [name + suffix for name in columns for suffix in ("", REFERENCE)]
    return table[np.isfinite(table[names].to_numpy(dtype=np.float64)).all(axis=1)]


def _regions(table: pd.DataFrame, column: str) -> pd.DataFrame:
    means: pd.DataFrame = (
        complete(table, (column,))
        .groupby(list(KEYS), sort=True, observed=True)[[column, column + REFERENCE]]
        .mean()
    )
    return means


def _pairs(means: pd.DataFrame, column: str) -> Pairs:
    return Pairs(
        method=means[column].to_numpy(dtype=np.float64),
        reference=means[column + REFERENCE].to_numpy(dtype=np.float64),
        patients=means["participant"].to_numpy(dtype=str),
    )
