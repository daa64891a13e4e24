"""Simulate: one planned knee in, its files of a cohort out, images as NIfTI or as DICOM series."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray.core.records import Knee
from srrd_ray.imaging.dicom.writer import write_series
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.simulation.cohort import KneeImages, View, simulate
from srrd_ray.simulation.frozen import COHORT, constants_sha256
from srrd_ray.simulation.mr import Sequence as MrSequence
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.dicom_scans import ct_header, ct_pixels, mr_header, mr_pixels
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import remove_tree
from srrd_ray.storage.tables import write_table

TRUTH_SCHEMA = "srrd-truth/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scans:
    """How the knees of a cohort are imaged and kept.

    It is the MR sequence, and whether images are folders of DICOM files.
    """

    mr: MrSequence = "bssfp"
    dicom: bool = False


def simulate_knee(
    plan: SimulatedKnee, out: Path, view: View | None = None, scans: Scans | None = None
) -> list[Path]:
    """Return the paths of the images and the truth of one knee, written under the cohort root `out`.

    The path of the truth is the last. Each file is whole or absent, and the same bytes for a plan whatever
    the order or the worker, of one kind of processor. Images that an earlier simulation wrote there in the
    other format are removed: a knee has one CT and one MR.
    """
    scans = scans or Scans()
    return write_knee(plan, simulate(plan, view, scans.mr), out, scans)


def write_knee(plan: SimulatedKnee, images: KneeImages, out: Path, scans: Scans) -> list[Path]:
    """Return the paths of `simulate_knee`, of a knee that is simulated already."""
    paths = knee_paths(plan.knee, out, dicom=scans.dicom)
    ct, mr, labels, cells, truth = paths
    if scans.dicom:
        write_series(ct, ct_header(plan, images), ct_pixels(images), images.ct.geometry)
        write_series(mr, mr_header(plan, images, scans.mr), mr_pixels(images), images.mr.geometry)
    else:
        write_nifti(ct, images.ct)
        write_nifti(mr, images.mr)
    write_nifti(labels, images.ct_labels)
    write_table(cells, pd.DataFrame([asdict(cell) for cell in images.cells]))
    write_text(truth, truth_json(plan, images))
    for old in knee_paths(plan.knee, out, dicom=not scans.dicom)[:2]:
        old.unlink(missing_ok=True) if scans.dicom else remove_tree(old)
    return paths


def knee_paths(knee: Knee, out: Path, *, dicom: bool = False) -> list[Path]:
    """Return where the CT, MR, CT labels, cells and truth of a knee go under the cohort root."""
    sub, kind = f"sub-{knee.participant}", "" if dicom else ".nii.gz"
    truth = out / "derivatives" / "truth" / sub
    return [
        out / sub / "ct" / f"{knee.key}_ct{kind}",
        out / sub / "mr" / f"{knee.key}_mr{kind}",
        truth / f"{knee.key}_ct-labels.nii.gz",
        truth / f"{knee.key}_cells.parquet",
        truth / f"{knee.key}_truth.json",
    ]


def write_tables(plans: Sequence[SimulatedKnee], out: Path) -> list[Path]:
    """Write participants.tsv and knees.tsv, sorted by participant and side; return their paths."""
    people = {p.knee.participant: (p.knee.participant, p.age, p.sex, p.bmi) for p in plans}
    knees = sorted((p.knee.participant, p.knee.side, p.kl_grade, p.oa) for p in plans)
    return [
        _write_tsv(
            out / "participants.tsv", ("participant_id", "age", "sex", "bmi"), sorted(people.values())
        ),
        _write_tsv(out / "knees.tsv", ("participant_id", "side", "kl_grade", "oa"), knees),
    ]


def _write_tsv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    lines = ["\t".join(str(v) for v in row) for row in (header, *rows)]
    write_text(path, "\n".join(lines) + "\n")
    return path


def truth_json(plan: SimulatedKnee, images: KneeImages) -> str:
    """Return the truth of a knee as JSON.

    It has transforms CT LPS -> MR LPS, landmarks, grade, covariates, nuisance.
    """
    truth = {
        "schema": TRUTH_SCHEMA,
        "cohort": COHORT,
        "constants_sha256": constants_sha256(),
        "participant": plan.knee.participant,
        "side": plan.knee.side,
        "kl_grade": plan.kl_grade,
        "oa": plan.oa,
        "hospital": plan.hospital,
        "transforms": images.transforms,
        "landmarks_ct_lps": {
            bone: np.round(points, 4).tolist() for bone, points in images.landmarks_ct_lps.items()
        },
        "nuisance": images.nuisance,
    }
    return json.dumps(truth, indent=2, sort_keys=True, allow_nan=False) + "\n"


__all__ = [
    "Scans",
    "SimulatedKnee",
    "knee_paths",
    "simulate_cohort_plan",
    "simulate_knee",
    "write_knee",
    "write_tables",
]
