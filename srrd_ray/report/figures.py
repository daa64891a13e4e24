"""The charts of the report: tables in, figures out; every axis with its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srrd_ray.core.bones import BONE_OF, BONES
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.report.style import COLOURS, NAMES, canvas, panels, with_unit
from srrd_ray.statistics import bland_altman, icc
from srrd_ray.statistics.pairs import patient_pairs, region_pairs
from srrd_ray.statistics.regression import Pairs

MANY = 3000
ICC_FLOOR = -1.0
"""Least ICC of the axis: the few that are lower (three patients or four) are arrows at its edge,
with their number.
"""
LABELS = {0: "no osteoarthritis", 1: "osteoarthritis"}
CLASS_COLOURS = {0: COLOURS["plain"], 1: COLOURS["vermillion"]}


def cohort(knees: pd.DataFrame) -> Figure:
    """Return Kellgren-Lawrence grades, ages and sexes of the knees, by label where there is one."""
    figure, [[grades, ages, sexes]] = canvas(10.5, 2.7, columns=3)
    known = [label for label in (0, 1) if (knees["oa"] == label).any()]
    groups = [(LABELS[label], CLASS_COLOURS[label], knees[knees["oa"] == label]) for label in known]
    unknown = knees[knees["oa"].isna()]
    groups += [("label unknown", COLOURS["pale"], unknown)] if len(unknown) else []
    _stacked(grades, [0, 1, 2, 3, 4], [(name, colour, part["kl_grade"]) for name, colour, part in groups])
    grades.set(xlabel="Kellgren-Lawrence grade", ylabel="knees", title="Grade")
    ages.hist(
        [part["age"].dropna().to_numpy(dtype=np.float64) for _, _, part in groups],
        bins=np.arange(30, 95, 5).tolist(),
        stacked=True,
        color=[colour for _, colour, _ in groups],
        edgecolor="white",
    )
    ages.set(xlabel="age (years)", ylabel="knees", title="Age")
    _stacked(sexes, ["F", "M"], [(name, colour, part["sex"]) for name, colour, part in groups])
    sexes.set(xlabel="sex", ylabel="knees", title="Sex")
    handles, labels = grades.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(groups))
    return figure


def _stacked(axes: Axes, levels: Sequence[object], groups: Sequence[tuple[str, str, pd.Series]]) -> None:
    base = np.zeros(len(levels))
    for name, colour, values in groups:
        counts = np.array([int((values == level).sum()) for level in levels], dtype=np.float64)
        axes.bar(np.arange(len(levels)), counts, bottom=base, color=colour, label=name, width=0.7)
        base += counts
    axes.set_xticks(np.arange(len(levels)), [str(level) for level in levels])
    axes.grid(axis="x", visible=False)


def target_errors(table: pd.DataFrame) -> Figure:
    """Return the distribution of target registration errors of each bone; `table` has bone and error_mm."""
    figure, [[axes]] = canvas(5.2, 2.9)
    top = max(float(table["error_mm"].max()), 1.0)
    bins = np.linspace(0, top, 31).tolist()
    for bone in BONES:
        values = table.loc[table["bone"] == bone, "error_mm"].to_numpy(dtype=np.float64)
        if values.size == 0:
            continue
        label = (
            f"{bone}: median {np.median(values):.2f} mm, 95th percentile {np.percentile(values, 95):.2f} mm"
        )
        axes.hist(values, bins=bins, color=BONE_OF[bone].colour, alpha=0.55, label=label)
        axes.axvline(float(np.median(values)), color=BONE_OF[bone].colour, linewidth=1.6)
    axes.set(xlabel="target registration error (mm)", ylabel="landmarks", xlim=(0, top))
    figure.legend(loc="outside upper center", ncols=1)
    return figure


def registration_quality(table: pd.DataFrame) -> Figure:
    """Return Dice against surface distance of every bone with a pose, the refused ones crossed out.

    A bone for which no pose was found at all has no Dice and is only counted.
    """
    figure, [[axes]] = canvas(5.2, 2.9)
    for bone in BONES:
        for accepted, marker in ((True, "o"), (False, "X")):
            part = table[(table["bone"] == bone) & (table["accepted"] == accepted)]
            label = f"{bone}, {'accepted' if accepted else 'refused'} ({len(part)})"
            part = part[part["dice"] > 0]
            if len(part):
                axes.scatter(
                    part["surface_mm"],
                    part["dice"],
                    c=BONE_OF[bone].colour,
                    marker=marker,
                    s=26,
                    alpha=0.8,
                    label=label,
                )
    axes.set(xlabel="surface distance (mm)", ylabel="Dice of the bone")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def agreement(tables: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Return predicted against reference values: a row a model, a column a parameter;
    large dots are patients.
    """
    figure, grid = panels(len(tables), len(PARAMETERS), 2.75)
    limits = {name: _limits(list(tables.values()), name) for name in PARAMETERS}
    for row, (model, table) in zip(grid, tables.items(), strict=True):
        for axes, name in zip(row, PARAMETERS, strict=True):
            _scatter(axes, table, name, COLOURS[model])
            axes.plot(limits[name], limits[name], color=COLOURS["ink"], linewidth=0.9, linestyle="--")
            axes.set(xlim=limits[name], ylim=limits[name], xlabel=f"{reference} {with_unit(name)}")
            named = with_unit(name)
            axes.set_ylabel(f"{NAMES[model]}\n{named}" if name == PARAMETERS[0] else named)
            axes.set_title(_icc_label(patient_pairs(table, name)), fontweight="normal", fontsize=9)
            axes.set_aspect("equal")
    return figure


def _scatter(axes: Axes, table: pd.DataFrame, name: ParameterSymbol, colour: str) -> None:
    regions, patients = region_pairs(table, name), patient_pairs(table, name)
    many = regions.method.size > MANY
    axes.scatter(regions.reference, regions.method, s=7, c=colour, alpha=0.25, linewidths=0, rasterized=many)
    axes.scatter(
        patients.reference,
        patients.method,
        s=26,
        c=colour,
        edgecolors="white",
        linewidths=0.6,
        rasterized=many,
    )


def _limits(tables: Sequence[pd.DataFrame], name: ParameterSymbol) -> tuple[float, float]:
    pairs = [region_pairs(table, name) for table in tables]
    values = np.concatenate([np.r_[p.method, p.reference] for p in pairs])
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def _icc_label(pairs: Pairs) -> str:
    try:
        found = icc(pairs.method, pairs.reference)
    except NotEstimableError:
        return "ICC not estimable"
    return f"ICC {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def differences(tables: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Return Bland-Altman plots of the patients:
    a row a model, a column a parameter, with bias and 95 % limits.
    """
    figure, grid = panels(len(tables), len(PARAMETERS), 2.5)
    for row, (model, table) in zip(grid, tables.items(), strict=True):
        for axes, name in zip(row, PARAMETERS, strict=True):
            _bland_altman(axes, patient_pairs(table, name), COLOURS[model])
            axes.set_xlabel(f"mean of both {with_unit(name)}")
            difference = with_unit(name).replace(name, "difference")
            axes.set_ylabel(f"{NAMES[model]}\n− {reference}" if name == PARAMETERS[0] else difference)
    return figure


def _bland_altman(axes: Axes, pairs: Pairs, colour: str) -> None:
    mean, difference = (pairs.method + pairs.reference) / 2, pairs.method - pairs.reference
    axes.scatter(
        mean, difference, s=20, c=colour, edgecolors="white", linewidths=0.5, rasterized=mean.size > MANY
    )
    axes.axhline(0, color=COLOURS["pale"], linewidth=0.8)
    try:
        found = bland_altman(pairs.method, pairs.reference)
    except NotEstimableError:
        axes.set_title("limits not estimable", fontweight="normal", fontsize=9)
        return
    axes.axhline(found.bias, color=COLOURS["ink"], linewidth=1.3)
    for limit in (found.low, found.high):
        axes.axhline(limit, color=COLOURS["ink"], linewidth=0.9, linestyle="--")
        axes.axhspan(
            limit - 1.96 * found.se_limit, limit + 1.96 * found.se_limit, color=COLOURS["pale"], alpha=0.13
        )
    half = (found.high - found.low) / 2
    axes.set_title(f"bias {found.bias:+.3f}, limits ±{half:.3f}", fontweight="normal", fontsize=9)


def forest(references: Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float]]]]) -> Figure:
    """Return ICC with interval by parameter and model:
    one panel a reference (reference -> model -> parameter).
    """
    figure, [row] = canvas(5.3 * len(references), 3.1, columns=len(references))
    for axes, (reference, models) in zip(row, references.items(), strict=True):
        for offset, (model, values) in enumerate(models.items()):
            shift = 0.17 * (offset - (len(models) - 1) / 2)
            for index, name in enumerate(PARAMETERS):
                if name in values:
                    _whisker(axes, values[name], index + shift, COLOURS[model])
            axes.plot([], [], "o-", color=COLOURS[model], label=NAMES[model])
        axes.set_yticks(range(len(PARAMETERS)), list(PARAMETERS))
        axes.invert_yaxis()
        axes.axvline(0, color=COLOURS["pale"], linewidth=0.8)
        lowest = min((low for values in models.values() for _, low, _ in values.values()), default=0.0)
        left = min(max(lowest, ICC_FLOOR), -0.5)
        axes.set(xlim=(left - 0.02, 1.02), xlabel="ICC(A,1) with 95 % interval", title=f"against {reference}")
        axes.grid(axis="y", visible=False)
    handles, labels = row[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _whisker(axes: Axes, estimate: tuple[float, float, float], y: float, colour: str) -> None:
    """Draw a value and its interval, the part below `ICC_FLOOR` as an arrow,
    and the number of a value that lies there.
    """
    value, low, high = estimate
    axes.plot([max(low, ICC_FLOOR), max(high, ICC_FLOOR)], [y, y], color=colour, linewidth=1.6)
    if low < ICC_FLOOR:
        axes.plot(ICC_FLOOR, y, "<", color=colour, markersize=5, clip_on=False)
    if value >= ICC_FLOOR:
        axes.plot(value, y, "o", color=colour, markersize=5)
    else:
        axes.annotate(
            f"{value:.2f}",
            (ICC_FLOOR, y),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
