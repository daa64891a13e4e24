"""The CLAIM 2024 checklist of a run: what it knows is filled in, the rest is the author's.

Tejani et al., Radiology: Artificial Intelligence 6(4):e240300, 2024: 44 items, named here in short.
"""

from __future__ import annotations

from collections.abc import Mapping

from srrd_ray.core.headline import REFERENCES, judged_by
from srrd_ray.core.json_tree import Json, at
from srrd_ray.report.content import interval, number
from srrd_ray.report.methods import LABELS
from srrd_ray.report.page import Grid

AUTHOR = "to be filled by the author"
ITEMS: tuple[str, ...] = (
    "Title: AI methodology and its category",
    "Abstract: structured summary",
    "Background, intended use and role",
    "Aims, objectives and hypotheses",
    "Prospective or retrospective",
    "Study goal",
    "Data sources",
    "Inclusion and exclusion criteria",
    "Data preprocessing",
    "Selection of data subsets",
    "De-identification",
    "Handling of missing data",
    "Image acquisition protocol",
    "Reference standard: definition",
    "Reference standard: rationale",
    "Reference standard: source of annotations",
    "Annotation of the test set",
    "Inter- and intrarater variability",
    "How data were assigned to partitions",
    "Level at which partitions are disjoint",
    "Intended sample size",
    "Description of the model",
    "Software libraries and versions",
    "Initialisation of the model",
    "Training approach",
    "Selection of the final model",
    "Ensembling",
    "Performance metrics",
    "Statistical significance and uncertainty",
    "Robustness or sensitivity analysis",
    "Explainability or interpretability",
    "Evaluation on internal data",
    "Testing on external data",
    "Clinical trial registration",
    "Numbers included and excluded",
    "Demographic and clinical characteristics",
    "Performance with uncertainty",
    "Diagnostic accuracy and its precision",
    "Failure analysis",
    "Limitations",
    "Implications for practice",
    "Protocol or further technical details",
    "Availability of software, model and data",
    "Funding and role of funders",
)
_AT_RIDGE = "Random by the seed; the head starts from a ridge regression on texture statistics"
_AT_READER = (
    "The student: the network of CT that learnt from simulated knees; the baseline: random by the seed"
)
SECTIONS: tuple[tuple[int, str], ...] = (
    (1, "Title and abstract"),
    (3, "Introduction"),
    (5, "Study design"),
    (7, "Data"),
    (14, "Reference standard"),
    (19, "Data partitions"),
    (21, "Testing data"),
    (22, "Model"),
    (25, "Training"),
    (28, "Evaluation"),
    (35, "Results"),
    (40, "Discussion"),
    (42, "Other information"),
)
"""First item of each section."""


def claim_table(manifest: Json, metrics: Json) -> Grid:
    """Return the checklist: number, section, item, and what the run knows of it, or that its author does."""
    known = claim_answers(manifest, metrics)
    rows = tuple(
        (str(item), _section(item), name, known.get(item, AUTHOR)) for item, name in enumerate(ITEMS, start=1)
    )
    caption = (
        "CLAIM, 2024 update; items in short, see the publication for their full text. What a run cannot "
        f"know is marked “{AUTHOR}”; check the rest as well."
    )
    return Grid(
        header=("Item", "Section", "What is asked", "This run"), rows=rows, numeric=False, caption=caption
    )


def _section(item: int) -> str:
    return [name for first, name in SECTIONS if first <= item][-1]


def claim_answers(manifest: Json, metrics: Json) -> dict[int, str]:
    """Return what the run knows, by item."""
    return {**_of_settings(at(manifest, "config"), manifest), **_of_metrics(metrics)}


def _of_settings(config: Json, manifest: Json) -> dict[int, str]:
    if not isinstance(config, Mapping):
        return {}
    folds, learning = at(config, "distillation", "folds"), at(config, "distillation")
    begun = (at(learning, "labels"), at(learning, "start"))
    libraries = at(manifest, "libraries")
    versions = libraries if isinstance(libraries, Mapping) else {}
    return {
        9: "Images in HU and MR units, resampled as in Methods; cubes of 12.8 mm below the joint surface",
        12: "What fails a stage is left out from then on, with its reason (Flow); nothing is imputed",
        14: f"BV/TV, Tb.Th, Tb.Sp, Tb.N: {LABELS.get(str(at(learning, 'labels')), AUTHOR)} (Methods); "
        "diagnosis as in the cohort's table",
        19: f"{folds}-fold cross-validation, by the seed {at(config, 'seed')}, balanced in osteoarthritis",
        20: "Patient: both knees and all cubes of a patient share a fold",
        22: "Methods; every setting under Provenance",
        23: f"SRRD-Ray {at(manifest, 'software')}; "
        + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        24: _AT_READER if begun == ("reader", "reader") else _AT_RIDGE,
        25: f"AdamW, {at(learning, 'student_epochs')} epochs, batches of {at(learning, 'batch_size')}",
        26: f"{at(config, 'tune', 'trials')} trials a fold on inner validation patients (Search)",
        27: "None here (one network a fold, out of fold); new knees are read by the mean of all folds",
        28: "ICC(A,1), ICC(C,1), CCC, bias, RMSE, limits of agreement; AUC, Brier, ECE, calibration slope",
        29: "95 % intervals over patients; DeLong with clustered knees; BCa bootstrap",
        31: "Maps of the parameters in the bone; eight named features in a linear classifier",
        32: "Parameters and diagnosis: out of fold, on the patients of this cohort; synthetic CT: on "
        "held-out patients where it says so",
    }


def _of_metrics(metrics: Json) -> dict[int, str]:
    if not isinstance(metrics, Mapping):
        return {}
    known = {
        35: f"{at(metrics, 'cohort', 'knees')} knees of {at(metrics, 'cohort', 'patients')} patients (Flow)",
        36: "Age, sex, side, grade (Cohort)",
        37: _agreement(metrics),
        38: _accuracy(metrics),
        39: "Refused bones and failed knees with their reasons (What failed); misread knees: " + AUTHOR,
        40: "Limits of the method (Limits); of the study: " + AUTHOR,
    }
    if at(metrics, "cohort", "simulated") is True:
        known |= {
            7: "SIMULATED knees; no patient data",
            11: "Not applicable: simulated",
            13: "That of the simulator",
            16: "By the software and the simulator's exact truth; no person",
            17: "By the software and the simulator's exact truth; no person",
        }
    return known


def _agreement(metrics: Json) -> str:
    key = judged_by(metrics)
    one = at(metrics, f"{key}_comparison", "mean_icc", "distilled")
    value = f"{number(at(one, 'icc'))} {interval(at(one, 'icc_ci'))}".rstrip()
    return f"Mean ICC(A,1) with {REFERENCES[key]} {value}"


def _accuracy(metrics: Json) -> str:
    one = at(metrics, "diagnosis", "distilled")
    return f"AUC {number(at(one, 'auc'))} {interval(at(one, 'auc_ci'))}".rstrip()
