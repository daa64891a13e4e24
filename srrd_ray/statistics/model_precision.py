"""How well the values of a model repeat when a knee is scanned again, and how often its intervals hold.

One record, ``precision.json`` in the folder of the model. It names no participant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from srrd_ray.core.bones import BoneName
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.core.records import Compartment
from srrd_ray.statistics.coverage import coverage
from srrd_ray.statistics.expected import ErrorToExpect
from srrd_ray.statistics.pairs import REFERENCE
from srrd_ray.statistics.precision import Precision, precision

Repeat: TypeAlias = Literal["repositioned", "another day", "another scanner"]
"""Of a scan: got up and lay down again, on one day; the same protocol on another day; another hospital."""
REPEATS: tuple[Repeat, ...] = get_args(Repeat)
Group: TypeAlias = Literal["all", "region", "hospital"]
REGION = ["bone", "compartment"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatError:
    """The precision of a parameter of a region; without one, of the mean of a knee's regions."""

    repeat: Repeat
    parameter: ParameterSymbol
    error: Precision
    bone: BoneName | None = None
    compartment: Compartment | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalCoverage:
    """The share of values whose 90 % interval holds the truth, with its 95 % interval.

    `parameter` is null for all of them together; `name` is that of the region or the hospital.
    """

    parameter: ParameterSymbol | None
    group: Group
    name: str
    patients: int
    values: int
    share: float
    ci: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPrecision:
    """``precision.json``.

    Parameters
    ----------
    weights
        SHA-256 of each file of weights that was measured, as in the model's card.
    simulated
        Whether the knees were simulated.
    knees
        How many were scanned, each of another person.
    refused
        Scans, of all, that `srrd infer` refused.
    """

    weights: Mapping[str, str]
    simulated: bool
    knees: int
    refused: int
    errors: tuple[RepeatError, ...]
    coverage: tuple[IntervalCoverage, ...]

    def error(
        self, repeat: Repeat, parameter: ParameterSymbol, region: tuple[str, str] | None
    ) -> Precision | None:
        """Return the precision of a parameter of a region (None: of the knee); null where not measured."""
        key = (repeat, parameter, *(region or (None, None)))
        found = (e.error for e in self.errors if (e.repeat, e.parameter, e.bone, e.compartment) == key)
        return next(found, None)

    def covered(self, parameter: ParameterSymbol | None) -> IntervalCoverage | None:
        """Return the coverage of a parameter over all regions and hospitals; null where not measured."""
        return next((c for c in self.coverage if (c.parameter, c.group) == (parameter, "all")), None)


def repeat_errors(values: pd.DataFrame) -> Iterator[RepeatError]:
    """Yield the precision of each repeat, parameter and region, and of the mean of the regions.

    Parameters
    ----------
    values
        A row a knee, visit (`first` or a `Repeat`) and region: participant, visit, bone, compartment, the
        parameters. Regions that either scan lacks are left out.
    """
    first = values[values["visit"] == "first"]
    for repeat in REPEATS:
        again = values[values["visit"] == repeat]
        both = first.merge(again, on=["participant", *REGION], suffixes=("", ".again"))
        for parameter in PARAMETERS:
            pair = [parameter, f"{parameter}.again"]
            for (bone, compartment), rows in both.groupby(REGION, sort=True):
                yield RepeatError(
                    repeat=repeat, parameter=parameter, error=precision(rows[pair]),
                    bone=bone, compartment=compartment,
                )  # fmt: skip
            whole = both.groupby("participant", sort=True)[pair].mean()
            if len(both):
                yield RepeatError(repeat=repeat, parameter=parameter, error=precision(whole))


def interval_coverage(values: pd.DataFrame, errors: Sequence[ErrorToExpect]) -> Iterator[IntervalCoverage]:
    """Yield how often the 90 % intervals of `errors` hold the truth: in all, by region, by hospital.

    Of one patient nothing is told.

    Parameters
    ----------
    values
        A row a knee and region: participant, hospital, bone, compartment, the parameters and ``.reference``
        of each.
    """
    within = {error.parameter: error.within_90 for error in errors if error.within_90 is not None}
    inside = pd.concat([_inside(values, name, bound) for name, bound in within.items()])
    names: tuple[ParameterSymbol | None, ...] = (None, *within)
    for parameter, (group, column) in product(names, _COLUMNS):
        rows = inside if parameter is None else inside[inside["parameter"] == parameter]
        for name, part in rows.groupby(column, sort=True):
            if part["participant"].nunique() < 2:
                continue
            share, low, high = coverage(part["inside"], part["participant"])
            yield IntervalCoverage(
                parameter=parameter, group=group, name=str(name), patients=part["participant"].nunique(),
                values=len(part), share=share, ci=(low, high),
            )  # fmt: skip


_COLUMNS: tuple[tuple[Group, str], ...] = (("all", "all"), ("region", "region"), ("hospital", "hospital"))


def _inside(values: pd.DataFrame, parameter: ParameterSymbol, bound: float) -> pd.DataFrame:
    error = (values[parameter] - values[parameter + REFERENCE]).to_numpy(np.float64)
    return pd.DataFrame(
        {
            "participant": values["participant"],
            "parameter": parameter,
            "inside": np.abs(error) <= bound,
            "all": "all",
            "region": values["bone"] + " " + values["compartment"],
            "hospital": "hospital " + values["hospital"].astype(str),
        }
    )
