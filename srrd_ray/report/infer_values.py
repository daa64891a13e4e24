"""The values of one knee as tables, with the error to expect and the values of those learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import COMPARTMENTS, Compartment
from srrd_ray.report.infer_precision import held_in, least_change
from srrd_ray.report.page import Block, Grid, Note
from srrd_ray.report.style import with_unit
from srrd_ray.statistics.expected import FEWEST, ErrorToExpect, ModelExpectations, Reference, ReferenceRange
from srrd_ray.statistics.model_precision import ModelPrecision

UNKNOWN, OUTSIDE = "not known", "unknown"
CHANGE = (
    "Least significant change: on another day on the same scanner by the same protocol, a smaller difference "
    "of this value is noise (95 %)."
)
REFERENCES: Mapping[Reference, str] = {
    "measured": "the measurement on MR",
    "read": "what the school's reader reads in MR",
    "truth": "the true value of a simulated knee",
}
PEOPLE: Mapping[Reference, str] = {"truth": "simulated knees"}
"""Where it is not patients."""


def value_table(
    regions: pd.DataFrame, expected: ModelExpectations, precision: ModelPrecision | None, *, outside: bool
) -> Grid:
    """Return each value with its spread, the interval to expect the measurement in, the least significant
    change, and the usual range.

    A scan from outside the training has no interval and no such change: errors there are unknown.
    """
    header = (
        "Region",
        "Parameter",
        "Value ± SD over cubes",
        "90 % interval",
        "Least significant change",
        "Median (5th to 95th percentile)",
    )
    errors = {error.parameter: error for error in expected.errors}
    rows = [
        _row(row, name, (errors.get(name), precision), expected, outside=outside)
        for row, name in product(regions.to_dict("records"), PARAMETERS)
    ]
    people = PEOPLE.get(expected.reference, "patients")
    caption = (
        "Mean of each region over its cubes; the SD is variation within the region, not an error. 90 % "
        f"interval: where {REFERENCES[expected.reference]} is expected, from errors of the model in {people} "
        f"that it never saw{held_in(precision)}. {CHANGE} Last column: what the model reads in "
        f"{usual_people(expected)}."
        + (" Interval and change are unknown outside the training." if outside else "")
    )
    return Grid(header=header, rows=tuple(rows), caption=caption, text_columns=2, faded=outside)


def usual_people(expected: ModelExpectations) -> str:
    """Return whose values are the usual ones, in words."""
    if expected.reference == "truth":
        return "simulated knees that it never saw"
    return "the patients that it was made from"


def _row(
    row: Mapping[str, object],
    name: ParameterSymbol,
    of: tuple[ErrorToExpect | None, ModelPrecision | None],
    expected: ModelExpectations,
    *,
    outside: bool,
) -> tuple[str, ...]:
    error, precision = of
    about, value = PARAMETER_OF[name], float(str(row[name]))
    spread = float(str(row.get(about.cubes_sd, "nan")))
    words = f"{value:.{about.digits}f}"
    usual = [
        one for one in expected.ranges
        if (one.bone, one.compartment, one.parameter) == (row["bone"], row["compartment"], name)
        and (one.sex, one.ages) == ("all", (None, None))
    ]  # fmt: skip
    return (
        f"{row['bone']} {row['compartment']} ({row['cubes']} cubes)",
        with_unit(name),
        f"{words} ± {spread:.{about.digits}f}" if np.isfinite(spread) else words,
        OUTSIDE if outside else _interval(value, error, about.digits),
        OUTSIDE if outside else least_change(precision, name, (str(row["bone"]), str(row["compartment"]))),
        _range(usual[0], about.digits) if usual else UNKNOWN,
    )


def _interval(value: float, error: ErrorToExpect | None, digits: int) -> str:
    if error is None or error.within_90 is None:
        return UNKNOWN
    return f"{max(value - error.within_90, 0):.{digits}f} to {value + error.within_90:.{digits}f}"


def _range(one: ReferenceRange, digits: int) -> str:
    return f"{one.p50:.{digits}f} ({one.p5:.{digits}f} to {one.p95:.{digits}f})"


def not_measured_blocks(regions: pd.DataFrame, record: Mapping[str, Json]) -> tuple[Block, ...]:
    """Return which regions have no value, and why; a sentence where all have one."""
    there = set(zip(regions["bone"], regions["compartment"], strict=True))
    reasons = _reasons(record)
    missing = [region for region in product(BONES, COMPARTMENTS) if region not in there]
    if not missing:
        return (Note(text="All regions were measured.", tone="good"),)
    none = "No reason was kept"
    return tuple(
        Note(text=f"Not measured: {' '.join(region)}. {reasons.get(region, none)}.", tone="warning")
        for region in missing
    )


def _reasons(record: Mapping[str, Json]) -> dict[tuple[str, str], str]:
    listed = at(record, "not_measured")
    entries = listed if isinstance(listed, list | tuple) else []
    return {
        (str(at(one, "bone")), str(at(one, "compartment"))): str(at(one, "reason")).capitalize()
        for one in entries
    }


def error_table(expected: ModelExpectations) -> tuple[Block, ...]:
    """Return the errors to expect of a model, or that they are not known."""
    if not expected.errors:
        text = "The error to expect is not known: beside the model is no expected.json with its errors."
        return (Note(text=text, tone="warning"),)
    rows = tuple(_error_row(error, PARAMETER_OF[error.parameter].digits) for error in expected.errors)
    caption = (
        f"Predicted minus {REFERENCES[expected.reference]}, mean of a region, in "
        f"{PEOPLE.get(expected.reference, 'patients')} that the network never saw. Nine in ten errors of a "
        "new patient of the same kind stay within the fourth column."
    )
    header = ("Parameter", "bias", "RMSE", "90 % within", "patients")
    return (Grid(header=header, rows=rows, caption=caption),)


def _error_row(error: ErrorToExpect, digits: int) -> tuple[str, ...]:
    within = UNKNOWN if error.within_90 is None else f"± {error.within_90:.{digits}f}"
    size = (f"{error.bias:+.{digits}f}", f"{error.rmse:.{digits}f}")
    return (with_unit(error.parameter), *size, within, str(error.patients))


def range_tables(expected: ModelExpectations) -> tuple[Block, ...]:
    """Return the usual values by sex and age, a table a region; a sentence where there are none."""
    if not expected.ranges:
        text = (
            f"No usual values: no expected.json with them beside the model, or fewer than {FEWEST} patients."
        )
        return (Note(text=text),)
    return tuple(
        _range_table(bone, compartment, expected)
        for bone, compartment in product(BONES, COMPARTMENTS)
        if any((one.bone, one.compartment) == (bone, compartment) for one in expected.ranges)
    )


def _range_table(bone: BoneName, compartment: Compartment, expected: ModelExpectations) -> Grid:
    groups: dict[tuple[str, tuple[float | None, float | None]], dict[ParameterSymbol, ReferenceRange]] = {}
    for one in expected.ranges:
        if (one.bone, one.compartment) == (bone, compartment):
            groups.setdefault((one.sex, one.ages), {})[one.parameter] = one
    rows = tuple(
        (
            _group_words(sex, ages),
            str(max(one.patients for one in found.values())),
            *(
                _range(found[name], PARAMETER_OF[name].digits) if name in found else UNKNOWN
                for name in PARAMETERS
            ),
        )
        for (sex, ages), found in groups.items()
    )
    header = ("Patients", "number", *(with_unit(name) for name in PARAMETERS))
    caption = f"{bone.capitalize()}, {compartment}: median (5th to 95th percentile)"
    return Grid(header=header, rows=rows, caption=caption)


def _group_words(sex: str, ages: tuple[float | None, float | None]) -> str:
    who = {"F": "women", "M": "men"}.get(sex, "all")
    low, high = ages
    if low is None:
        return who if high is None else f"{who} below {high:.0f}"
    return f"{who} from {low:.0f}" if high is None else f"{who} {low:.0f} to {high - 1:.0f}"
