"""A run folder as the pipeline leaves it, made in a second from random numbers: tables, transforms, truth, patch index."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core import serial
from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.geometry import matrix4
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.records import (
    COMPARTMENTS,
    BoneTransform,
    Fault,
    Knee,
    Outcome,
    Patch,
    RegistrationQuality,
)
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.patch_store import write_shard
from srrd_ray.storage.tables import CONTRACTS, write_table

REGIONS = [(bone, compartment) for bone in BONES for compartment in COMPARTMENTS]
NOISE = {"measures": 0.15, "teacher": 0.3, "distilled": 0.6, "baseline": 1.0}
CENTRE = dict(zip(PARAMETERS, (0.28, 0.28, 0.65, 1.05), strict=True))
SPREAD = dict(zip(PARAMETERS, (0.07, 0.05, 0.10, 0.15), strict=True))
STAGES = ("ingest", "synthesize", "register", "patches", "measure")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A run and the cohort that it came from."""

    layout: RunLayout
    cohort: Path
    knees: tuple[Knee, ...]

    def copied(self, root: Path) -> Made:
        """Return a copy below `root`, to be changed."""
        shutil.copytree(self.layout.root.parent, root)
        return Made(layout=RunLayout(root=root / "run"), cohort=root / "cohort", knees=self.knees)


def make_run(
    root: Path, *, patients: int = 20, seed: int = 0, simulated: bool = True, folds: int = 4
) -> Made:
    """Return a complete run of `patients` (one in eight with both knees), half of them with osteoarthritis."""
    rng = np.random.default_rng(seed)
    layout, cohort = RunLayout(root=root / "run"), root / "cohort"
    knees = [Knee(participant=f"{n + 1:03d}", side="L" if n % 3 else "R") for n in range(patients)]
    knees += [
        Knee(participant=k.participant, side="R" if k.side == "L" else "L")
        for k in knees[:: max(patients // 2, 1)][:2]
    ]
    knees.sort()
    disease = {k.participant: n % 2 for n, k in enumerate(knees)}
    level = {
        k.participant: rng.normal(size=4) + 0.8 * disease[k.participant] * np.array([1, 1, -1, 0.3])
        for k in knees
    }
    write_table(layout.table("knees"), _knees(knees, disease, folds, rng))
    patches, truth = _patches(layout, knees, level, rng)
    for name in ("measures", "predictions"):
        write_table(
            layout.table(name),
            _values(name, patches, truth, {k: f % folds for f, k in enumerate(sorted(disease))}, rng),
            CONTRACTS[name],
        )
    _poses(layout, cohort if simulated else None, knees, rng)
    if simulated:
        _cells(cohort, patches, truth)
    write_table(layout.table("registration"), _registration(knees, rng))
    write_table(layout.table("tune"), _tune(rng))
    write_text(layout.run_json, json.dumps(_manifest(knees, rng)))
    return Made(layout=layout, cohort=cohort, knees=tuple(knees))


def _knees(knees: list[Knee], disease: dict[str, int], folds: int, rng: np.random.Generator) -> pd.DataFrame:
    order = sorted(disease)
    return pd.DataFrame(
        {
            "participant": [k.participant for k in knees],
            "side": [k.side for k in knees],
            "kl_grade": [
                int(rng.integers(2, 5) if disease[k.participant] else rng.integers(0, 2)) for k in knees
            ],
            "oa": [disease[k.participant] for k in knees],
            "age": [
                round(float(np.clip(rng.normal(58 + 5 * disease[k.participant], 9), 35, 85)), 1)
                for k in knees
            ],
            "sex": ["F" if rng.random() < 0.55 else "M" for _ in knees],
            "fold": [order.index(k.participant) % folds for k in knees],
        }
    )


def _patches(
    layout: RunLayout, knees: list[Knee], level: dict[str, NDArray[np.float64]], rng: np.random.Generator
) -> tuple[list[Patch], NDArray[np.float64]]:
    patches: list[Patch] = []
    values: list[NDArray[np.float64]] = []
    half = -(-len(knees) // 2)
    for index in range(2):
        part: list[Patch] = []
        for knee in knees[index * half : (index + 1) * half]:
            for bone, compartment in REGIONS:
                shift = rng.normal(scale=0.4, size=4)
                for centre in rng.uniform(-2, 2, size=(4, 3)) + _region_centre(bone, compartment):
                    x, y, z = (float(v) for v in centre)
                    part.append(
                        Patch(store=layout.shard(index), row=len(part), knee=knee, bone=bone, compartment=compartment,
                              center_lps_mm=(x, y, z), depth_mm=7.0)
                    )  # fmt: skip
                    values.append(level[knee.participant] + shift)
        write_shard(layout.shard(index), {"ct": np.zeros((len(part), 2, 2, 2), np.int16)}, part)
        patches += part
    truth = np.array(values) * list(SPREAD.values()) * 0.7 + list(CENTRE.values())
    truth = np.maximum(truth, 0.05)
    truth[:, 3] = truth[:, 0] / truth[:, 1]
    return patches, truth


def _region_centre(bone: BoneName, compartment: str) -> NDArray[np.float64]:
    return np.array([22.0 if compartment == "medial" else -22.0, 0.0, 9.0 if bone == "femur" else -9.0])


def _values(
    name: str,
    patches: list[Patch],
    truth: NDArray[np.float64],
    folds: dict[str, int],
    rng: np.random.Generator,
) -> pd.DataFrame:
    keys = {
        "participant": [p.knee.participant for p in patches],
        "side": [p.knee.side for p in patches],
        "bone": [p.bone for p in patches],
        "compartment": [p.compartment for p in patches],
        "store": [p.store.stem for p in patches],
        "row": [p.row for p in patches],
    }
    parts = []
    for model in (name,) if name == "measures" else ("teacher", "baseline", "distilled"):
        noise = rng.normal(size=truth.shape) + np.repeat(rng.normal(size=(len(truth) // 16, 4)), 16, axis=0)
        noisy = np.maximum(truth + NOISE[model] * noise * list(SPREAD.values()), 0.02)
        part = pd.DataFrame(keys | dict(zip(PARAMETERS, noisy.T, strict=True)))
        if name == "measures":
            part = part.assign(coverage=1.0, method="drawn")
        else:
            part["model"] = model
            part["fold"] = part["participant"].map(folds)
            part = part.assign(
                **{PARAMETER_OF[p].predictive_sd: SPREAD[p] * NOISE[model] for p in PARAMETERS}
            )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _poses(layout: RunLayout, cohort: Path | None, knees: list[Knee], rng: np.random.Generator) -> None:
    for index, knee in enumerate(knees):
        truth: dict[str, object] = {}
        landmarks: dict[str, object] = {}
        for bone in BONES:
            pose = np.eye(4)
            pose[:3, 3] = rng.normal(scale=5, size=3)
            points = rng.uniform(-20, 20, size=(12, 3))
            found = pose.copy()
            found[:3, 3] += rng.normal(scale=0.15, size=3)
            refused = index == 1 and bone == "tibia"
            quality = RegistrationQuality(
                accepted=not refused, reason="dice-low: 0.41, at least 0.80" if refused else "", dice=0.41 if refused else 0.95,
                surface_mm=0.4, correlation=0.9,
            )  # fmt: skip
            record = BoneTransform(
                knee=knee, bone=bone, fixed="ct", moving="mr", matrix=matrix4(found), quality=quality
            )
            write_pose(layout, record)
            truth[bone], landmarks[bone] = pose.tolist(), points.tolist()
        if cohort is not None:
            data = {
                "schema": "srrd-truth/1",
                "transforms": truth,
                "landmarks_ct_lps": landmarks,
                "kl_grade": 1,
                "oa": 0,
            }
            folder = cohort / "derivatives" / "truth" / f"sub-{knee.participant}"
            write_text(folder / f"{knee.key}_truth.json", json.dumps(data | {"nuisance": {}}))


def _cells(cohort: Path, patches: list[Patch], truth: NDArray[np.float64]) -> None:
    rows: dict[Knee, list[dict[str, object]]] = {}
    grid = np.stack(
        np.meshgrid(*[np.arange(n) * 3.0 - (n - 1) * 1.5 for n in (5, 4, 4)], indexing="ij"), -1
    ).reshape(-1, 3)
    for start in range(0, len(patches), 4):
        patch, (bvtv, th, sp, _) = patches[start], truth[start]
        for x, y, z in grid + _region_centre(patch.bone, patch.compartment):
            n_bone = round(64000 * float(np.clip(bvtv, 0.02, 0.98)))
            rows.setdefault(patch.knee, []).append(
                {"bone": patch.bone, "compartment": patch.compartment, "x_mm": x, "y_mm": y, "z_mm": z, "cell_mm": 3.0,
                 "n_total": 64000, "n_bone": n_bone, "sum_th_mm": n_bone * th, "n_marrow": 64000 - n_bone,
                 "sum_sp_mm": (64000 - n_bone) * sp, "voxel_mm": 0.075}
            )  # fmt: skip
    for knee, held in rows.items():
        folder = cohort / "derivatives" / "truth" / f"sub-{knee.participant}"
        write_table(folder / f"{knee.key}_cells.parquet", pd.DataFrame(held))


def _registration(knees: list[Knee], rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {"participant": k.participant, "side": k.side, "bone": bone, "accepted": not (n == 1 and bone == "tibia"),
         "reason": "dice-low: 0.41, at least 0.80" if n == 1 and bone == "tibia" else "", "dice": rng.uniform(0.92, 0.97),
         "surface_mm": rng.uniform(0.2, 0.6), "correlation": rng.uniform(0.8, 0.95), "mae_hu": rng.normal(80, 10),
         "psnr_db": rng.normal(27, 1), "ssim": rng.uniform(0.8, 0.9)}
        for n, k in enumerate(knees)
        for bone in BONES
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _tune(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for trial in range(5):
        epochs, ceiling = (8 if trial < 3 else 3), 0.55 + 0.05 * trial % 0.2
        weights = {"temperature": 1.5 + trial, "kd_weight": 0.2 * trial, "feature_weight": 0.1 * trial,
                   "relation_weight": 0.01 * trial, "lr": 1e-3, "weight_decay": 0.01}  # fmt: skip
        status = "winner" if trial == 2 else "completed" if trial < 3 else "stopped"
        for epoch in range(epochs):
            icc = ceiling * (1 - np.exp(-(epoch + 1) / 2)) + rng.normal(scale=0.01)
            rows.append(
                {"fold": 0, "trial": trial, **weights, "epoch": epoch + 1, "icc": icc, "status": status}
            )
    return pd.DataFrame(rows)


def _manifest(knees: list[Knee], rng: np.random.Generator) -> dict[str, object]:
    broken = Fault(
        code="registration-refused",
        message="[registration-refused] dice below bound in tibia: got 0.41, expected 0.80. <script>alert('x')</script>",
    )
    outcomes = [
        Outcome(knee=knee, stage=stage, status="failed" if bad else "done", seconds=float(rng.uniform(1, 9)),
                error=broken if bad else None)
        for n, knee in enumerate(knees)
        for stage in STAGES
        for bad in [n == 1 and stage == "register"]
    ]  # fmt: skip
    outcomes += [
        Outcome(knee=None, stage=stage, status="done", seconds=40.0)
        for stage in ("distil", "tune", "classify")
    ]
    return {
        "schema": "srrd-run/1",
        "software": "0.1.0",
        "python": "3.11.9",
        "libraries": {"numpy": np.__version__, "ray": "2.55.0"},
        "cohort": "c0ffee" * 8,
        "state": "running",
        "exit_code": None,
        "config": {"seed": 0, "diagnosis": {"inner_folds": 4}, "distillation": {"epochs": 12, "folds": 3}},
        "stages": [
            {"stage": stage, "seconds": float(rng.uniform(2, 80))}
            for stage in (*STAGES, "distil", "tune", "classify")
        ],
        "outcomes": [json.loads(serial.to_json(outcome)) for outcome in outcomes],
    }
