"""How well joint space and subchondral plates are read in a simulated cohort, and what blur makes of them.

``python benchmarks/joint_space.py RUN --knees 18 --seed 1 --profile joint``: the run of a cohort that `srrd simulate` made so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray.core.records import COMPARTMENTS, Knee
from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table
from tests.patches.test_joint_space import medial, planted

TRUTH = {
    "joint_space_least_{}_mm": "joint_space",
    "femoral_plate_{}_mm": "femoral_plate",
    "tibial_plate_{}_mm": "tibial_plate",
}
"""Columns of the table, and the sizes of the simulated knee that they read."""
FWHM = 2.3548


def compared(shape: pd.DataFrame, plans: dict[Knee, object]) -> Iterator[tuple[str, float, float, float]]:
    """Yield column, correlation with the knee's size, mean and SD of the difference, mm."""
    knees = [Knee(participant=row.participant, side=row.side) for row in shape.itertuples()]
    sizes = [sample_anatomy(plans[knee]) for knee in knees]  # type: ignore[arg-type]
    for column, name in TRUTH.items():
        for side, compartment in enumerate(COMPARTMENTS):
            read = shape[column.format(compartment)].to_numpy(dtype=np.float64)
            true = np.array([getattr(one, name)[side] for one in sizes])
            seen = np.isfinite(read)
            off = (read - true)[seen]
            r = float(np.corrcoef(read[seen], true[seen])[0, 1])
            yield column.format(compartment), r, float(off.mean()), float(off.std(ddof=1))


def blurred() -> Iterator[tuple[float, float, float, float, float]]:
    """Yield FWHM of the blur, gap and plate of the planted knee, and least joint space and tibial plate read."""
    for gap_mm, plate_mm in ((4.0, 0.5), (4.0, 1.0), (1.5, 1.0)):
        for blur_mm in (0.25, 0.4, 0.6):
            found = medial(planted(plate_mm=plate_mm, blur_mm=blur_mm, medial_mm=gap_mm))
            yield blur_mm * FWHM, gap_mm, plate_mm, found.least_mm, found.tibial_plate_mm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--knees", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--profile", choices=("quick", "joint", "paper"), default="joint")
    asked = parser.parse_args()
    plans = {plan.knee: plan for plan in simulate_cohort_plan(asked.knees, asked.seed, asked.profile)}
    shape = read_table(RunLayout(root=asked.run).table("shape"))
    print(f"{len(shape)} knees: r with the simulated size, mean and SD of the difference, mm")
    for column, r, mean, sd in compared(shape, dict(plans)):
        print(f"{column:32} {r:5.2f} {mean:+6.2f} {sd:5.2f}")
    print("FWHM of the blur, gap, plate: least joint space, tibial plate, mm")
    for row in blurred():
        print("{:4.2f} {:4.1f} {:4.1f}: {:5.2f} {:5.2f}".format(*row))


if __name__ == "__main__":
    main()
