"""How well the values of one knee repeat, in words and tables; "not measured" where nobody measured it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from srrd_ray.core.bones import BONES
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.report.page import Block, Grid, Note
from srrd_ray.report.style import with_unit
from srrd_ray.statistics.model_precision import REPEATS, IntervalCoverage, ModelPrecision, Repeat
from srrd_ray.statistics.precision import Precision

NOT_MEASURED = "not measured"
OUTSIDE = (
    "This scan lies outside the images that the model was trained on: the figures below are of scans like "
    "those of the training and do not hold for it."
)
REGIONS = (*product(BONES, COMPARTMENTS), None)


def least_change(
    precision: ModelPrecision | None, parameter: ParameterSymbol, region: tuple[str, str]
) -> str:
    """Return the least significant change of a parameter of a region, on the same scanner on another day."""
    found = precision.error("another day", parameter, region) if precision else None
    if found is None:
        return NOT_MEASURED
    return f"{found.least_significant_change:.{PARAMETER_OF[parameter].digits}f}"


def held_in(precision: ModelPrecision | None) -> str:
    """Return a clause on the coverage of the 90 % intervals."""
    held = precision.covered(None) if precision else None
    if precision is None or held is None:
        return "; how often they hold was not measured"
    return f"; they held in {_percent(held)} of the values of {held.patients} other {_kind(precision)}"


def precision_blocks(precision: ModelPrecision | None, *, outside: bool) -> tuple[Block, ...]:
    """Return tables of precision errors and of coverage, or that they were not measured.

    Of a scan `outside` the training images they say nothing, and that is told.
    """
    if precision is None:
        text = (
            "Not measured for this model: neither how far its values differ between two scans of a knee, nor "
            "how often its 90 % intervals hold. A difference between two scans cannot be told from noise."
        )
        return (Note(text=text, tone="warning"),)
    refused = f" {precision.refused} scans were refused." if precision.refused else ""
    caption = (
        f"RMS-CV (Glüer 1995) with 95 % interval, and least significant change: 2.77 times the RMS-SD. "
        f"{precision.knees} {_kind(precision)} that the model never saw, each scanned again: repositioned "
        "(got up and lay down again), on another day by the same protocol, and by the scanner of another "
        "hospital."
        f"{refused}"
    )
    header = ("Scanned again", "Region", *(with_unit(name) for name in PARAMETERS))
    rows = tuple(_error_row(precision, repeat, region) for repeat, region in product(REPEATS, REGIONS))
    errors = Grid(header=header, rows=rows, caption=caption, text_columns=2)
    return (*((Note(text=OUTSIDE, tone="warning"),) if outside else ()), errors, *_coverage_table(precision))


def _error_row(precision: ModelPrecision, repeat: Repeat, region: tuple[str, str] | None) -> tuple[str, ...]:
    where = " ".join(region) if region else "mean"
    errors = (precision.error(repeat, name, region) for name in PARAMETERS)
    cells = (_error(found, PARAMETER_OF[name].digits) for found, name in zip(errors, PARAMETERS, strict=True))
    return (repeat, where, *cells)


def _error(found: Precision | None, digits: int) -> str:
    if found is None:
        return NOT_MEASURED
    low, high = found.rms_cv_percent_ci
    return (
        f"{found.rms_cv_percent:.1f} % ({low:.1f} to {high:.1f}); {found.least_significant_change:.{digits}f}"
    )


def _coverage_table(precision: ModelPrecision) -> Iterator[Grid]:
    """Yield how often the intervals hold, a row a group of values."""
    groups = list(dict.fromkeys((one.group, one.name) for one in precision.coverage))
    found = {(one.group, one.name, one.parameter): one for one in precision.coverage}
    names: tuple[ParameterSymbol | None, ...] = (*PARAMETERS, None)
    rows = tuple(
        (name, str(found[group, name, None].patients), *(_held(found.get((group, name, p))) for p in names))
        for group, name in groups
    )
    if rows:
        caption = (
            "Share of values whose 90 % interval holds the true value, with 95 % interval by patient (Korn "
            f"and Graubard): first scans of the same {_kind(precision)}."
        )
        header = ("Values", "knees", *(with_unit(name) for name in PARAMETERS), "together")
        yield Grid(header=header, rows=rows, caption=caption)


def _held(one: IntervalCoverage | None) -> str:
    return NOT_MEASURED if one is None else _percent(one)


def _percent(one: IntervalCoverage) -> str:
    low, high = (100 * end for end in one.ci)
    return f"{100 * one.share:.0f} % ({low:.0f} to {high:.0f})"


def _kind(precision: ModelPrecision) -> str:
    return "simulated knees" if precision.simulated else "knees"
