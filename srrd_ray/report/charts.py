"""More charts of the report: classification, search and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srrd_ray.report.style import COLOURS, NAMES, canvas
from srrd_ray.statistics import reliability, roc_band, roc_points

FALSE_POSITIVES = np.linspace(0, 1, 51)
MOST_NAMED = 12
"""Networks in a legend."""


def roc(tables: Mapping[str, pd.DataFrame], legend: Mapping[str, str], seed: int) -> Figure:
    """Return ROC curves with 95 % bands over patients; `tables` hold label, probability, participant;
    `legend` the entry of each.
    """
    figure, [[axes]] = canvas(5.2, 4.6)
    for model, table in tables.items():
        labels, scores = (
            table["label"].to_numpy(dtype=np.int64),
            table["probability"].to_numpy(dtype=np.float64),
        )
        patients = table["participant"].to_numpy(dtype=str)
        low, high = roc_band(labels, scores, patients, grid=FALSE_POSITIVES, seed=seed)
        if model != "teacher":
            axes.fill_between(FALSE_POSITIVES, low, high, color=COLOURS[model], alpha=0.13, linewidth=0)
        fpr, tpr = roc_points(labels, scores)
        style = ":" if model == "teacher" else "-"
        axes.plot(
            fpr,
            tpr,
            color=COLOURS[model],
            linewidth=2,
            linestyle=style,
            label=f"{NAMES[model]}: {legend[model]}",
        )
    axes.plot([0, 1], [0, 1], color=COLOURS["pale"], linewidth=0.9, linestyle="--")
    axes.set(xlabel="1 − specificity (false positive rate)", ylabel="sensitivity (true positive rate)")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    figure.legend(loc="outside lower center", ncols=1)
    return figure


def probabilities(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the predicted probability of each knee by its grade;
    `tables` hold kl_grade, label and probability.
    """
    figure, [row] = canvas(5.2, 4.6, columns=len(tables))
    for axes, (model, table) in zip(row, tables.items(), strict=True):
        for label, marker in ((0, "o"), (1, "D")):
            part = table[table["label"] == label].sort_values("probability")
            spread = (np.arange(len(part)) % 5 - 2) * 0.07
            grade = part["kl_grade"].to_numpy(dtype=np.float64)
            name = "osteoarthritis" if label else "no osteoarthritis"
            colour = COLOURS["vermillion"] if label else COLOURS["plain"]
            axes.scatter(
                grade + spread, part["probability"], c=colour, marker=marker, s=22, alpha=0.85, label=name
            )
        axes.axhline(0.5, color=COLOURS["pale"], linewidth=0.8)
        axes.set(xlim=(-0.5, 4.5), ylim=(-0.02, 1.02), xlabel="KL grade", title=_short(model))
        axes.set_xticks(range(5))
    row[0].set_ylabel("predicted probability of osteoarthritis")
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def calibration(tables: Mapping[str, pd.DataFrame], bins: int = 5) -> Figure:
    """Return the observed share of osteoarthritis against the predicted probability, in equal bins."""
    figure, [[axes]] = canvas(5.2, 4.2)
    for model, table in tables.items():
        labels, scores = (
            table["label"].to_numpy(dtype=np.int64),
            table["probability"].to_numpy(dtype=np.float64),
        )
        mean, observed, count = reliability(labels, scores, bins)
        axes.plot(mean, observed, color=COLOURS[model], linewidth=1.2, label=NAMES[model])
        axes.scatter(mean, observed, s=12 + 6 * count, c=COLOURS[model], alpha=0.8)
    axes.plot([0, 1], [0, 1], color=COLOURS["pale"], linewidth=0.9, linestyle="--")
    axes.set(
        xlabel="predicted probability",
        ylabel="observed share of osteoarthritis",
        xlim=(0, 1),
        ylim=(-0.03, 1.03),
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def search(table: pd.DataFrame) -> Figure:
    """Return validation ICC by epoch of every trial, and best ICC against temperature;
    the winner is highlighted.
    """
    figure, [[curves, temperatures]] = canvas(10.5, 3.2, columns=2)
    styles = {
        "stopped": (COLOURS["pale"], 1.0, "stopped early"),
        "failed": (COLOURS["blue"], 1.0, "failed"),
        "completed": (COLOURS["plain"], 1.3, "completed"),
        "winner": (COLOURS["vermillion"], 2.4, "winner"),
    }
    for status, (colour, width, label) in styles.items():
        part = table[table["status"] == status]
        for number, (_, trial) in enumerate(part.groupby(["fold", "trial"], sort=True)):
            mean = trial.groupby("epoch")["icc"].mean()
            named = label if number == 0 else None
            curves.plot(mean.index, mean, color=colour, linewidth=width, marker=".", label=named)
            best, temperature = float(mean.max()), float(trial["temperature"].iloc[0])
            temperatures.scatter(temperature, best, c=colour, s=30 * width, edgecolors="white")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    curves.set(xlabel="epoch", ylabel="mean ICC(A,1), inner validation", title="Trials")
    temperatures.set(xlabel="temperature", ylabel="best mean ICC(A,1)", title="Temperature", xscale="log")
    temperatures.xaxis.set_major_formatter("{x:g}")
    temperatures.xaxis.set_minor_formatter("{x:g}")
    temperatures.tick_params(axis="x", which="minor", labelsize=7)
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def losses(learners: Mapping[str, object]) -> Figure:
    """Return each loss by epoch, a panel a loss, a line a network (learner -> list of epochs with losses)."""
    rows: list[dict[str, object]] = []
    for learner, epochs in learners.items():
        of_learner = epochs if isinstance(epochs, Sequence) else ()
        rows += [{"learner": learner, **epoch} for epoch in of_learner]
    table = pd.DataFrame(rows)
    names = [name for name in table.columns if name not in ("learner", "epoch")]
    columns = min(len(names), 4) or 1
    figure, grid = canvas(10.5, 2.4 * -(-len(names) // columns) + 0.4, -(-len(names) // columns), columns)
    flat, drawn = [axes for row in grid for axes in row], sorted({str(row["learner"]) for row in rows})
    for axes, name in zip(flat, names, strict=False):
        for learner, part in table.dropna(subset=[name]).groupby("learner", sort=True):
            colour = f"C{drawn.index(learner) % 10}"
            axes.plot(part["epoch"], part[name], marker=".", linewidth=1.2, color=colour)
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in flat[len(names) :]:
        axes.set_axis_off()
    if len(drawn) <= MOST_NAMED:
        handles = [Line2D([], [], color=f"C{n % 10}", marker=".", label=name) for n, name in enumerate(drawn)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(drawn), 5))
    return figure


def times(stages: Sequence[tuple[str, float]]) -> Figure:
    """Return wall seconds of each stage."""
    figure, [[axes]] = canvas(6.4, 0.26 * len(stages) + 0.9)
    names, seconds = [name for name, _ in stages], [value for _, value in stages]
    axes.barh(range(len(stages)), seconds, color=COLOURS["plain"], height=0.66)
    for index, value in enumerate(seconds):
        axes.text(value, index, f" {_duration(value)}", va="center", fontsize=8)
    axes.set_yticks(range(len(stages)), names)
    axes.invert_yaxis()
    axes.set(xlabel="wall time (s)", xlim=(0, 1.14 * max([*seconds, 1e-3])))
    axes.grid(axis="y", visible=False)
    return figure


def _short(model: str) -> str:
    return {
        "teacher": "MR teacher",
        "baseline": "baseline",
        "school": "school",
        "distilled": "distilled",
    }.get(model, model)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
