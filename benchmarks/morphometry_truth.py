"""Error of the measures of MR and CT against simulated truth, by method:
bias and RMS error over regions of simulated knees.

Run: ``python benchmarks/morphometry_truth.py 4``:
that many knees, four weight-bearing regions of 12 x 12 x 15 mm each.
The bones' masks and poses are the true ones, so that the error is that of measuring alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONE_LABELS, BONES, BoneName
from srrd_ray.core.geometry import transform_points
from srrd_ray.core.records import Compartment, Patch
from srrd_ray.core.volume import Volume
from srrd_ray.morphometry import MorphometryConfig, bone_maps, ct_bone_fraction, region_measures
from srrd_ray.morphometry.calibration import MARROW_HU
from srrd_ray.morphometry.resolve import box_mask, trabecular_mask
from srrd_ray.simulation.cohort import KneeImages, simulate
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.truth import BLOCK_CELLS, CELL_MM
from srrd_ray.stages import measure as stage

SEED = 7
NAMES = ("BV/TV", "Tb.Th", "Tb.Sp", "Tb.N")
BOX_MM = (BLOCK_CELLS[0] * CELL_MM, BLOCK_CELLS[1] * CELL_MM, BLOCK_CELLS[2] * CELL_MM)
Row = dict[str, object]


def truth_of(images: KneeImages) -> dict[tuple[BoneName, Compartment], dict[str, float]]:
    found = {}
    cells = pd.DataFrame([{name: getattr(c, name) for name in c.__slots__} for c in images.cells])
    for (bone, compartment), own in cells.groupby(["bone", "compartment"]):
        total = own[["n_total", "n_bone", "sum_th_mm", "n_marrow", "sum_sp_mm"]].sum()
        bvtv, thickness = total.n_bone / total.n_total, total.sum_th_mm / total.n_bone
        middle = own[["x_mm", "y_mm", "z_mm"]].mean()
        found[bone, compartment] = dict(
            zip(
                (*NAMES, "x", "y", "z"),
                (bvtv, thickness, total.sum_sp_mm / total.n_marrow, bvtv / thickness, *middle),
                strict=True,
            )
        )
    return found


def mr_labels(images: KneeImages, bone: BoneName) -> NDArray[np.bool_]:
    """Return the bone on the MR's grid, through its true pose."""
    grid, ct = images.mr.geometry, images.ct_labels
    points = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)).reshape(-1, 3)
    index = ct.geometry.lps_to_index(transform_points(np.linalg.inv(images.transforms[bone]), points)).T
    inside = ndimage.map_coordinates((ct.array == BONE_LABELS[bone]).astype(np.float32), index, order=1) > 0.5
    return np.asarray(inside.reshape(grid.shape))


def mr_rows(images: KneeImages, patches: list[Patch]) -> Iterator[Row]:
    image = Volume(array=images.mr.array.astype(np.float32), geometry=images.mr.geometry)
    configs = {
        "MR, marrow reference": MorphometryConfig(box_mm=BOX_MM),
        "MR, marrow reference, direct Tb.Th": MorphometryConfig(box_mm=BOX_MM, thickness="direct"),
        'MR, method="paper"': MorphometryConfig(box_mm=BOX_MM, method="paper"),
    }
    for bone in BONES:
        inside, own = mr_labels(images, bone), [p for p in patches if p.bone == bone]
        for name, config in configs.items():
            for row in stage._bone_rows(image, inside, images.transforms[bone], own, config):
                yield {"method": name, **{key: row[key] for key in ("bone", "compartment", *NAMES)}}


def ct_rows(images: KneeImages, patches: list[Patch]) -> Iterator[Row]:
    """Yield the measures of the CT on its own grid: bone by a fixed HU, and by the calibrated fraction."""
    grid, spacing = images.ct.geometry, images.ct.geometry.spacing_mm
    for bone in BONES:
        inside = images.ct_labels.array == BONE_LABELS[bone]
        by_marrow = {"-50 HU": MARROW_HU, "estimated": None}
        fractions = {
            f"CT, calibration, marrow {name}": ct_bone_fraction(
                images.ct.array, inside, spacing, marrow_hu=marrow
            )
            for name, marrow in by_marrow.items()
        }
        fixed = Volume(array=fractions["CT, calibration, marrow -50 HU"], geometry=grid)
        kept = trabecular_mask(fixed, inside, MorphometryConfig())
        for patch in (p for p in patches if p.bone == bone):
            roi = kept & box_mask(grid, np.eye(4), patch.center_lps_mm, BOX_MM)
            about = {"bone": bone, "compartment": patch.compartment}
            found = region_measures(bone_maps((images.ct.array > 400) & inside, spacing, field=inside), roi)
            if found.thickness and found.separation and found.bvtv:
                values = (found.bvtv, found.thickness.mean, found.separation.mean, found.tb_n_per_mm)
                yield {"method": "CT, threshold 400 HU", **about, **dict(zip(NAMES, values, strict=True))}
            for name, fraction in fractions.items():
                share = float(fraction[roi].mean(dtype=np.float64))
                yield {"method": name, **about, **dict.fromkeys(NAMES), "BV/TV": share}


def of_knee(plan: SimulatedKnee) -> Iterator[Row]:
    images = simulate(plan)
    truth = truth_of(images)
    patches = [
        Patch(
            store=Path("none"),
            row=n,
            knee=plan.knee,
            bone=bone,
            compartment=compartment,
            center_lps_mm=(t["x"], t["y"], t["z"]),
            depth_mm=7.0,
        )
        for n, ((bone, compartment), t) in enumerate(truth.items())
    ]
    for row in (*mr_rows(images, patches), *ct_rows(images, patches)):
        true = truth[row["bone"], row["compartment"]]
        yield row | {f"true {name}": true[name] for name in NAMES}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    rows = pd.DataFrame([row for plan in simulate_cohort_plan(count, SEED, "quick") for row in of_knee(plan)])
    means = {name: rows.drop_duplicates(f"true {name}")[f"true {name}"].mean() for name in NAMES}
    print("mean truth: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))
    print("| method | regions | " + " | ".join(f"{name} bias, RMS error, r" for name in NAMES) + " |")
    print("|---|---|" + "---|" * len(NAMES))
    for method, own in rows.groupby("method", sort=False):
        cells = []
        for name in NAMES:
            pair = own[[name, f"true {name}"]].astype(float).dropna()
            if pair.empty:
                cells.append("none")
                continue
            error = pair[name] - pair[f"true {name}"]
            cells.append(
                f"{error.mean():+.3f}, {np.sqrt((error**2).mean()):.3f}, {pair.corr().iloc[0, 1]:.2f}"
            )
        print(f"| {method} | {len(own)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
