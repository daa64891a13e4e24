"""The pages: of a run, and of one CT that a trained model was applied to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Outcome
from srrd_ray.report import charts, content, figures, overlays
from srrd_ray.report.content import Json, at
from srrd_ray.report.overlays import KneeImages
from srrd_ray.report.page import Block, Grid, Links, Note, Page, Picture, Section
from srrd_ray.report.style import contour_words, png_uri, styled, svg_uri
from srrd_ray.statistics.pairs import with_reference

MODELS = ("teacher", "baseline", "school", "distilled")
SIMULATED = (
    "Simulated cohort: no image here is of a patient. The figures test the software and the method; they are "
    "not clinical results."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The content of a report. Tables by name, overlays by title, `qc` the page of all knees if any."""

    tables: Mapping[str, pd.DataFrame]
    metrics: Json
    manifest: Json
    outcomes: tuple[Outcome, ...]
    overlays: Mapping[str, KneeImages] = field(default_factory=dict)
    qc: str = ""
    software: str = ""


def run_page(run: Run) -> Page:
    """Return the page of a run; a part whose tables are missing says so instead."""
    simulated = at(run.metrics, "cohort", "simulated")
    with styled():
        parts = (_cohort, _alignment, _parameters, _diagnosis, _search, _stages)
        sections = tuple(part(run) for part in parts)
    return Page(
        title="SRRD-Ray: report of a run",
        subtitle="Subchondral trabecular bone of the knee from CT, learned from MR",
        banner=Note(text=SIMULATED, tone="warning") if simulated is True else None,
        cards=content.cards(run.metrics, run.outcomes) if run.metrics is not None else (),
        sections=(*sections, _limits(run), _provenance(run)),
        footer=f"SRRD-Ray {run.software}. Research software; not a medical device.",
    )


def _cohort(run: Run) -> Section:
    intro = (
        "Who is in the cohort. A knee counts as osteoarthritic from Kellgren-Lawrence grade 2, unless the "
        "cohort's table says otherwise."
    )
    return Section(anchor="cohort", title="Cohort", intro=intro, blocks=_cohort_blocks(run))


def _cohort_blocks(run: Run) -> tuple[Block, ...]:
    knees = run.tables.get("knees")
    if knees is None or knees.empty:
        return (_missing_note("knees"),)
    ages = knees["age"].dropna()
    rows = (
        ("knees", str(len(knees))),
        ("patients", str(knees["participant"].nunique())),
        ("knees with / without osteoarthritis / unknown", " / ".join(str(int(n)) for n in _classes(knees))),
        (
            "age, median (range)",
            f"{ages.median():.0f} ({ages.min():.0f} to {ages.max():.0f}) years" if len(ages) else "unknown",
        ),
        ("women / men", f"{int((knees['sex'] == 'F').sum())} / {int((knees['sex'] == 'M').sum())} knees"),
        ("right / left", f"{int((knees['side'] == 'R').sum())} / {int((knees['side'] == 'L').sum())}"),
        ("folds (by patient)", str(knees["fold"].nunique())),
    )
    table = Grid(header=("", ""), rows=rows)
    picture = _draw_or_note(
        lambda: figures.cohort(knees),
        "Grades, ages and sexes of the knees",
        "Distribution of grade, age and sex over knees.",
    )
    return (picture, table)


def _classes(knees: pd.DataFrame) -> tuple[int, int, int]:
    return int((knees["oa"] == 1).sum()), int((knees["oa"] == 0).sum()), int(knees["oa"].isna().sum())


def _alignment(run: Run) -> Section:
    intro = (
        "Femur and tibia are registered separately: the MR is turned into a synthetic CT, which is aligned "
        "with the CT bone by bone. Pictures show the knee that fits worst, a middle one and the best; "
        "contours are the bones segmented on CT."
    )
    blocks: list[Block] = []
    errors, quality = run.tables.get("target_errors"), run.tables.get("registration")
    if quality is None or quality.empty:
        blocks.append(_missing_note("registration"))
    else:
        blocks.append(_quality(quality))
    if errors is not None and not errors.empty:
        used = errors[errors["accepted"].astype(bool)]
        caption = (
            "Distance between found and true position of landmarks spread over each bone, accepted "
            "transforms only. Lines are medians."
        )
        blocks.insert(
            0,
            _draw_or_note(
                lambda: figures.target_errors(used),
                "Histogram of target registration error",
                caption,
                wide=False,
            ),
        )
    if run.qc:
        blocks.append(Links(items=(("Pictures of every knee, refused bones first", run.qc),)))
    blocks += [_overlay(title, images) for title, images in run.overlays.items()]
    if not run.overlays:
        blocks.append(Note(text="No registration can be drawn: the run folder has no volumes or transforms."))
    return Section(
        anchor="registration", title="Synthesis and registration", intro=intro, blocks=tuple(blocks)
    )


def _quality(quality: pd.DataFrame) -> Block:
    refused = int((~quality["accepted"].astype(bool)).sum())
    nowhere = int((quality["dice"] == 0).sum())
    caption = (
        f"Overlap and surface distance of CT bone and registered synthetic-CT bone; {refused} of "
        f"{len(quality)} bones refused and not used further"
        + (f", {nowhere} of them without any pose to draw." if nowhere else ".")
    )
    return _draw_or_note(
        lambda: figures.registration_quality(quality), "Dice against surface distance", caption, wide=False
    )


def _overlay(title: str, images: KneeImages) -> Block:
    source = png_uri(overlays.registration(images))
    caption = f"{title}. Coronal above, sagittal (medial) below; contours: {contour_words()}; tiles of 6 mm."
    return Picture(source=source, alt=f"Registration overlay, {title}", caption=caption)


def _parameters(run: Run) -> Section:
    intro = (
        "Four parameters of trabecular bone, read from CT patches by the student trained with MR guidance "
        "(distilled) and without (baseline), "
        "and from MR patches by the teacher. One value a patient is the mean over the regions of all his "
        "knees; predictions are out of fold."
    )
    blocks: list[Block] = []
    panels = {name: _intervals(at(run.metrics, key)) for key, name in _REFERENCES.items()}
    panels = {name: models for name, models in panels.items() if models}
    if panels:
        blocks.append(
            _draw_or_note(
                lambda: figures.forest(panels),
                "ICC by parameter and model",
                "Absolute agreement, ICC(A,1), over patients; arrows point to values below -1, which few "
                "patients may give.",
            )
        )
    for key, (table, name) in {
        "regression": ("measures", "MR"),
        "regression_truth": ("truth", "true"),
    }.items():
        blocks += _against(run, table, name, at(run.metrics, key))
    return Section(
        anchor="parameters",
        title="Bone parameters",
        intro=intro,
        blocks=tuple(blocks) or (_missing_note("predictions"),),
    )


_REFERENCES = {"regression": "the MR measurement", "regression_truth": "the simulated truth"}


def _intervals(models: Json) -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for model in (*MODELS, "mr"):
        for name in PARAMETERS:
            value, bounds = at(models, model, name, "icc"), at(models, model, name, "icc_ci")
            if isinstance(value, float) and isinstance(bounds, list):
                found.setdefault(model, {})[name] = (value, float(bounds[0]), float(bounds[1]))
    return found


def _against(run: Run, reference: str, name: str, models: Json) -> list[Block]:
    predictions, values = run.tables.get("predictions"), run.tables.get(reference)
    if predictions is None or values is None or values.empty:
        return []
    joined = {m: with_reference(predictions[predictions["model"] == m], values, PARAMETERS) for m in MODELS}
    held = {model: table for model, table in joined.items() if not table.empty}
    students = {model: table for model, table in held.items() if model != "teacher"}
    if not held:
        return []
    what = "measured on MR" if name == "MR" else "known from the simulation"
    blocks: list[Block] = [
        _draw_or_note(
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
            _draw_or_note(lambda: figures.differences(students, name), "Bland-Altman plots", caption)
        )
    return [
        *blocks,
        content.regression_table(
            models, f"Agreement with the value {what}. Bias, RMSE and limits in the unit of the parameter."
        ),
    ]


def _diagnosis(run: Run) -> Section:
    intro = (
        "Osteoarthritis from eight features a knee (mean and medial-lateral difference of each parameter) by "
        "ridge logistic regression, in nested cross-validation by patient."
    )
    table, knees = run.tables.get("diagnosis"), run.tables.get("knees")
    if table is None:
        return Section(
            anchor="diagnosis", title="Diagnosis", intro=intro, blocks=(_missing_note("diagnosis"),)
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
            _draw_or_note(lambda: charts.roc(curves, legend, seed=0), "ROC curves", caption, wide=False)
        )
    if parts and knees is not None:
        graded = {
            m: p.merge(knees[["participant", "side", "kl_grade"]], on=["participant", "side"])
            for m, p in parts.items()
        }
        blocks.append(
            _draw_or_note(
                lambda: charts.probabilities(graded),
                "Predicted probability by grade",
                "Each dot is a knee, predicted by a model that never saw its patient.",
                wide=False,
            )
        )
    if legend:
        blocks.append(
            _draw_or_note(
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


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _search(run: Run) -> Section:
    intro = (
        "Temperature and loss weights of the distillation, searched for every fold on inner validation "
        "patients. The fold's winner trained its distilled student."
    )
    table = run.tables.get("tune")
    if table is None or table.empty:
        note = _missing_note("tune") if table is None else Note(text=content.NOT_SEARCHED)
        return Section(anchor="tuning", title="Search", intro=intro, blocks=(note,))
    names = ["temperature", "kd_weight", "feature_weight", "relation_weight", "lr"]
    best = table.groupby(["fold", "trial"], sort=True).agg(
        {**dict.fromkeys(names, "first"), "epoch": "max", "icc": "last", "status": "first"}
    )
    ranked = best.reset_index().sort_values(["icc", "trial"], ascending=[False, True])
    rows = tuple(
        (
            f"fold {row.fold}, {row.trial}",
            *(f"{getattr(row, name):.3g}" for name in names),
            str(int(row.epoch)),
            f"{row.icc:.3f}",
            str(row.status),
        )
        for row in ranked.head(20).itertuples()
    )
    header = (
        "Trial", "temperature", "KD weight", "feature weight", "relation weight", "learning rate", "epochs",
        "mean ICC at its end", "",
    )  # fmt: skip
    caption = (
        "Mean ICC(A,1) over the four parameters after each epoch; trials that fell behind were stopped early."
    )
    blocks = (
        _draw_or_note(lambda: charts.search(table), "Trials of the search", caption),
        Grid(header=header, rows=rows),
    )
    return Section(anchor="tuning", title="Search", intro=intro, blocks=blocks)


def _stages(run: Run) -> Section:
    missing = _missing_note("outcomes (run.json)")
    blocks: list[Block] = [content.failure_table(run.outcomes) if run.outcomes else missing]
    stages = at(run.manifest, "stages")
    stages = stages if isinstance(stages, list) else []
    times = [(str(at(stage, "stage")), float(str(at(stage, "seconds")))) for stage in stages]
    if times:
        caption = (
            "Wall time of each stage, all knees together, in the last call of the program (what was done "
            "before is skipped)."
        )
        blocks.append(_draw_or_note(lambda: charts.times(times), "Time of each stage", caption, wide=False))
    if run.outcomes:
        blocks.append(content.outcome_table(run.outcomes))
    return Section(
        anchor="run",
        title="What failed, and times",
        intro="One knee's or bone's failure never stops the others; each is listed with its reason.",
        blocks=tuple(blocks),
    )


def _limits(run: Run) -> Section:
    return Section(
        anchor="limits",
        title="Limits",
        intro="Read before quoting a figure.",
        blocks=content.limits(run.metrics),
    )


def _provenance(run: Run) -> Section:
    table = content.provenance_table(run.manifest)
    blocks: tuple[Block, ...] = (table,) if table.rows else (_missing_note("run.json"),)
    return Section(anchor="provenance", title="Provenance", intro="", blocks=blocks)


def _draw_or_note(draw: Callable[[], Figure], alt: str, caption: str, *, wide: bool = True) -> Block:
    """Return the picture, or a note with the reason where its numbers do not exist."""
    try:
        return Picture(source=svg_uri(draw()), alt=alt, caption=caption, wide=wide)
    except NotEstimableError as error:
        return Note(text=f"{alt}: not estimable, {content.strip_code(str(error))}.")


def _missing_note(name: str) -> Note:
    return Note(text=f"Nothing to show yet: the run has no table “{name}”.", tone="warning")
