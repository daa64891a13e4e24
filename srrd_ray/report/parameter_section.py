"""How good the parameters of a run are, against MR, the simulated truth, and the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from srrd_ray.core.headline import REFERENCES
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol
from srrd_ray.report import content, figures
from srrd_ray.report.page import Block, Grid, Note, Section
from srrd_ray.report.run import MODELS, Run, draw_or_note, missing_note
from srrd_ray.statistics.pairs import with_reference

PAPER_ICC: Mapping[ParameterSymbol, float] = {"BV/TV": 0.804, "Tb.Th": 0.773, "Tb.Sp": 0.711, "Tb.N": 0.622}
PAPER_AUC = {"distilled": "0.767 (0.681 to 0.853)", "baseline": "0.658 (0.574 to 0.742)"}
"""arXiv 2307.04390; the form of its ICC is not stated."""


def parameter_section(run: Run) -> Section:
    """Return the agreement of each model with MR and with the simulated truth."""
    intro = (
        "Four parameters of trabecular bone, read from CT patches by the student trained with MR guidance "
        "(distilled) and without (baseline), "
        "and from MR patches by the teacher. The value of a patient is the mean over all regions of one "
        "knee or both; predictions are out of fold."
    )
    blocks: list[Block] = []
    panels = {f"the value {what}": _intervals(at(run.metrics, key)) for key, (_, what) in _REFERENCES.items()}
    panels = {name: models for name, models in panels.items() if models}
    if panels:
        blocks.append(
            draw_or_note(
                lambda: figures.forest(panels),
                "ICC by parameter and model",
                "Absolute agreement, ICC(A,1), over patients; arrows point to values below -1, which few "
                "patients may give.",
            )
        )
    for key, (name, what) in _REFERENCES.items():
        blocks += _against(run, name, what, at(run.metrics, key))
    return Section(
        anchor="parameters",
        title="Bone parameters",
        intro=intro,
        blocks=(*(blocks or (missing_note("predictions"),)), paper_table(run.metrics)),
    )


_REFERENCES: Mapping[str, tuple[str, str]] = {
    "regression": ("MR", "measured on MR"),
    "regression_teacher": ("teacher", "that the teacher reads in MR"),
    "regression_truth": ("true", "known from the simulation"),
}
"""What predictions are held against, by key of the metrics: in a word, and in words after "the value"."""


def _reference(run: Run, name: str) -> pd.DataFrame | None:
    """Return the table of values that `name` of `_REFERENCES` stands for."""
    predictions = run.tables.get("predictions")
    if name == "teacher":
        return None if predictions is None else predictions[predictions["model"] == "teacher"]
    return run.tables.get({"MR": "measures", "true": "truth"}[name])


def _intervals(models: Json) -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for model in (*MODELS, "mr"):
        for name in PARAMETERS:
            value, bounds = at(models, model, name, "icc"), at(models, model, name, "icc_ci")
            if isinstance(value, float) and isinstance(bounds, list):
                found.setdefault(model, {})[name] = (value, float(bounds[0]), float(bounds[1]))
    return found


def _against(run: Run, name: str, what: str, models: Json) -> list[Block]:
    predictions, values = run.tables.get("predictions"), _reference(run, name)
    if predictions is None or values is None or values.empty:
        return []
    read = [model for model in MODELS if model != name]
    joined = {m: with_reference(predictions[predictions["model"] == m], values, PARAMETERS) for m in read}
    held = {model: table for model, table in joined.items() if not table.empty}
    students = {model: table for model, table in held.items() if model != "teacher"}
    if not held:
        return []
    blocks: list[Block] = [
        draw_or_note(
            lambda: figures.agreement(held, name),
            f"Predicted against {name} values",
            f"Predicted against the value {what}. Large dots: patients; small dots: regions of a knee; "
            f"dashed: identity. ICC over patients with 95 % interval.",
        )
    ]
    if students and name == "MR":
        caption = (
            "Bland-Altman over patients: predicted minus MR. Solid: bias; dashed: 95 % limits of agreement "
            "with their intervals."
        )
        blocks.append(
            draw_or_note(lambda: figures.differences(students, name), "Bland-Altman plots", caption)
        )
    return [
        *blocks,
        content.regression_table(models, f"Agreement with the value {what}."),
        *worth_of_labels(models),
    ]


def worth_of_labels(models: Json) -> list[Note]:
    """Return what the MR measurement itself is worth against a truth, where it is compared with one."""
    means = {
        model: float(np.mean(values))
        for model in ("mr", "distilled")
        if (
            values := [icc for name in PARAMETERS if isinstance(icc := at(models, model, name, "icc"), float)]
        )
    }
    if len(means) < 2:
        return []
    text = (
        f"Against the truth the mean ICC(A,1) of the four is {means['mr']:.2f} for the MR measurement itself "
        f"(measured labels), and {means['distilled']:.2f} for the distilled student: agreement with "
        "MR alone is no accuracy."
    )
    return [Note(text=text)]


def paper_table(metrics: Json) -> Grid:
    """Return the figures of the paper beside those of this run."""
    rows = [*_agreement(metrics, "regression"), *_agreement(metrics, "regression_teacher")]
    rows += [
        (f"AUC of osteoarthritis, {model}", PAPER_AUC[model], *_ours(at(metrics, "diagnosis", model), "auc"))
        for model in ("distilled", "baseline")
    ]
    caption = (
        "The paper (arXiv 2307.04390) beside this run: another cohort, other scanners, and an ICC whose "
        "form is not stated, so that these are no measure of one another. The paper's ICC is with what it "
        "measured in MR, a reading of MR by a network is another quantity. Ours: ICC(A,1) over patients, out "
        "of fold."
    )
    return Grid(header=("Figure", "paper", "this run", "95 % CI"), rows=tuple(rows), caption=caption)


def _agreement(metrics: Json, key: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of one reference, a parameter each."""
    return [
        (
            f"ICC with {REFERENCES[key]}, {name}",
            f"{value:.3f}",
            *_ours(at(metrics, key, "distilled", name), "icc"),
        )
        for name, value in PAPER_ICC.items()
    ]


def _ours(one: Json, key: str) -> tuple[str, str]:
    bounds = content.interval(at(one, f"{key}_ci"), 3).removeprefix("95 % CI ")
    return content.number(at(one, key), 3), bounds or "–"
