"""What to expect of the values of a model in a new knee, from the predictions that it made out of fold.

These are the error of a region, and the range of its values over the patients that the model was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.core.records import COMPARTMENTS, Compartment
from srrd_ray.statistics.pairs import region_pairs
from srrd_ray.statistics.regression import Pairs

Sex: TypeAlias = Literal["F", "M", "all"]
Reference: TypeAlias = Literal["measured", "read", "truth"]
"""What errors are errors from: measured in MR, read in MR by the school's reader, or exact (simulated)."""
SEXES: tuple[Sex, ...] = ("all", "F", "M")
AGES: tuple[tuple[float | None, float | None], ...] = (
    (None, None), (None, 50.0), (50.0, 60.0), (60.0, 70.0), (70.0, None),
)  # fmt: skip
"""From and below, in years; all ages first."""
FEWEST = 10
"""Patients of a range: of fewer it would be none, and would tell of single people."""
SHARE = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorToExpect:
    """Predicted minus reference value of a region, over patients that the network never saw.

    `within_90` is what nine in ten absolute errors of a new patient stay below; null with fewer than nine
    patients, of whom none can say so.
    """

    parameter: ParameterSymbol
    patients: int
    bias: float
    rmse: float
    within_90: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceRange:
    """Percentiles of a predicted parameter of a region over patients; `ages` are from and below, in years."""

    bone: BoneName
    compartment: Compartment
    parameter: ParameterSymbol
    sex: Sex
    ages: tuple[float | None, float | None]
    patients: int
    p5: float
    p50: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelExpectations:
    """The errors of one model, from what they are errors, and its ranges."""

    errors: tuple[ErrorToExpect, ...] = ()
    ranges: tuple[ReferenceRange, ...] = ()
    reference: Reference = "measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """``models/expected.json``: what models learnt from, and what to expect of them. It names no participant.

    Parameters
    ----------
    with_oa
        Knees with osteoarthritis; null where no diagnosis is known.
    ages
        Of the youngest and the oldest patient; null where ages are not known.
    models
        By name; empty where nothing was predicted.
    """

    simulated: bool
    patients: int
    knees: int
    women: int
    men: int
    with_oa: int | None = None
    ages: tuple[float, float] | None = None
    models: Mapping[str, ModelExpectations] = field(default_factory=dict)


def expect(
    pairs: pd.DataFrame, predictions: pd.DataFrame, knees: pd.DataFrame, reference: Reference = "measured"
) -> ModelExpectations:
    """Return what to expect of one model.

    Parameters
    ----------
    pairs
        Its out-of-fold predictions with values of the reference, as `pairs.with_reference`.
    predictions
        All of them.
    knees
        The patients: participant, age and sex.
    """
    return ModelExpectations(
        errors=tuple(errors_to_expect(pairs)),
        ranges=tuple(reference_ranges(predictions, knees)),
        reference=reference,
    )


def errors_to_expect(pairs: pd.DataFrame) -> Iterator[ErrorToExpect]:
    """Yield the error of each parameter that any region has."""
    for parameter in PARAMETERS:
        found = region_pairs(pairs, parameter)
        if found.patients.size:
            yield _error(parameter, found)


def _error(parameter: ParameterSymbol, pairs: Pairs) -> ErrorToExpect:
    difference = pairs.method - pairs.reference
    return ErrorToExpect(
        parameter=parameter,
        patients=int(np.unique(pairs.patients).size),
        bias=float(difference.mean()),
        rmse=float(np.sqrt((difference**2).mean())),
        within_90=bound_of_new(np.abs(difference), pairs.patients),
    )


def bound_of_new(
    errors: NDArray[np.float64], patients: NDArray[np.str_], share: float = SHARE
) -> float | None:
    """Return the bound that an absolute error of a new patient stays below with probability `share`.

    It is the conformal quantile over patients who count the same, however many regions they have: of n
    patients the level is ceil((n + 1) share) / n. Null where that is above one.
    (Dunn, Wasserman and Ramdas, Distribution-free prediction sets for two-layer hierarchical models, 2023.)

    Examples
    --------
    >>> bound_of_new(np.arange(1.0, 11.0), np.array(list("abcdefghij")))
    10.0
    >>> bound_of_new(np.arange(1.0, 9.0), np.array(list("abcdefgh"))) is None
    True
    """
    _, of, counts = np.unique(patients, return_inverse=True, return_counts=True)
    level = np.ceil((counts.size + 1) * share) / max(counts.size, 1)
    if level > 1:
        return None
    order = np.argsort(errors, kind="stable")
    reached = np.cumsum(1.0 / counts[of][order]) / counts.size
    at = int(np.searchsorted(reached, level - 1e-9))
    return float(errors[order][min(at, errors.size - 1)])


def reference_ranges(predictions: pd.DataFrame, knees: pd.DataFrame) -> Iterator[ReferenceRange]:
    """Yield the ranges of every region for each sex and band of age with `FEWEST` patients.

    A patient with both knees counts once, with their mean.
    """
    values = (
        predictions.groupby(["participant", "bone", "compartment"], sort=True, observed=True)[
            list(PARAMETERS)
        ]
        .mean()
        .reset_index()
    )
    people = knees.drop_duplicates("participant")[["participant", "age", "sex"]]
    known = values.merge(people, on="participant")
    for bone, compartment in product(BONES, COMPARTMENTS):
        region = known[(known["bone"] == bone) & (known["compartment"] == compartment)]
        for sex, ages, rows in _groups(region):
            for parameter in PARAMETERS:
                found = rows[parameter].dropna().to_numpy(dtype=np.float64)
                if found.size >= FEWEST:
                    low, middle, high = (float(v) for v in np.percentile(found, [5, 50, 95]))
                    yield ReferenceRange(
                        bone=bone, compartment=compartment, parameter=parameter, sex=sex, ages=ages,
                        patients=int(found.size), p5=low, p50=middle, p95=high,
                    )  # fmt: skip


def _groups(
    region: pd.DataFrame,
) -> Iterator[tuple[Sex, tuple[float | None, float | None], pd.DataFrame]]:
    age = region["age"].astype("float64")
    for sex in SEXES:
        of_sex = np.ones(len(region), dtype=bool) if sex == "all" else (region["sex"] == sex).to_numpy()
        for low, high in AGES:
            old_enough = np.ones(len(region), dtype=bool) if low is None else (age >= low).to_numpy()
            young_enough = np.ones(len(region), dtype=bool) if high is None else (age < high).to_numpy()
            yield sex, (low, high), region[of_sex & old_enough & young_enough]
