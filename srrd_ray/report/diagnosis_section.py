"""How well the knees of a run are told apart."""

from __future__ import annotations

from itertools import product
from typing import Final

from srrd_ray.core.json_tree import Json, at
from srrd_ray.report import charts, content
from srrd_ray.report.page import Block, Grid, Note, Section
from srrd_ray.report.run import MODELS, Run, draw_or_note, missing_note

SOURCES: Final = {"distilled": "student", "truth": "exact truth (ceiling)"}
INPUTS: Final = {"readings": "readings", "shape": "shape", "both": "readings and shape"}
CLASSIFIERS: Final = {
    "logistic": "logistic regression",
    "boosting": "gradient boosting",
    "set-transformer": "set-Transformer over cubes",
}
VARIANT_HEADER: Final = (
    "Readings by",
    "Inputs",
    "Classifier",
    "AUC",
    "95 % CI (DeLong)",
    "Brier",
    "calibration slope",
    "calibration intercept",
    "AUC against the diagnosis",
)
VARIANTS: Final = (
    "Other classifiers and inputs, for comparison alone: each fitted on the patients of the other folds, "
    "its setting chosen on inner folds of those. Shape: joint space width and thickness of the subchondral "
    "plates by compartment, first coordinates of femur and tibia in a shape model, all from CT. The last "
    "column is the difference to logistic regression on the readings of the same row, with DeLong's p, not "
    "corrected for the number of rows."
)
FEW: Final = (
    "{patients} patients, {ones} knees with and {zeros} without osteoarthritis: only what lies outside the "
    "intervals is a finding, and the best of many rows looks better than it is."
)


def diagnosis_section(run: Run) -> Section:
    """Return discrimination and calibration of each model."""
    intro = (
        "Osteoarthritis from eight features a knee (mean and medial-lateral difference of each parameter) by "
        "ridge logistic regression, in nested cross-validation by patient."
    )
    table, knees = run.tables.get("diagnosis"), run.tables.get("knees")
    if table is None:
        return Section(
            anchor="diagnosis", title="Diagnosis", intro=intro, blocks=(missing_note("diagnosis"),)
        )
    known = table[table["label"].notna()]
    parts = {model: known[known["model"] == model] for model in MODELS if (known["model"] == model).any()}
    legend = {
        m: _format_area(at(run.metrics, "diagnosis", m))
        for m in parts
        if at(run.metrics, "diagnosis", m, "auc") is not None
    }
    blocks: list[Block] = []
    if legend:
        curves = {model: parts[model] for model in legend}
        caption = (
            "ROC curves of out-of-fold probabilities; bands are pointwise 95 % intervals over resampled "
            "patients."
        )
        blocks.append(
            draw_or_note(lambda: charts.roc(curves, legend, seed=0), "ROC curves", caption, wide=False)
        )
    if parts and knees is not None:
        graded = {
            m: p.merge(knees[["participant", "side", "kl_grade"]], on=["participant", "side"])
            for m, p in parts.items()
        }
        blocks.append(
            draw_or_note(
                lambda: charts.probabilities(graded),
                "Predicted probability by grade",
                "Each dot is a knee, predicted by a model that never saw its patient.",
                wide=False,
            )
        )
    if legend:
        blocks.append(
            draw_or_note(
                lambda: charts.calibration(parts),
                "Calibration",
                "Observed share against predicted probability in five bins; size of a dot: knees.",
                wide=False,
            )
        )
    if run.metrics is not None:
        blocks += [
            content.diagnosis_table(at(run.metrics, "diagnosis")),
            *_comparison(at(run.metrics, "diagnosis")),
            *_variants(at(run.metrics, "diagnosis_variants")),
        ]
    return Section(anchor="diagnosis", title="Diagnosis", intro=intro, blocks=tuple(blocks))


def _format_area(one: Json) -> str:
    bounds = content.interval(at(one, "auc_ci")).removeprefix("95 % CI ")
    return f"AUC {content.number(at(one, 'auc'))}" + (f" ({bounds})" if bounds else "")


def _comparison(diagnosis: Json) -> list[Block]:
    p, delta = at(diagnosis, "delong_p"), at(diagnosis, "delta_auc")
    if isinstance(p, float) and isinstance(delta, float):
        return [
            Note(
                text=(
                    f"Distilled minus baseline: AUC {delta:+.3f}, DeLong p = {p:.3f} (knees of a patient "
                    f"clustered)."
                )
            )
        ]
    reasons = {at(diagnosis, model, "reason") for model in ("distilled", "baseline")} | {
        at(diagnosis, "reason")
    }
    return [
        Note(text=f"Not estimable: {content.strip_code(reason)}.", tone="warning")
        for reason in sorted(filter(None, map(_text, reasons)))
    ]


def _variants(sources: Json) -> list[Block]:
    """Return the table of other classifiers and inputs, and what it cannot show."""
    rows = [
        _variant_row(source, inputs, classifier, at(sources, source, inputs, classifier))
        for source, inputs, classifier in product(SOURCES, INPUTS, CLASSIFIERS)
        if at(sources, source, inputs, classifier) is not None
    ]
    if not rows:
        return []
    table = Grid(header=VARIANT_HEADER, rows=tuple(rows), caption=VARIANTS, text_columns=3)
    plain = at(sources, "distilled", "readings", "logistic")
    knees = (at(plain, "positives"), at(plain, "negatives"))
    text = FEW.format(patients=at(plain, "patients"), ones=knees[0], zeros=knees[1])
    return [table, Note(text=text)]


def _variant_row(source: str, inputs: str, classifier: str, one: Json) -> tuple[str, ...]:
    bounds = content.interval(at(one, "auc_ci")).removeprefix("95 % CI ") or "–"
    calibrated = (at(one, key) for key in ("brier", "calibration_slope", "calibration_intercept"))
    delta, p = at(one, "delta_auc"), at(one, "delong_p")
    gain = f"{delta:+.2f} (p = {p:.2f})" if isinstance(delta, float) and isinstance(p, float) else "–"
    names = (SOURCES[source], INPUTS[inputs], CLASSIFIERS[classifier])
    return (*names, content.number(at(one, "auc")), bounds, *map(content.number, calibrated), gain)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
