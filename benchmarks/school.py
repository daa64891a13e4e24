"""How the school's readers read knees of a cohort that nothing was learnt from: its hospitals, its patients.

Run: ``OMP_NUM_THREADS=1 python benchmarks/school.py READERS FOLDER [--knees 40] [--seed 4242] [--sequence bssfp]``.
Simulates the knees of a cohort (profile `quick`), cuts cubes at the true bones and poses (a registration's errors
added), and prints ICC(A,1) with 95 % limits, r, bias and RMSE over patients' means against the exact truth, of the
reader of MR and of the reader of CT. The cubes are kept in FOLDER: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from srrd_ray.simulation import mr
from srrd_ray.simulation.cohort import sample_acquisition
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.school import SchoolKnee
from srrd_ray.stages.shared.school_cubes import read_all_cubes, write_school_cubes
from srrd_ray.stages.shared.school_labels import label_table
from srrd_ray.stages.shared.school_model import READERS, judge, load_reader, reader_fingerprint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", type=str, help="folder that jobs/school.py made")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=40)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--sequence", choices=get_args(mr.Sequence), default="bssfp")
    given = parser.parse_args()
    plans = simulate_cohort_plan(given.knees, given.seed, "quick")
    data = read_all_cubes([cubes_of(plan, given.folder, given.sequence) for plan in plans])
    fingerprint = reader_fingerprint(given.readers, "mr")
    outside = (~label_table(data, fingerprint)["learnt_from"]).sum()
    print(f"{len(data)} cubes of {len(plans)} knees, {given.sequence}; MR of {outside} unlike the school's")
    for kind in READERS:
        for name, one in judge(load_reader(given.readers, kind), kind, data).items():
            print(
                f"{kind} {name:6} ICC {one.icc:.2f} [{one.low:.2f}, {one.high:.2f}]  r {one.r:.2f}  "
                f"bias {one.bias:+.3f}  RMSE {one.rmse:.3f}"
            )


def cubes_of(plan: SimulatedKnee, folder: Path, sequence: mr.Sequence) -> Path:
    path = folder / f"seed-{plan.seed}_{sequence}" / f"{plan.knee.key}.zarr"
    if not path.with_suffix(".parquet").is_file():
        scans = sample_acquisition(plan, sequence)
        write_school_cubes(path, SchoolKnee(plan=plan, micro=None, scans=scans))
        print(path.stem, flush=True)
    return path


if __name__ == "__main__":
    main()
