"""How good a run is: its tables (and, for a simulated cohort, the truth) to `metrics.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import transform_points
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.json_tree import at
from srrd_ray.core.model_card import ModelFacts, readme
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Knee
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.classify import MODELS, Model, read_models
from srrd_ray.stages.compare_diagnosis import TABLE as VARIANTS
from srrd_ray.stages.compare_synthesis import TABLE as FIGURES
from srrd_ray.stages.shared import metrics
from srrd_ray.stages.shared.expected import EXPECTED, write_expected
from srrd_ray.stages.shared.first_round import CHOICE, read_choice
from srrd_ray.stages.shared.gather import read_of_run
from srrd_ray.stages.shared.metrics import Json
from srrd_ray.stages.shared.model_facts import caution, facts_of_run
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.stages.shared.synthesis_card import CARD, read_card
from srrd_ray.stages.shared.truth import has_truth, read_poses, true_parameters
from srrd_ray.statistics.pairs import with_reference
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.schemas import validate
from srrd_ray.storage.tables import read_table, write_table

SCHEMA = "srrd-metrics/1"
NOT_HELD_OUT = "no knee that was held out has both a synthetic CT and a pose"
NO_TRUTH = "the cohort has no truth: it is not simulated"
NEVER_NULL: tuple[Model, ...] = ("distilled", "baseline")


def evaluate(layout: RunLayout, cohort: Path, seed: int = 0) -> Path:
    """Return the path of ``metrics.json``, written from the tables of a run that may be partial.

    What cannot be estimated is null, with a ``reason``. `seed` is that of the bootstrap intervals.
    For a simulated cohort also writes tables ``truth`` (a row a patch) and ``target_errors`` (a row a
    landmark) for the report; for whoever uses the models, ``models/expected.json``
    and ``models/README.md``, the card of the student. Table ``synthesis_figures`` has those of the knees that
    the synthesis never saw.
    """
    seed = seed_from(seed, "evaluate")
    measures, predictions = read_of_run(layout, "measures"), read_of_run(layout, "predictions")
    truth = true_parameters(layout, cohort)
    errors = target_error_table(layout, cohort) if has_truth(cohort) else None
    figures = synthesis_figures(layout)
    for name, table in (("truth", truth), ("target_errors", errors), (FIGURES, figures)):
        if table is not None:
            write_table(layout.table(name), table)
        else:
            layout.table(name).unlink(missing_ok=True)  # of an earlier cohort in this folder
    found: dict[str, Json] = {
        "schema": SCHEMA,
        "cohort": _cohort(layout, cohort),
        "registration": {"tre_mm": {bone: _target_errors(errors, bone) for bone in BONES}},
        "synthesis": _synthesis(layout) | _held_out(figures) | _rounds(layout),
        **_regression("regression", predictions, measures, "no measured MR parameters", seed),
        **_regression("regression_truth", predictions, truth, NO_TRUTH, seed, mr=measures),
        **_against_teacher(predictions, seed),
        "diagnosis": _diagnosis(layout, seed),
        **_variants(layout, seed),
    }
    validate("metrics", found, where=layout.metrics.name)
    write_expected(layout, simulated=has_truth(cohort))
    write_text(layout.metrics, json.dumps(found, indent=2, sort_keys=True, allow_nan=False) + "\n")
    write_text(layout.models_readme, readme(_student(found)))
    return layout.metrics


def _student(found: Json) -> ModelFacts:
    patients = at(found, "cohort", "learnt_from")
    warning = caution([patients]) if isinstance(patients, int) else ""
    return facts_of_run("distilled", found, warning, {})


def target_errors_mm(
    layout: RunLayout, cohort: Path, knee: Knee, bone: BoneName
) -> tuple[bool, NDArray[np.float64]] | None:
    """Return whether the transform of a bone was accepted, and its error (mm) at each landmark.

    It is None where the transform or the truth is absent.
    """
    found = read_pose(layout, knee, bone)
    if found is None:
        return None
    try:
        truth = read_poses(cohort, knee)[bone]
    except StoreError as error:
        if error.code == "truth-missing":
            return None
        raise
    offset = transform_points(found.matrix, truth.landmarks) - transform_points(truth.matrix, truth.landmarks)
    return found.quality.accepted, np.linalg.norm(offset, axis=1)


def target_error_table(layout: RunLayout, cohort: Path) -> pd.DataFrame:
    """Return the target registration errors (mm) at the landmarks of each bone of a simulated cohort.

    Its knees are those of the table ``registration``: poses of an earlier cohort may lie beside theirs.
    """
    rows = []
    registration = read_of_run(layout, "registration")
    keys = registration[["participant", "side"]].drop_duplicates() if registration is not None else None
    known = set() if keys is None else set(keys.itertuples(index=False, name=None))
    for knee in (one for one in layout.registered_knees() if (one.participant, one.side) in known):
        for bone in BONES:
            found = target_errors_mm(layout, cohort, knee, bone)
            if found is not None:
                rows += [(knee.participant, knee.side, bone, found[0], float(error)) for error in found[1]]
    return pd.DataFrame(rows, columns=["participant", "side", "bone", "accepted", "error_mm"])


def _target_errors(table: pd.DataFrame | None, bone: BoneName) -> dict[str, Json]:
    if table is None:
        return metrics.absent(("median", "p95", "share_below_1mm"), NO_TRUTH)
    of_bone = table[table["bone"] == bone]
    refused = of_bone[~of_bone["accepted"].astype(bool)][["participant", "side"]].drop_duplicates()
    return metrics.target_errors(
        of_bone.loc[of_bone["accepted"].astype(bool), "error_mm"].to_numpy(dtype=np.float64), len(refused)
    )


def _synthesis(layout: RunLayout) -> dict[str, Json]:
    table = read_of_run(layout, "registration")
    if table is None:
        return metrics.absent(("mae_hu", "psnr_db", "ssim"), "no table of registrations")
    return metrics.synthesis(table)


def synthesis_figures(layout: RunLayout) -> pd.DataFrame | None:
    """Return the figures of the synthetic CT of all knees that were held out; None where there are none."""
    registration, model = read_of_run(layout, "registration"), layout.model("synthesis")
    if registration is None or not (model / CARD).is_file():
        return None
    seen = registration[registration["participant"].isin(read_card(model).held_out)]
    keys = seen[["participant", "side"]].drop_duplicates().itertuples(index=False, name=None)
    knees = (Knee(participant=str(patient), side=side) for patient, side in sorted(keys))
    paths = (path for knee in knees if (path := layout.part(FIGURES, knee)).is_file())
    parts = [part for path in paths if not (part := read_table(path)).empty]
    return pd.concat(parts, ignore_index=True) if parts else None


def _held_out(figures: pd.DataFrame | None) -> dict[str, Json]:
    if figures is None:
        return {"held_out": {"knees": 0, "reason": NOT_HELD_OUT}}
    return {"held_out": metrics.synthesis_figures(figures)}


def _rounds(layout: RunLayout) -> dict[str, Json]:
    """Return which round of the synthesis is used, and by which figures."""
    if not (layout.model("synthesis-aligned") / CHOICE).is_file():
        return {}
    return {"round_two": asdict(read_choice(layout))}


def _regression(
    name: str,
    predictions: pd.DataFrame | None,
    reference: pd.DataFrame | None,
    reason: str,
    seed: int,
    *,
    mr: pd.DataFrame | None = None,
) -> dict[str, Json]:
    """Return how predictions, and `mr` where given, agree with a reference; `reason` is why there is none."""
    if predictions is None or reference is None:
        why = reason if reference is None else "no table of predictions"
        empty: Mapping[str, Json] = {model: metrics.absent_regression(why) for model in MODELS}
        return {name: empty, f"{name}_comparison": metrics.absent(("delta_icc", "delta_icc_ci"), why)}
    tables: dict[str, pd.DataFrame] = {
        model: with_reference(predictions[predictions["model"] == model], reference, PARAMETERS)
        for model in MODELS
        if model != "school" or (predictions["model"] == model).any()
    }
    held = {model: table for model, table in tables.items() if not table.empty}
    if mr is not None:
        tables["mr"] = with_reference(mr, reference, PARAMETERS)
    found = {model: metrics.regression(table, seed) for model, table in tables.items()}
    return {name: found, f"{name}_comparison": metrics.comparison(held, seed)}


def _against_teacher(predictions: pd.DataFrame | None, seed: int) -> dict[str, Json]:
    """Return how what the students read in CT agrees with what the teacher reads in MR."""
    if predictions is None:
        return {}
    teacher = predictions[predictions["model"] == "teacher"]
    pairs: dict[str, pd.DataFrame] = {
        model: with_reference(predictions[predictions["model"] == model], teacher, PARAMETERS)
        for model in MODELS
        if model != "teacher"
    }
    held = {model: table for model, table in pairs.items() if not table.empty}
    return {
        "regression_teacher": {model: metrics.regression(table, seed) for model, table in held.items()},
        "regression_teacher_comparison": metrics.comparison(held, seed),
    }


def _diagnosis(layout: RunLayout, seed: int) -> dict[str, Json]:
    table = read_of_run(layout, "diagnosis")
    if table is None:
        empty: dict[str, Json] = {
            m: metrics.absent(("auc", "auc_ci"), "no table of diagnoses") for m in NEVER_NULL
        }
        return {**empty, "delong_p": None, "reason": "no table of diagnoses"}
    known = table[table["label"].notna()]
    reasons = read_models(layout).not_estimable
    found: dict[str, Json] = {}
    for model in MODELS:
        chosen = known[known["model"] == model]
        if not chosen.empty:
            found[model] = metrics.diagnosis(chosen, seed)
        elif model in NEVER_NULL or model in reasons:
            found[model] = metrics.absent(
                ("auc", "auc_ci"), reasons.get(model, "no predictions of this model")
            )
    return {**found, **metrics.delong(known)}


def _variants(layout: RunLayout, seed: int) -> dict[str, Json]:
    table = read_of_run(layout, VARIANTS)
    if table is None or table.empty:
        return {}
    return {VARIANTS: metrics.diagnosis_variants(table, seed)}


def _cohort(layout: RunLayout, cohort: Path) -> dict[str, Json]:
    table = read_of_run(layout, "knees")
    counts: dict[str, Json] = {"simulated": has_truth(cohort)}
    if table is None:
        return counts
    counts |= {"knees": len(table), "patients": int(table["participant"].nunique())}
    measures = read_of_run(layout, "measures")
    return counts if measures is None else {**counts, "learnt_from": _learnt_from(table, measures)}


def _learnt_from(knees: pd.DataFrame, measures: pd.DataFrame) -> int:
    """Return the patients with measured values outside a fold: those of the fold that has fewest."""
    folds = knees.dropna(subset=["fold"]).drop_duplicates("participant").set_index("participant")["fold"]
    measured = folds[folds.index.isin(measures["participant"].astype(str).unique())]
    return min((int((measured != fold).sum()) for fold in folds.unique()), default=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """The seed of the bootstrap intervals."""

    seed: int


def evaluate_run(work: Work[EvaluateSettings]) -> Produced:
    """Compute the figures of the run, with the truth of a simulated cohort."""
    layout = work.layout
    assert work.cohort.root is not None, "declared by `truth`"
    evaluate(layout, work.cohort.root, work.settings.seed)
    optional = [layout.table(name) for name in ("truth", "target_errors", FIGURES)]
    there = [path for path in (*optional, layout.model(EXPECTED)) if path.is_file()]
    return Produced(paths=(layout.metrics, layout.models_readme, *there))


STAGE = Stage(
    name="evaluate",
    scope="cohort",
    function=evaluate_run,
    settings=EvaluateSettings,
    needs=(
        "learn-synthesis",
        "learn-aligned",
        "register",
        "compare-synthesis",
        "patches",
        "tables",
        "classify",
        "compare-diagnosis",
    ),
    outside=("truth",),
    outputs=(
        "metrics.json",
        "tables/truth",
        "tables/target_errors",
        f"tables/{FIGURES}",
        "models/expected.json",
        "models/README.md",
    ),
)
