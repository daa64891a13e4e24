"""How the networks of a run learnt, and what the search tried."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from srrd_ray.core.json_tree import Json, at
from srrd_ray.report import charts, content
from srrd_ray.report.page import Block, Grid, Note, Section
from srrd_ray.report.run import Run, draw_or_note, missing_note

SEARCHED = {
    "temperature": "temperature",
    "kd_weight": "KD weight",
    "feature_weight": "feature weight",
    "relation_weight": "relation weight",
}
"""The keys that are searched, and their names."""


def search_section(run: Run) -> Section:
    """Return the trials of the search and the effect of each key."""
    intro = (
        "Temperature and loss weights of the distillation, searched for every fold on inner validation "
        "patients. The fold's winner trained its distilled student."
    )
    table = run.tables.get("tune")
    if table is None or table.empty:
        note = missing_note("tune") if table is None else Note(text=content.NOT_SEARCHED)
        return Section(anchor="tuning", title="Search", intro=intro, blocks=(note,))
    names = [*SEARCHED, "lr"]
    best = table.groupby(["fold", "trial"], sort=True).agg(
        {**dict.fromkeys(names, "first"), "epoch": "max", "icc": "last", "status": "first"}
    )
    ranked = best.reset_index().sort_values(["icc", "trial"], ascending=[False, True])
    rows = tuple(
        (
            f"fold {row.fold}, trial {row.trial}",
            *(f"{getattr(row, name):.3g}" for name in names),
            str(int(row.epoch)),
            f"{row.icc:.3f}",
            str(row.status),
        )
        for row in ranked.head(20).itertuples()
    )
    header = (
        "Trial", *SEARCHED.values(), "learning rate", "epochs", "mean ICC at its end", "how it ended",
    )  # fmt: skip
    caption = (
        "Mean ICC(A,1) over the four parameters after each epoch; trials that fell behind were stopped early."
    )
    blocks = (
        draw_or_note(lambda: charts.search(table), "Trials of the search", caption),
        draw_or_note(
            lambda: charts.effects(table, SEARCHED),
            "Effect of each searched key",
            "Best mean ICC of each trial against each key; a colour a fold, diamonds the winners.",
        ),
        correlations(table),
        Grid(
            header=header,
            rows=rows,
            caption="The best trials of all folds; an ICC is that of other patients in each fold. KD weight: "
            "that of the teacher's histograms against the labels. Trial 0 has no teacher, so that its "
            "temperature has no effect.",
        ),
    )
    return Section(anchor="tuning", title="Search", intro=intro, blocks=blocks)


def training_section(run: Run) -> Section:
    """Return the losses of every network, epoch by epoch."""
    intro = (
        "Losses of every training, epoch by epoch, as the networks saw them: weights of the terms differ "
        "between stages and folds, so compare the course of a line, not two lines."
    )
    blocks = [
        _losses_picture(stage, learners)
        for stage, losses in run.losses.items()
        if isinstance(learners := at(losses, "learners"), Mapping) and learners
    ]
    none = Note(text="No losses were kept: the run is of an older version, or nothing was trained.")
    return Section(anchor="training", title="Training", intro=intro, blocks=tuple(blocks) or (none,))


def _losses_picture(stage: str, learners: Mapping[str, Json]) -> Block:
    return draw_or_note(
        lambda: charts.losses(learners),
        f"Losses of {stage}",
        f"Stage {stage}: each panel a loss, each line a network.",
    )


def correlations(table: pd.DataFrame) -> Grid:
    """Return the rank correlation of each searched key with the best ICC of its trials, inside folds."""
    best = table.groupby(["fold", "trial"], sort=True).agg({**dict.fromkeys(SEARCHED, "first"), "icc": "max"})
    centred = best["icc"] - best.groupby("fold")["icc"].transform("mean")
    rows = []
    for key, name in SEARCHED.items():
        enough = len(best) >= charts.FEWEST_TRIALS and best[key].nunique() > 1
        rho = best[key].rank().corr(centred.rank()) if enough else None
        rows.append((name, "too few trials" if rho is None else f"{rho:+.2f}", str(len(best))))
    caption = (
        "Effect of each key: Spearman's correlation with the best mean ICC of a trial, less the mean of "
        "its fold. Keys were drawn together at random; a few trials show no more than a tendency."
    )
    return Grid(header=("Key", "correlation with ICC", "trials"), rows=tuple(rows), caption=caption)
