"""How hard the simulated cohort is, before any model of this project looks at it:
the figures that froze `cohort-v2`.

Run: ``python benchmarks/calibration.py FOLDER [--knees 90] [--seed 2026] [--voxel 0.06] [--processes 2]``.
For each knee of a plan of profile `paper` it simulates the CT (each hospital's own voxels, kernel and noise)
round the joint and the exact truth of the four weight-bearing regions, one file a knee,
so that the same command goes on where it stopped. Then, patients never split:

- a ridge regression of the true BV/TV, Tb.Th, Tb.Sp and Tb.N on 20 hand-made features of the CT of a
  region (mean, spread, quantiles, differences over lags): ICC(A,1) of patients' means, ten folds by
  patient, the penalty chosen inside;
- a logistic regression of osteoarthritis on the true parameters (mean and medial-lateral difference of each):
  AUC, ten folds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import ct
from srrd_ray.simulation.cohort import (
    TRUTH_VOXEL_MM,
    VIEWS,
    PosedKnee,
    View,
    image_grids,
    pose_knee,
    sample_acquisition,
)
from srrd_ray.simulation.frozen import COHORT, constants_sha256
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.scene import Extent
from srrd_ray.simulation.truth import BLOCK_CELLS, CELL_MM, truth_cells
from srrd_ray.stages.shared.truth import parameters_of
from srrd_ray.statistics import auc, icc

AROUND_REGIONS = Extent(low=(-36.0, -14.0, -20.0), high=(36.0, 14.0, 20.0))
REGION = ["participant", "side", "bone", "compartment"]
LAGS_MM = (0.5, 1.0, 1.5, 2.5)
FOLDS = 10


def regions_of(plan: SimulatedKnee, voxel_mm: float, with_ct: bool = True) -> pd.DataFrame:
    """Return the four regions of a knee: true parameters and the features of their CT."""
    view: View = replace(VIEWS["quick"], truth_voxel_mm=voxel_mm)
    knee = pose_knee(plan, view.extent if with_ct else AROUND_REGIONS)
    image = _ct(plan, knee, view) if with_ct else None
    cells = pd.DataFrame(
        [asdict(cell) for cell in truth_cells(knee.scene, knee.sessions["ct"], knee.anatomy, voxel_mm)]
    )
    rows = [
        {
            "participant": plan.knee.participant,
            "side": plan.knee.side,
            "bone": bone,
            "compartment": compartment,
        }
        | dict(parameters_of(part))
        | (features_of(image, part[["x_mm", "y_mm", "z_mm"]].to_numpy().mean(axis=0)) if image else {})
        for (bone, compartment), part in cells.groupby(["bone", "compartment"], observed=True)
    ]
    facts = {
        "oa": plan.oa,
        "kl_grade": plan.kl_grade,
        "hospital": plan.hospital,
        "age": plan.age,
        "bmi": plan.bmi,
    }
    return pd.DataFrame(rows).assign(**facts)


def _ct(plan: SimulatedKnee, knee: PosedKnee, view: View) -> Volume[np.int16]:
    scans = sample_acquisition(plan)
    grid = image_grids(plan, view, knee.sessions, scans)["ct"]
    from_world = knee.sessions["ct"].bone_from_world()
    return ct.acquire(knee.scene, from_world, grid, scans.ct_protocol, scans.ct_session)


def features_of(image: Volume[np.int16], center_lps_mm: NDArray[np.float64]) -> dict[str, float]:
    """Return 20 numbers of the block of CT under a joint surface: what one would try before any learning."""
    half = np.array(BLOCK_CELLS)[::-1] * CELL_MM / 2
    corners = image.geometry.lps_to_index(np.array([center_lps_mm - half, center_lps_mm + half]))
    low, high = np.sort(np.rint(corners).astype(int), axis=0)
    block = image.array[tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    quantiles = dict(
        zip(
            ("p05", "p25", "p50", "p75", "p95"),
            np.quantile(block, (0.05, 0.25, 0.5, 0.75, 0.95)),
            strict=True,
        )
    )
    plain = {
        "mean": block.mean(),
        "log_sd": np.log(block.std()),
        "skew": stats.skew(block.ravel()),
        "kurtosis": stats.kurtosis(block.ravel()),
    }
    lags = {
        f"lag{axis}_{lag}": 0.5 * np.log(differences(block, axis, lag / image.geometry.spacing_mm[axis]))
        for axis in range(3)
        for lag in LAGS_MM
        if (axis, lag) != (0, 0.5)
    }
    return {f"ct_{name}": float(value) for name, value in (plain | quantiles | lags).items()}


def differences(block: NDArray[np.float64], axis: int, lag: float) -> float:
    """Return the mean squared difference of voxels `lag` apart along an axis,
    interpolated between whole lags.
    """
    low = max(int(lag), 1)
    both = [
        np.mean(
            (
                np.take(block, range(n, block.shape[axis]), axis)
                - np.take(block, range(block.shape[axis] - n), axis)
            )
            ** 2
        )
        for n in (low, low + 1)
    ]
    return float(np.interp(lag, (low, low + 1), both))


def ridge_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the out-of-fold predictions of the four parameters of every region."""
    features = table.filter(like="ct_").to_numpy()
    out = table[REGION].copy()
    for name in PARAMETERS:
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 25)))
        predicted = np.empty(len(table))
        for train, test in GroupKFold(FOLDS).split(features, groups=table["participant"]):
            predicted[test] = model.fit(features[train], table[name].to_numpy()[train]).predict(
                features[test]
            )
        out[name] = predicted
    return out


def agreement(table: pd.DataFrame, predicted: pd.DataFrame, keys: Sequence[str]) -> dict[str, float]:
    """Return ICC(A,1) of each parameter over the means of `keys`."""
    truth, ours = (t.groupby(list(keys), sort=True)[list(PARAMETERS)].mean() for t in (table, predicted))
    return {name: icc(ours[name].to_numpy(), truth[name].to_numpy())[0] for name in PARAMETERS}


def knee_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each knee the mean over its regions and the
    medial-lateral difference of every true parameter.
    """
    sides = (
        table.groupby(["participant", "side", "compartment"], sort=True)[list(PARAMETERS)].mean().unstack()
    )
    medial, lateral = (sides.xs(name, axis=1, level="compartment") for name in ("medial", "lateral"))
    out = ((medial + lateral) / 2).join(medial - lateral, rsuffix="_difference")
    return out.join(table.groupby(["participant", "side"], sort=True)["oa"].first()).reset_index()


def true_auc(knees: pd.DataFrame, seeds: int = 5) -> float:
    """Return the AUC of osteoarthritis from true parameters, out of fold by patient,
    the mean of several splits.
    """
    features = knees.drop(columns=["participant", "side", "oa"]).to_numpy()
    labels = knees["oa"].to_numpy()
    found = []
    for seed in range(seeds):
        scores = np.empty(len(knees))
        for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
            features, labels, knees["participant"]
        ):
            model = make_pipeline(
                StandardScaler(),
                LogisticRegression(C=0.3, max_iter=2000),
            )
            scores[test] = model.fit(features[train], labels[train]).decision_function(features[test])
        found.append(auc(labels, scores))
    return float(np.mean(found))


def one(plan: SimulatedKnee, voxel_mm: float, with_ct: bool, path: Path) -> str:
    regions_of(plan, voxel_mm, with_ct).to_parquet(path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return plan.knee.key


def gather(folder: Path, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the regions of every knee of the plan, simulating those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    plans = simulate_cohort_plan(arguments.knees, arguments.seed, "paper")
    paths = {plan: folder / f"{plan.knee.key}.parquet" for plan in plans}
    missing = [plan for plan in plans if not paths[plan].is_file()]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(one, plan, arguments.voxel, not arguments.truth_only, paths[plan]) for plan in missing
        ]
        for number, job in enumerate(as_completed(jobs), start=1):
            print(f"{number}/{len(missing)} {job.result()}", flush=True)
    return pd.concat([pd.read_parquet(path) for path in paths.values()], ignore_index=True)


def summary(table: pd.DataFrame) -> dict[str, object]:
    found: dict[str, object] = {
        "cohort": COHORT,
        "constants_sha256": constants_sha256(),
        "patients": int(table["participant"].nunique()),
        "knees": int(len(table) / 4),
        "true_parameters_auc": true_auc(knee_table(table)),
        "truth": {
            name: {"mean": float(table[name].mean()), "sd": float(table[name].std())} for name in PARAMETERS
        },
    }
    if "ct_mean" in table:
        predicted = ridge_predictions(table)
        for unit, keys in (("patient", ["participant"]), ("region", REGION)):
            icc_of = agreement(table, predicted, keys)
            found[f"ridge_icc_{unit}"] = icc_of | {"mean": float(np.mean(list(icc_of.values())))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=90)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--voxel", type=float, default=TRUTH_VOXEL_MM)
    parser.add_argument("--truth-only", action="store_true", help="no CT: the AUC alone, for many knees")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    found = summary(gather(arguments.folder, arguments))
    text = json.dumps(found, indent=2)
    (arguments.folder / "summary.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
