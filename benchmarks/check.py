"""How long `srrd check` takes for many knees:
what a knee costs beside its voxels (`benchmarks/ingest.py` has those of a paper-size pair).

Run: ``PYTHONPATH=. python benchmarks/check.py FOLDER [--knees 1000] [--slices 24]``. Writes a cohort of small
pairs once (CT as a folder of DICOM slices, MR as NIfTI), a twentieth of them broken (a slice missing),
and checks it with and without voxels.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from srrd_ray.cohort.check import check
from srrd_ray.core.geometry import Geometry
from tests.imaging import makers

SPACING_MM = (0.625, 0.5, 0.5)


def write(root: Path, knees: int, slices: int) -> None:
    root.mkdir(parents=True)
    shape = (slices, 64, 64)
    for n in range(knees):
        rng, name = np.random.default_rng(n), f"sub-A{n:05d}"
        ct = rng.integers(-200, 1200, shape, np.int16)
        files = makers.series(
            root / name / "ct" / f"{name}_side-L_ct",
            geometry=Geometry.axis_aligned(shape, SPACING_MM),
            values=ct,
            uid=str(n),
        )
        if n % 20 == 0:
            files[slices // 2].unlink()
        mr = rng.integers(0, 900, shape, np.int16)
        makers.nifti(root / name / "mr" / f"{name}_side-L_mr.nii.gz", mr.T, np.diag([-0.3, -0.3, 0.7, 1.0]))
    people = "".join(f"A{n:05d}\t60\tF\n" for n in range(knees))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\n" + people)
    rows = "".join(f"A{n:05d}\tL\t{n % 5}\t{int(n % 5 >= 2)}\n" for n in range(knees))
    (root / "knees.tsv").write_text("participant_id\tside\tkl_grade\toa\n" + rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=1000)
    parser.add_argument("--slices", type=int, default=24)
    arguments = parser.parse_args()
    if not arguments.folder.exists():
        write(arguments.folder, arguments.knees, arguments.slices)
    print(f"{arguments.knees} knees, CT of {arguments.slices} DICOM files each, {os.cpu_count()} cores")
    for pixels in (False, True):
        start, cpu = time.perf_counter(), time.process_time()
        report = check(arguments.folder, pixels=pixels)
        took, spent = time.perf_counter() - start, time.process_time() - cpu
        faults = sum(finding.code == "dicom-gap" for finding in report.findings)
        print(
            f"{'voxels too' if pixels else 'headers   '}: {took:.1f} s, {spent:.1f} s of CPU, {faults} gaps "
            f"found"
        )


if __name__ == "__main__":
    main()
