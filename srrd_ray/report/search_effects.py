"""What each searched key does to the score of a trial, with its spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray
from scipy.stats import rankdata

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.report.page import Grid
from srrd_ray.report.style import COLOURS, canvas
from srrd_ray.statistics import bca

FEWEST_TRIALS = 6
IN_A_GROUP = 4
"""Trials of which a mean and a spread are drawn, at least."""
MOST_GROUPS = 5
IN_A_ROW = 4
RESAMPLES = 500
WIDE = 20.0
"""Greatest over least value of a key whose ticks are powers of two, at most."""
FOLD_COLOURS = ("distilled", "baseline", "teacher", "vermillion", "mr", "plain")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key that can be searched: its name, and whether it is drawn uniformly in its logarithm."""

    name: str
    log: bool = False


KEYS: Mapping[str, Key] = {
    "temperature": Key(name="temperature", log=True),
    "kd_weight": Key(name="KD weight"),
    "feature_weight": Key(name="feature weight", log=True),
    "relation_weight": Key(name="relation weight", log=True),
    "noise": Key(name="noise (HU)"),
    "offset": Key(name="offset (HU)"),
    "scale": Key(name="SD of the scale"),
    "width": Key(name="student width", log=True),
}
"""All keys that can be searched."""
OF_TEACHER = ("kd_weight", "feature_weight", "relation_weight")


def searched_keys(table: pd.DataFrame) -> dict[str, Key]:
    """Return the keys of which the guided trials of a table have several values."""
    trials = guided(table)
    return {name: key for name, key in KEYS.items() if name in trials and trials[name].nunique() > 1}


def guided(table: pd.DataFrame) -> pd.DataFrame:
    """Return each trial that has a teacher, with its best ICC and `gain`: that less the mean of its fold."""
    first = {name: "first" for name in (*KEYS, "status") if name in table}
    trials = table.groupby(["fold", "trial"], sort=True).agg({**first, "icc": "max"}).reset_index()
    trials = trials[trials[list(OF_TEACHER)].gt(0).any(axis=1)]
    return trials.assign(gain=trials["icc"] - trials.groupby("fold")["icc"].transform("mean"))


def effects(table: pd.DataFrame) -> Figure:
    """Return the gain of every trial against each searched key, with means and SDs of groups of trials.

    A colour a fold, diamonds the winners.
    """
    trials, keys = guided(table), searched_keys(table)
    columns = max(min(len(keys), IN_A_ROW), 1)
    rows = -(-len(keys) // columns) or 1
    figure, grid = canvas(10.5, 2.6 * rows + 0.3, rows, columns)
    flat = [axes for row in grid for axes in row]
    for axes, (name, key) in zip(flat, keys.items(), strict=False):
        _draw_spread(axes, *groups(trials[name].to_numpy(np.float64), trials["gain"].to_numpy(np.float64)))
        _draw_trials(axes, trials, name)
        axes.set(xlabel=key.name)
        if key.log:
            _show_logarithm(axes, trials[name])
        else:
            axes.locator_params(axis="x", nbins=5)
    for axes in flat[len(keys) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("best mean ICC,\nless its fold's mean")
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8)
    return figure


def _draw_trials(axes: Axes, trials: pd.DataFrame, name: str) -> None:
    for number, (fold, part) in enumerate(trials.groupby("fold", sort=True)):
        won = part["status"] == "winner"
        colour = COLOURS[FOLD_COLOURS[number % len(FOLD_COLOURS)]]
        axes.scatter(part[name][~won], part["gain"][~won], c=colour, s=18, alpha=0.75, label=f"fold {fold}")
        axes.scatter(
            part[name][won], part["gain"][won], c=colour, s=46, marker="D", edgecolors=COLOURS["ink"],
            zorder=4,
        )  # fmt: skip


def _draw_spread(
    axes: Axes, at: NDArray[np.float64], mean: NDArray[np.float64], sd: NDArray[np.float64]
) -> None:
    axes.axhline(0, color=COLOURS["pale"], linewidth=0.8)
    if len(at):
        axes.fill_between(
            at, mean - sd, mean + sd, color=COLOURS["ink"], alpha=0.12, linewidth=0, label="± SD"
        )
        axes.plot(at, mean, color=COLOURS["ink"], linewidth=1.4, marker="_", label="mean of a group")


def _show_logarithm(axes: Axes, values: pd.Series[float]) -> None:
    """Put ticks at powers of two for a few octaves, else at 1 and 3 of each decade.

    A setting of 0, which a logarithm does not show, is left out: the configured one, where it is off.
    """
    shown = values[values > 0]
    ratio = shown.max() / shown.min()
    octaves, subs = ratio <= WIDE, (1.0, 3.0) if ratio <= WIDE**2 else (1.0,)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=2) if octaves else LogLocator(subs=subs))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def groups(
    values: NDArray[np.float64], gains: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return median value, mean gain and its SD of even groups of trials, in order of the value.

    Trials of one value are never parted. Nothing where there are too few trials for two groups.

    Examples
    --------
    >>> at, mean, sd = groups(np.repeat([4.0, 8.0], 4), np.array([1.0, 1, 3, 3, 0, 0, 0, 0]))
    >>> at.tolist(), mean.tolist(), sd.round(2).tolist()
    ([4.0, 8.0], [2.0, 0.0], [1.15, 0.0])
    """
    count = min(len(values) // IN_A_GROUP, MOST_GROUPS)
    ranks = (rankdata(values) - 0.5) / max(len(values), 1)
    group = np.floor(ranks * count).astype(int)
    parts = [group == one for one in np.unique(group)]
    if count < 2 or len(parts) < 2:
        return np.empty(0), np.empty(0), np.empty(0)
    at = np.array([np.median(values[part]) for part in parts])
    mean = np.array([np.mean(gains[part]) for part in parts])
    sd = np.array([np.std(gains[part], ddof=1) if part.sum() > 1 else 0.0 for part in parts])
    return at, mean, sd


def correlations(table: pd.DataFrame) -> Grid:
    """Return the rank correlation of each searched key with the gain of its trials, with its interval."""
    trials = guided(table)
    rows = tuple(
        (key.name, _correlation(trials, name), str(len(trials))) for name, key in searched_keys(table).items()
    )
    caption = (
        "Effect of each key: Spearman's correlation with the best mean ICC of a trial, less the mean of its "
        "fold, and its 95 % interval over trials. Keys move together, and an estimator (tune.algorithm: tpe) "
        "tries most where scores were good: a few trials show no more than a tendency."
    )
    return Grid(header=("Key", "correlation with ICC", "trials"), rows=rows, caption=caption)


def _correlation(trials: pd.DataFrame, name: str) -> str:
    values, gains = trials[name].to_numpy(np.float64), trials["gain"].to_numpy(np.float64)
    if len(trials) < FEWEST_TRIALS:
        return "too few trials"
    try:
        value, low, high = bca(
            lambda rows: spearman(values[rows], gains[rows]), np.arange(len(trials)), seed=0,
            resamples=RESAMPLES,
        )  # fmt: skip
    except NotEstimableError:
        return "not estimable"
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the rank correlation of two lists.

    Raises
    ------
    NotEstimableError
        `no-variance` where one has a single value.
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise NotEstimableError("no-variance", "a list of one value has no correlation")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
