"""How the networks of a run learnt, and what the search tried."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from srrd_ray.core.json_tree import Json, at
from srrd_ray.report import charts, content
from srrd_ray.report.page import Block, Grid, Note, Section
from srrd_ray.report.run import Run, draw_or_note, missing_note
from srrd_ray.report.search_effects import KEYS, correlations, effects, searched_keys


def search_section(run: Run) -> Section:
    """Return the trials of the search and the effect of each key."""
    intro = (
        "Temperature and loss weights of the distillation, and augmentation and capacity of the student "
        "where they have a range, searched for every fold on inner validation patients. The fold's winner "
        "trained its distilled student."
    )
    table = run.tables.get("tune")
    if table is None or table.empty:
        note = missing_note("tune") if table is None else Note(text=content.NOT_SEARCHED)
        return Section(anchor="tuning", title="Search", intro=intro, blocks=(note,))
    keys = {name: key for name, key in KEYS.items() if name in table and table[name].nunique() > 1}
    names = [*keys, "lr"]
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
        "Trial", *(key.name for key in keys.values()), "learning rate", "epochs", "mean ICC at its end",
        "how it ended",
    )  # fmt: skip
    caption = (
        "Mean ICC(A,1) over the four parameters after each epoch; trials that fell behind were stopped early."
    )
    blocks = (
        draw_or_note(lambda: charts.search(table), "Trials of the search", caption),
        *_effects(table),
        Grid(
            header=header,
            rows=rows,
            caption="The best trials of all folds; an ICC is that of other patients in each fold. KD weight: "
            "that of the teacher's histograms against the labels. Trial 0 has no teacher.",
        ),
    )
    return Section(anchor="tuning", title="Search", intro=intro, blocks=blocks)


def _effects(table: pd.DataFrame) -> tuple[Block, ...]:
    if not searched_keys(table):
        return (Note(text="Too few trials with a teacher to show what a key does."),)
    caption = (
        "Best mean ICC of each trial with a teacher, less the mean of its fold, against each key; a colour a "
        "fold, diamonds the winners. Line and band: mean and SD of groups of at least four trials of "
        "neighbouring values."
    )
    drawn = draw_or_note(lambda: effects(table), "Effect of each searched key", caption)
    return drawn, correlations(table)


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
