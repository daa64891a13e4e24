"""The content of the report: tables and metrics of a run to sections of a page.
Numbers in, text and figures out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from srrd_ray.core.bones import BONES
from srrd_ray.core.headline import REFERENCES, judged_by
from srrd_ray.core.json_tree import Json, at
from srrd_ray.core.learner import FEW_PATIENTS
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import RUN_MODELS, Outcome
from srrd_ray.report.page import Card, Grid, Note, Tone
from srrd_ray.report.style import NAMES, with_unit

MISSING = "not estimable"
AGREEMENT = (
    "ICC(A,1): absolute agreement; ICC(C,1): agreement but for a constant difference; CCC: Lin's "
    "concordance; r: Pearson's; slope: of the predicted on the reference value; bias: mean of predicted "
    "minus reference; 95 % limits: of agreement. Bias, RMSE and limits in the unit of the parameter."
)
CALIBRATION = (
    "Brier: mean squared error of the probability (0.25 for a constant 0.5). ECE: mean distance of predicted "
    "and observed share over bins. Calibration slope: 1 is ideal, below 1 probabilities are too extreme."
)
NOT_SEARCHED = (
    "Nothing was searched: each fold has one patient to learn from and nobody to validate on. The configured "
    "settings were used."
)


def number(value: Json, digits: int = 2, unit: str = "") -> str:
    """Return a number as text, `MISSING` for null."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return MISSING
    return f"{round(value, digits) + 0.0:.{digits}f} {unit}".rstrip()  # no -0.00


def interval(value: Json, digits: int = 2) -> str:
    """Return ``95 % CI 0.61 to 0.83``; nothing where there is none."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ""
    low, high = value
    return f"95 % CI {number(low, digits)} to {number(high, digits)}"


def cards(metrics: Json, outcomes: Sequence[Outcome]) -> tuple[Card, ...]:
    """Return the headline figures of a run."""
    return (
        _knees(metrics, outcomes),
        *(_registration(metrics, bone) for bone in BONES),
        _synthesis(metrics),
        _agreement(metrics),
        *_gains(metrics),
        *(_area(metrics, model) for model in ("distilled", "baseline")),
    )


def _knees(metrics: Json, outcomes: Sequence[Outcome]) -> Card:
    failed_knees = {outcome.lost_knee for outcome in outcomes} - {None}
    bones = {(outcome.knee, outcome.bone) for outcome in outcomes if outcome.lost_bone}
    broken = sum(outcome.status == "failed" and outcome.knee is None for outcome in outcomes)
    knees, patients = at(metrics, "cohort", "knees"), at(metrics, "cohort", "patients")
    note = f"{len(failed_knees)} failed in some stage" if failed_knees else "none failed"
    note += f"; bones lost: {len(bones)}" if bones else ""
    note += f"; {broken} stages over the cohort failed" if broken else ""
    return Card(
        title="Knees",
        value="n/a" if knees is None else str(knees),
        interval="" if patients is None else f"of {patients} patients",
        note=note,
        tone="warning" if failed_knees or bones or broken else "good",
    )


def _registration(metrics: Json, bone: str) -> Card:
    one = at(metrics, "registration", "tre_mm", bone)
    median = at(one, "median")
    p95 = at(one, "p95")
    return Card(
        title=f"Registration error, {bone}",
        value=number(median, 2, "mm"),
        interval="" if p95 is None else f"median; 95th percentile {number(p95, 2, 'mm')}",
        note=_reason(one) or f"{at(one, 'landmarks')} landmarks, refused: {at(one, 'refused')}",
        tone=_error_tone(median),
    )


def _error_tone(median_mm: Json) -> Tone:
    if not isinstance(median_mm, float):
        return "plain"
    if median_mm <= 0.5:
        return "good"
    return "warning" if median_mm <= 1 else "bad"


def _synthesis(metrics: Json) -> Card:
    one = at(metrics, "synthesis")
    rest = f"PSNR {number(at(one, 'psnr_db'), 1, 'dB')}, SSIM {number(at(one, 'ssim'))}"
    return Card(
        title="Synthetic CT, mean error",
        value=number(at(one, "mae_hu"), 0, "HU"),
        interval="" if at(one, "mae_hu") is None else rest,
        note=_reason(one)
        or f"in and round the bones of {at(one, 'knees')} knees, also those that it learnt from",
    )


def _agreement(metrics: Json) -> Card:
    key = judged_by(metrics)
    means = at(metrics, f"{key}_comparison", "mean_icc")
    one = at(means, "distilled")
    others = [
        f"{NAMES[m]} {number(at(means, m, 'icc'))}"
        for m in ("baseline", "school", "teacher")
        if at(means, m, "icc") is not None
    ]
    return Card(
        title=f"Mean ICC(A,1), CT against {REFERENCES[key]}",
        value=number(at(one, "icc")),
        interval=interval(at(one, "icc_ci")),
        note=_reason(one) or _reason(at(metrics, f"{key}_comparison")) or "; ".join(others),
    )


def _gains(metrics: Json) -> Iterator[Card]:
    """Yield the gain over the student without MR, and over the reader that the student began at."""
    one = at(metrics, f"{judged_by(metrics)}_comparison")
    yield _gain(one, "delta_icc", "Gain over the baseline, mean ICC")
    if isinstance(one, Mapping) and "delta_icc_school" in one:
        yield _gain(one, "delta_icc_school", "Gain over the school's CT reader alone, mean ICC")


def _gain(one: Json, key: str, title: str) -> Card:
    delta, bounds = at(one, key), at(one, f"{key}_ci")
    note, tone = _verdict(bounds)
    return Card(
        title=title,
        value=f"{delta:+.3f}" if isinstance(delta, float) else MISSING,
        interval=interval(bounds, 3),
        note=_reason(one) or note,
        tone=tone,
    )


def _verdict(bounds: Json) -> tuple[str, Tone]:
    """Return what the interval of a difference says."""
    low, high = bounds if isinstance(bounds, list | tuple) and len(bounds) == 2 else (None, None)
    if isinstance(low, float) and low > 0:
        return "the interval lies above zero", "good"
    if isinstance(high, float) and high < 0:
        return "the interval lies below zero: a loss", "warning"
    return "the interval includes zero: no gain shown", "plain"


def _area(metrics: Json, model: str) -> Card:
    one = at(metrics, "diagnosis", model)
    p = at(metrics, "diagnosis", "delong_p")
    note = f"DeLong against baseline: p = {p:.3f}" if isinstance(p, float) and model == "distilled" else ""
    counts = f"{at(one, 'positives')} with, {at(one, 'negatives')} without osteoarthritis"
    return Card(
        title=f"AUC of osteoarthritis, {model}",
        value=number(at(one, "auc")),
        interval=interval(at(one, "auc_ci")),
        note=_reason(one, "auc") or note or counts,
    )


def _reason(one: Json, key: str = "") -> str:
    """Return why something is not estimable, without its code;
    only where `key` itself is null, if one is given.
    """
    reason = at(one, "reason")
    if not isinstance(reason, str) or (key and at(one, key) is not None):
        return ""
    return strip_code(reason)


def strip_code(reason: str) -> str:
    """Return an error's text without the code in brackets."""
    return "; ".join(part.partition("] ")[2] or part for part in reason.split("; "))


def regression_table(models: Json, caption: str) -> Grid:
    """Return the agreement of each model and parameter as a table; `caption` says what with."""
    header = (
        "Parameter",
        "Model",
        "ICC(A,1)",
        "95 % CI",
        "ICC(C,1)",
        "CCC",
        "r",
        "slope",
        "bias",
        "RMSE",
        "95 % limits",
        "patients",
    )
    rows = []
    for name in PARAMETERS:
        for model in (*RUN_MODELS, "mr"):
            one = at(models, model, name)
            if not isinstance(one, Mapping):
                continue
            values = [number(at(one, key)) for key in ("icc_consistency", "ccc", "r", "slope")]
            values += [number(at(one, key), 3) for key in ("bias", "rmse")]
            bounds, limits = (
                _range(at(one, key), digits) for key, digits in (("icc_ci", 2), ("limits_of_agreement", 3))
            )
            rows.append(
                (
                    with_unit(name),
                    NAMES[model],
                    number(at(one, "icc")),
                    bounds,
                    *values,
                    limits,
                    str(at(one, "patients")),
                )
            )
    return Grid(header=header, rows=tuple(rows), caption=f"{caption} {AGREEMENT}", text_columns=2)


def diagnosis_table(diagnosis: Json) -> Grid:
    """Return discrimination and calibration of each model as a table."""
    header = (
        "Parameters from",
        "AUC",
        "95 % CI (DeLong)",
        "95 % CI (bootstrap)",
        "Brier",
        "ECE",
        "calibration slope",
        "knees with / without",
    )
    rows = []
    for model in RUN_MODELS:
        one = at(diagnosis, model)
        if not isinstance(one, Mapping):
            continue
        counts = f"{at(one, 'positives')} / {at(one, 'negatives')}" if "positives" in one else ""
        values = [number(at(one, key)) for key in ("brier", "ece", "calibration_slope")]
        bounds = [_range(at(one, key), 2) for key in ("auc_ci", "auc_ci_bootstrap")]
        rows.append((NAMES[model], number(at(one, "auc")), *bounds, *values, counts))
    return Grid(header=header, rows=tuple(rows), caption=CALIBRATION)


def outcome_table(outcomes: Sequence[Outcome]) -> Grid:
    """Return how many units each stage did, skipped and failed."""
    stages = list(dict.fromkeys(outcome.stage for outcome in outcomes))
    rows = []
    for stage in stages:
        of_stage = [outcome for outcome in outcomes if outcome.stage == stage]
        statuses = [outcome.status for outcome in of_stage if not outcome.lost_bone]
        counts = [statuses.count(status) for status in ("done", "skipped", "failed")]
        rows.append((str(stage), *map(str, counts), str(len(of_stage) - len(statuses))))
    header = ("Stage", "done", "skipped as done before", "failed", "bones lost")
    return Grid(header=header, rows=tuple(rows), label="Outcomes by stage")


def failure_table(outcomes: Sequence[Outcome]) -> Grid | Note:
    """Return each failure with its code and message; a note where there is none."""
    rows = tuple(
        (
            o.subject,
            str(o.stage),
            o.error.code,
            o.error.message.partition("] ")[2] or o.error.message,
        )
        for o in outcomes
        if o.error is not None
    )
    if not rows:
        return Note(text="No stage failed for any knee or bone.", tone="good")
    header = ("Knee", "Stage", "Code", "What happened, and what to do")
    return Grid(header=header, rows=rows, numeric=False, label="Failures")


def limits(metrics: Json) -> tuple[Note, ...]:
    """Return what a reader has to know before quoting a figure."""
    simulated = at(metrics, "cohort", "simulated")
    patients = at(metrics, "cohort", "patients")
    texts = []
    if simulated is True:
        texts.append(
            "The cohort is simulated: every image comes from a model of bone, MR and CT physics, and figures "
            "say nothing about patients. Truth (poses, parameters) is known and is used for evaluation only."
        )
    elif simulated is False:
        texts.append(
            "The cohort has no truth: registration error at landmarks and agreement with true parameters "
            "cannot be given, and agreement is agreement with MR, which has an error of its own."
        )
    texts += _few_patients(at(metrics, "cohort", "learnt_from"))
    if isinstance(patients, int) and patients < 80:
        texts.append(
            f"With {patients} patients intervals are wide: an ICC of 0.74 has a 95 % interval of about 0.41 "
            f"to 0.90 with 16 patients and 0.62 to 0.82 with 80. Differences inside the intervals are no "
            f"findings."
        )
    texts.append(
        "The four parameters depend on each other (Tb.N is computed from BV/TV and Tb.Th): their ICCs are "
        "not four independent pieces of evidence."
    )
    texts.append(
        "Every prediction comes from a model that never saw its patient. The classifier learns from "
        "out-of-fold predictions; the regressors behind those of its training patients may have seen the MR "
        "values, never the diagnosis, of its test patients."
    )
    texts += [f"{name}: {reason}." for name, reason in _reasons(metrics)]
    return tuple(Note(text=text) for text in texts)


def _few_patients(learnt_from: Json) -> list[str]:
    if not isinstance(learnt_from, int) or learnt_from >= FEW_PATIENTS:
        return []
    return [
        f"The models of this run learnt from {learnt_from} patients in the fold that had fewest, fewer than "
        f"{FEW_PATIENTS}: what they read in other patients is not to be trusted, and their cards say so."
    ]


def _reasons(data: Json, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return what in the metrics is not estimable, and why; siblings with the same reason share one line."""
    if not isinstance(data, Mapping):
        return []
    reasons = []
    reason = data.get("reason")
    nothing = None in data.values() or len(data) == 1
    if isinstance(reason, str) and nothing:  # a choice has a reason too
        reasons.append((f"Not estimable in {' / '.join(path) or 'this run'}", strip_code(reason).rstrip(".")))
    nested = {key: value for key, value in data.items() if key != "reason"}
    children = [found for key, value in nested.items() for found in _reasons(value, (*path, key))]
    by_reason = {reason: name for name, reason in reversed(children)}
    kept = list(dict.fromkeys((by_reason[reason], reason) for _, reason in children))
    return reasons + kept


def _range(value: Json, digits: int) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return "–"
    return f"{number(value[0], digits)} to {number(value[1], digits)}"


def provenance_table(manifest: Json) -> Grid:
    """Return versions, arithmetic, hash of the cohort's tables, and every setting of a run."""
    names = ("software", "python", "cohort", "schema")
    rows = [(name, str(at(manifest, name))) for name in names if at(manifest, name) is not None]
    libraries = at(manifest, "libraries")
    if isinstance(libraries, Mapping):
        rows += [(str(name), str(value)) for name, value in sorted(libraries.items())]
    for part in ("arithmetic", "config"):
        rows += _list_settings(at(manifest, part) or {}, part)
    caption = "Versions, hash of the cohort's tables, what the driver calculates with, and every setting."
    return Grid(header=("", ""), rows=tuple(rows), numeric=False, caption=caption, fine=True)


def _list_settings(data: Json, path: str) -> list[tuple[str, str]]:
    if isinstance(data, Mapping):
        return [row for key, value in sorted(data.items()) for row in _list_settings(value, f"{path}.{key}")]
    return [(path, json.dumps(data))]
