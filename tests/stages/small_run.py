"""A run of six patients with toy cubes: shards, measures and folds on disk, and a driver that trains in a plain loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray.core.learner import Learner, Shard
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Knee, Patch
from srrd_ray.distillation.data import DistillationData
from srrd_ray.stages.shared.fold_training import (
    DistilPlan,
    distilled_learners,
    save_models,
    teacher_and_baseline_learners,
)
from srrd_ray.storage import patch_store
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table
from srrd_ray.storage.weights import save_tensors
from tests.distillation.toys import SMALL, toy

PATIENTS = 6
FOLDS = {f"p{n}": n % 3 for n in range(PATIENTS)}
WITHOUT_MR, WITHOUT_VALUE, BARELY_COVERED = 0, 1, 2


def write_run(root: Path, data: DistillationData | None = None) -> RunLayout:
    """Write two shards of three patients each; rows 0, 1 and 2 of the first cannot be trained on."""
    layout, data = RunLayout(root=root), data or toy(8 * PATIENTS)
    for shard in range(2):
        rows = np.arange(24) + 24 * shard
        _write_shard(layout.shard(shard), data.rows(rows), lacking=(WITHOUT_MR,) if shard == 0 else ())
    targets = data.targets.astype(np.float64).copy()
    targets[WITHOUT_VALUE, 2] = np.nan
    table = pd.DataFrame(targets, columns=list(PARAMETERS))
    table["store"] = [f"shard-{row // 24:05d}" for row in range(len(data))]
    table["row"] = np.arange(len(data)) % 24
    table["bone"], table["compartment"], table["side"], table["method"] = "tibia", "medial", "R", "toy"
    table["participant"] = [str(name) for name in data.patients]
    table["coverage"] = np.where(np.arange(len(data)) == BARELY_COVERED, 0.1, 1.0)
    write_table(layout.table("measures"), table, "morphometry")
    blank = dict.fromkeys(("kl_grade", "oa", "age", "sex"))
    knees = pd.DataFrame({"participant": list(FOLDS), "side": "R", **blank, "fold": list(FOLDS.values())})
    write_table(layout.table("knees"), knees)
    return layout


def _write_shard(path: Path, data: DistillationData, lacking: tuple[int, ...]) -> None:
    has_mr = np.ones(len(data), dtype=np.bool_)
    has_mr[list(lacking)] = False
    arrays = {name: getattr(data, name) for name in ("ct", "ct_mask", "ct_spacing_mm", "mr", "mr_mask")}
    patches = [
        Patch(
            store=path,
            row=row,
            knee=Knee(participant=str(patient), side="R"),
            bone="femur",
            compartment="medial" if row % 2 == 0 else "lateral",
            center_lps_mm=(0.0, 0.0, float(row)),
            depth_mm=7.0,
        )
        for row, patient in enumerate(data.patients)
    ]
    patch_store.write_shard(path, {**arrays, "has_mr": has_mr}, patches)


def plan_of(layout: RunLayout) -> DistilPlan:
    shards = (layout.shard(0), layout.shard(1))
    return DistilPlan(layout=layout, shards=shards, folds=FOLDS, config=SMALL, seed=1, winners={})


def drive(learners: Iterator[Learner], weights: Path, epochs: int = 1) -> Sequence[str]:
    """Train each learner before asking for the next, keep its weights, and return their names."""
    names = []
    for learner in learners:
        for epoch in range(epochs):
            learner.train_epoch(epoch, Shard(), learner.modules())
        tensors = {
            f"{m}.{k}": v for m, module in learner.modules().items() for k, v in module.state_dict().items()
        }
        save_tensors(weights / f"{learner.name}.safetensors", tensors, {})
        names.append(learner.name)
    return names


def train_all(layout: RunLayout) -> None:
    """Train and keep the models of every fold."""
    plan, weights = plan_of(layout), layout.root / "weights"
    drive(teacher_and_baseline_learners(plan), weights)
    save_models(plan, weights, ("teacher", "baseline"))
    drive(distilled_learners(plan), weights)
    save_models(plan, weights, ("distilled",))
