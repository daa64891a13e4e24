"""What a classifier sees of a knee: a few numbers made of the predicted parameters of its patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.records import BONES, COMPARTMENTS, PARAMETERS, Knee, Side

REGIONS = tuple(f"{bone}-{compartment}" for bone in BONES for compartment in COMPARTMENTS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """One row a knee (knees, features); `excluded` are knees of which a compartment could not be measured in any bone."""

    knees: tuple[Knee, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]
    excluded: tuple[Knee, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each row."""
        return tuple(knee.participant for knee in self.knees)


def region_means(table: pd.DataFrame, columns: tuple[str, ...] = PARAMETERS) -> pd.DataFrame:
    """Return the mean of `columns` over the patches of each region, one row a participant, side, bone and compartment."""
    keys = ["participant", "side", "bone", "compartment"]
    means: pd.DataFrame = table.groupby(keys, sort=True, observed=True)[list(columns)].mean().reset_index()
    return means


def knee_features(predictions: pd.DataFrame) -> Features:
    """Return eight features a knee: for each parameter its mean and its medial-lateral contrast, bones averaged.

    Parameters
    ----------
    predictions
        Patches of one model: participant, side, bone, compartment and the four parameters (mm, 1/mm).

    Few features on purpose: cohorts have tens of knees. A bone that is missing leaves its compartments to the other one.
    """
    names = tuple(f"{p} {what}" for p in PARAMETERS for what in ("mean", "medial-lateral"))
    knees, rows, excluded = [], [], []
    for (participant, side), group in region_means(predictions).groupby(["participant", "side"], sort=True):
        knee = Knee(participant=str(participant), side=_side(str(side)))
        row = _row(group)
        if row is None:
            excluded.append(knee)
        else:
            knees.append(knee)
            rows.append(row)
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    return Features(knees=tuple(knees), names=names, values=values, excluded=tuple(excluded))


def _row(regions: pd.DataFrame) -> list[float] | None:
    compartments = regions.groupby("compartment", observed=True)[list(PARAMETERS)].mean()
    if set(compartments.index) != set(COMPARTMENTS) or not np.isfinite(compartments.to_numpy()).all():
        return None
    medial, lateral = compartments.loc["medial"].to_numpy(), compartments.loc["lateral"].to_numpy()
    return [float(v) for pair in zip((medial + lateral) / 2, medial - lateral, strict=True) for v in pair]


def _side(text: str) -> Side:
    return "L" if text == "L" else "R"
