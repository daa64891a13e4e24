"""Commands about a cohort: make a simulated one, check one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srrd_ray.commands.places import given_place
from srrd_ray.storage.paths import parse_path

Column = Annotated[str, tyro.conf.arg(metavar="FIELD=COLUMN")]


def simulate(
    out: tyro.conf.Positional[Path],
    /,
    *,
    knees: int | None = None,
    seed: int = 1,
    profile: Literal["quick", "joint", "paper"] = "quick",
    mr: Literal["bssfp", "dess", "pd", "pd-fs", "t1", "t2", "t2-fs"] = "bssfp",
    dicom: bool = False,
    gallery: bool = False,
    cpus: int = 0,
) -> int:
    """Write a simulated paired cohort, with its truth; the same command again goes on where it stopped.

    Args:
        out: folder of the cohort.
        knees: how many knees, some participants having both: 18 of 16 people, for paper 90 of 80.
        seed: the same seed gives the same knees, and the same bytes with the same libraries on the same kind
            of processor.
        profile: quick takes seconds a knee and shows some of the joint, joint shows it as a whole, paper is
            full size.
        mr: sequence of the MR: balanced SSFP (0.22 mm), DESS (0.37 mm) or proton density (2.5 mm slices).
        dicom: write CT and MR as folders of DICOM files instead of NIfTI.
        gallery: also write gallery.html, which shows the images, the bone by grade, and the scanners.
        cpus: CPUs of the local cluster; 0 takes all.
    """
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.execution.config import ClusterConfig
    from srrd_ray.pipeline.simulated_cohort import SimulationRequest, simulate_cohort
    from srrd_ray.stages.simulate import Scans

    request = SimulationRequest(
        out=parse_path(out),
        seed=seed,
        profile=profile,
        knees=knees,
        scans=Scans(mr=mr, dicom=dicom),
        gallery=gallery,
    )
    return simulate_cohort(request, RayExecutor(ClusterConfig(cpus=cpus)))


def check(
    cohort: tyro.conf.Positional[Path], /, *, config: Path | None = None, json: Path | None = None
) -> int:
    """List every fault of a cohort and write nothing: 0 where there is none, 1 where there is one.

    Ends with 2 where there is no such folder. It also tells what a run of the cohort could not do or show:
    too few patients for the folds, one class.

    Args:
        cohort: folder of the cohort.
        config: YAML file of the run that is planned; what would stop it is then a fault.
        json: also write the findings to this file.
    """
    from srrd_ray.pipeline.limits import check_for_run

    report = check_for_run(parse_path(cohort), config)
    sys.stdout.write(report.table() + "\n")
    if json is not None:
        from srrd_ray.core import serial
        from srrd_ray.storage.atomic import write_text

        write_text(parse_path(json), serial.to_json(report))
    return 1 if report.faulty else 0


def new_cohort(
    cohort: tyro.conf.Positional[Path],
    /,
    *,
    dicom: Path,
    table: Path | None = None,
    mapping: Path | None = None,
    column: tyro.conf.UseAppendAction[tuple[Column, ...]] = (),
    pseudonym_key: Path | None = None,
    copy: bool = False,
) -> int:
    """Lay out a cohort from a folder of DICOM studies and a spreadsheet; the source is only read.

    The first call writes COHORT-mapping.tsv beside the cohort, a row a series: look at it and edit it. It
    names patients: keep it to yourself. The same command with --mapping COHORT-mapping.tsv carries it out,
    and ends as `srrd check` of the new cohort does.

    Args:
        cohort: folder of the new cohort.
        dicom: folder of DICOM studies, of any depth and of several patients.
        table: spreadsheet as CSV or TSV: the patient's id, age, sex, KL, OA; a row a patient or a knee.
        mapping: the mapping to carry out.
        column: name of a column where it is not found, e.g. patient=Pat.-Nr.; fields are patient, side, age,
            sex, kl, kl_l, kl_r, oa, oa_l, oa_r.
        pseudonym_key: file with a secret of at least 16 bytes, from which participants get their names; else
            they are numbered.
        copy: copy the files instead of linking them.
    """
    from srrd_ray.cohort.new_cohort import NewCohort, lay_out, parse_columns, proposal_of

    request = NewCohort(
        out=parse_path(cohort), dicom=parse_path(dicom), table=given_place(table),
        mapping=given_place(mapping), columns=parse_columns(column), key=given_place(pseudonym_key),
        copy=copy,
    )  # fmt: skip
    if mapping is None:
        path, told = proposal_of(request)
        sys.stdout.write(
            f"{told}\nproposed: {path}\nLook at it, then run the command again with --mapping {path}\n"
        )
        return 0
    sys.stdout.write(f"{lay_out(request)}\n")
    return check(cohort)
