"""`srrd`: one subcommand a job. Exit codes: 0 all done, 1 some knee failed, 2 usage, 3 cluster or storage."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from srrd_ray import __version__
from srrd_ray.core.bones import BoneName
from srrd_ray.core.console import INTERRUPTED, ended_with
from srrd_ray.storage.paths import parse_path

if TYPE_CHECKING:
    from srrd_ray.pipeline.supervised_run import RunCommand

app = tyro.extras.SubcommandApp()
OPTIONS = """With any command: -v, --verbose logs more, -q, --quiet only warnings and errors.
srrd --version prints the version."""
LEVELS = {"-v": logging.DEBUG, "--verbose": logging.DEBUG, "-q": logging.WARNING, "--quiet": logging.WARNING}
BoneLabel = Annotated[str, tyro.conf.arg(metavar="BONE=LABEL")]


@app.command
def simulate(
    out: tyro.conf.Positional[Path],
    /,
    *,
    knees: int | None = None,
    seed: int = 1,
    profile: Literal["quick", "paper"] = "quick",
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
        profile: quick takes seconds a knee, paper is full size.
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


@app.command
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


@app.command
def config(file: tyro.conf.Positional[Path | None] = None, /) -> int:
    """Print every setting of a run with its default, what it means and what is allowed; or check a file.

    What it prints is a configuration itself. Of a file it prints what differs from the defaults; it ends with
    2 where a key or a value is not allowed, and names it.

    Args:
        file: YAML file of a run, to check.
    """
    from srrd_ray.pipeline.configuration import read_config
    from srrd_ray.pipeline.configuration_text import commented_yaml, differences

    given = read_config(_place(file))
    sys.stdout.write(commented_yaml(given) if file is None else differences(given))
    return 0


@app.command
def run(
    *,
    cohort: Path,
    out: Path,
    config: Path | None = None,
    until: str = "report",
    overwrite: bool = False,
    verify: bool = False,
    pseudonym_key: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Run the whole pipeline; the same command again resumes.

    Args:
        cohort: folder of the cohort.
        out: folder of the run, on storage that every node sees.
        config: YAML file of the run; absent keys keep their defaults.
        until: the last stage to run.
        overwrite: go on in a folder that holds a run of another configuration.
        pseudonym_key: file with a secret of at least 16 bytes; participants then have other names in all that
            is written.
        verify: read every byte of what is finished, and redo what was altered or torn since.
        dry_run: print what would be done, and why what is done would be redone; nothing is run or written.
    """
    from srrd_ray.pipeline.supervised_run import RunCommand, supervised

    command = RunCommand(
        cohort=str(cohort), out=str(out), config=_text(config), until=until, overwrite=overwrite,
        verify=verify, pseudonym_key=_text(pseudonym_key), log_level=logging.getLogger("srrd_ray").level,
    )  # fmt: skip
    if dry_run:
        from srrd_ray.pipeline.plan import print_plan

        return print_plan(command.request())
    return supervised(command)


@app.command
def measure(
    image: tyro.conf.Positional[Path],
    /,
    *,
    source: Annotated[Literal["bone", "mr", "ct"] | None, tyro.conf.arg(name="from")] = None,
    roi: Path | None = None,
    roi_label: int | None = None,
    bone: BoneName | None = None,
    bone_mask: Path | None = None,
    bone_label: int | None = None,
    threshold: Annotated[str, tyro.conf.arg(metavar="auto|binary|VALUE")] = "auto",
    marrow: float | None = None,
    mineral: float | None = None,
    method: Literal["3d", "paper"] = "3d",
    mode: Literal["exact", "bonej"] = "exact",
    surface: Literal["voxel", "subvoxel"] = "voxel",
    spacing: Annotated[str | None, tyro.conf.arg(metavar="MM|Z,Y,X")] = None,
    out: Path | None = None,
    maps: Path | None = None,
    picture: Path | None = None,
    blocks: int = 0,
    cpus: int = 0,
) -> int:
    """Measure trabecular bone in one volume and print JSON, or in a folder of volumes and write a table.

    A volume is NIfTI, NRRD, MHA, TIFF (pages or a folder of slices), OME-Zarr or a DICOM folder. Ends with 1
    where a volume has no value (no bone, nothing but bone, an empty region) or cannot be read.

    Args:
        image: the volume, or a folder of volumes: then a table is written, a row each, and the same command
            again resumes.
        source: bone is an image that resolves trabeculae (microCT, HR-pQCT, binary); mr and ct are scans of a
            knee, of which the bone fraction is measured, and thickness where the voxels allow it. Absent:
            bone, but what looks like a scan of a person is refused.
        roi: mask of the region that is averaged, 0 and one other value; never a wall. The threshold of auto
            is that of this region. For one volume, be it a folder of slices, one mask; for a folder of
            volumes a folder of masks of the same names.
        roi_label: the label of the region, in a mask of several.
        bone: which bone; finds it in CT where no mask is given, and adds the thickness of the subchondral
            plate.
        bone_mask: mask of one bone, marrow included; needed for mr. Of labels femur 1 and tibia 2, and no
            others, --bone chooses. For a folder: a folder of masks of the same names.
        bone_label: the label of the bone, in a mask with labels of any other kind.
        threshold: auto is Otsu after a Gaussian of one voxel, in the region or what was scanned, for ct a
            calibration; binary takes every non-zero voxel as bone; a number is a grey value, for ct HU.
        marrow: value of marrow alone: grey (mr; estimated where absent) or HU (ct; -50 where absent).
        mineral: HU of mineralised bone tissue alone, from a phantom (ct; 1559 where absent).
        method: paper is the published 2D algorithm (mr), for comparison.
        mode: bonej gives the thickness as BoneJ2 does.
        surface: where bone ends: at the voxels, or between them for less bias in thin structures (slower; one
            piece only).
        spacing: voxel size in mm in place of that of the file, one number or three.
        out: also write the result there: .json, or a table as .parquet or .csv.
        maps: folder for maps of thickness and spacing, mm, for mr and ct also of the bone fraction: NRRD,
            which opens in 3D Slicer; in blocks also OME-Zarr.
        picture: PNG of the middle slices coloured by thickness and spacing, with histograms.
        blocks: edge of the blocks in voxels, to measure an OME-Zarr larger than memory; 0 uses blocks of 256
            where needed.
        cpus: CPUs of the local cluster, for blocks and folders; 0 takes all.
    """
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.measurement.recipe import Recipe
    from srrd_ray.measurement.request import Request
    from srrd_ray.measurement.request import measure as measure_request

    recipe = Recipe(
        source=source, threshold=threshold, mode=mode, surface=surface, method=method,
        bone=bone, marrow=marrow, mineral=mineral, roi_label=roi_label, bone_label=bone_label,
        spacing=spacing,
    )  # fmt: skip
    places = {"roi": roi, "bone_mask": bone_mask, "out": out, "maps": maps, "picture": picture}
    request = Request(
        image=parse_path(image), recipe=recipe, blocks=blocks, cpus=cpus,
        **{name: _place(path) for name, path in places.items()},
    )  # fmt: skip
    return measure_request(request, RayExecutor)


@app.command
def infer(
    *,
    model: Path,
    ct: Path,
    out: Path,
    side: Literal["L", "R"] | None = None,
    bone_mask: Path | None = None,
    bone_label: tyro.conf.UseAppendAction[tuple[BoneLabel, ...]] = (),
    formats: tuple[Literal["nifti", "dicom", "omezarr"], ...] = (),
    cpus: int = 0,
) -> int:
    """Read the bone of knees from CT alone: parameter maps, a table and a page each.

    The same command again reads only what is new or has changed. Of a folder of CTs, each gets a folder below
    --out and a row in knees.csv; ends with 1 where one of them could not be read.

    Args:
        model: RUN/models/distilled of a finished run.
        ct: NIfTI, NRRD, MHA, OME-Zarr or a DICOM folder, in Hounsfield units; or a folder of such CTs.
        out: folder for the results.
        side: L or R; where absent, as the name of the file (…_side-L…), the names in the mask or else the
            fibula says.
        bone_mask: your own bones, cortex and marrow included, in place of those that are found: one file of
            labels, or a folder of files (femur_left, tibia …), in any format that is read, also a DICOM
            segmentation, on any grid of the CT's space. Labels are known by name, as TotalSegmentator,
            nnU-Net (dataset.json beside) and 3D Slicer write them, or as femur 1 and tibia 2. For a folder
            of CTs a folder of masks of the same names.
        bone_label: femur=75 or tibia=2, once a bone: the label in the mask, whatever the names say.
        formats: of the results. NIfTI, CSV and Parquet are always written; dicom adds segmentations, maps
            and a structured report in the study of the CT, omezarr the CT, bones and maps for viewers.
            Without nifti and dicom, dicom where the CT is a DICOM series.
        cpus: CPUs of the local cluster, for a folder; 0 takes all.
    """
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.pipeline.inference import InferenceRequest, infer_all, parse_bone_labels

    request = InferenceRequest(
        ct=parse_path(ct),
        model=parse_path(model),
        out=parse_path(out),
        side=side,
        bone_mask=_place(bone_mask),
        bone_labels=parse_bone_labels(bone_label),
        formats=formats,
        cpus=cpus,
    )
    return infer_all(request, RayExecutor)


@app.command
def report(run: tyro.conf.Positional[Path], /) -> int:
    """Rebuild the report of a run from its tables.

    Args:
        run: folder of the run.
    """
    from srrd_ray.pipeline.current import read_outputs_of_run
    from srrd_ray.stages.shared.run_page import build_report
    from srrd_ray.storage.layout import RunLayout

    sys.stdout.write(f"{build_report(read_outputs_of_run(RunLayout(root=parse_path(run))))[0]}\n")
    return 0


@app.command
def status(run: tyro.conf.Positional[Path], /, *, json: bool = False) -> int:
    """Print the status of a run, from its files alone; nothing is written and no cluster is needed.

    Ends with 0 while the run goes on, with 3 where it was interrupted or stopped by cluster or storage, else
    as the run itself did: 0 all done, 1 some knee failed, 2 refused. Also 2 where the folder holds no run.

    Args:
        run: folder of the run.
        json: print all of it as JSON.
    """
    from srrd_ray.core import serial
    from srrd_ray.pipeline.status import read_status
    from srrd_ray.pipeline.status_text import text_of
    from srrd_ray.storage.layout import RunLayout

    found = read_status(RunLayout(root=parse_path(run)))
    sys.stdout.write(serial.to_json(found) if json else text_of(found))
    return found.command_code


@app.command
def doctor(*, cohort: Path | None = None, out: Path | None = None, config: Path | None = None) -> int:
    """Tell what of this machine, and of the places of a run, would stop or slow it, and what to do.

    A line a check: OK, WARN (it goes on, with less) or FAIL. Ends with 0, or with 3 where a check is FAIL.
    Nothing is left behind, and nothing but a place on s3:// is looked for in the network.

    Args:
        cohort: folder of a cohort: whether it can be reached and read.
        out: folder of a run to be: whether it can be written, and whether locks hold there.
        config: YAML file of the run, for the CPUs, memory and GPUs that it asks for.
    """
    from srrd_ray.cluster.doctor import Examination, print_checks
    from srrd_ray.pipeline.configuration import read_config

    cluster = read_config(_place(config)).cluster
    return print_checks(Examination(cluster=cluster, cohort=_place(cohort), out=_place(out)))


@app.command
def support(run: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> int:
    """Write what is needed to help with a run, without patient data, into a zip file.

    Read it before you send it.

    Args:
        run: folder of the run.
        out: the zip file.
    """
    from srrd_ray.pipeline.support_bundle import write_bundle
    from srrd_ray.storage.layout import RunLayout

    sys.stdout.write(f"{write_bundle(RunLayout(root=parse_path(run)), parse_path(out))}\n")
    return 0


def _place(path: Path | None) -> Path | None:
    return None if path is None else parse_path(path)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    levels = [LEVELS[word] for word in given if word in LEVELS]
    rest = [word for word in given if word not in LEVELS]
    sys.exit(ended_with(lambda: _run_command(rest), levels[-1] if levels else logging.INFO))


def _run_command(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write(f"srrd-ray {__version__}\n")
        return 0
    code: int = app.cli(args=arguments, prog="srrd", description=OPTIONS, config=(tyro.conf.DisallowNone,))
    return code


def drive() -> None:
    """Drive a run in this process, the child of `srrd run`, and exit with its code."""
    from srrd_ray.execution.supervision import leashed
    from srrd_ray.pipeline.supervised_run import RunCommand

    say_code = leashed()
    command = RunCommand.from_json(sys.argv[2])
    code = ended_with(lambda: _drive(command), command.log_level)
    if code != INTERRUPTED:  # ended by a signal: the parent says so
        say_code(code)
    sys.exit(code)


def _drive(command: RunCommand) -> int:
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.pipeline.run import run as run_pipeline

    return run_pipeline(command.request(), RayExecutor)


if __name__ == "__main__":
    main()
