"""Commands about images: measure bone volumes, read knees from CT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srrd_ray.commands.places import given_place
from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import ConfigError
from srrd_ray.storage.paths import parse_path

Addresses = Annotated[tuple[str, ...], tyro.conf.arg(metavar="URL [URL …]")]
BoneLabel = Annotated[str, tyro.conf.arg(metavar="BONE=LABEL")]


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
        **{name: given_place(path) for name, path in places.items()},
    )  # fmt: skip
    return measure_request(request, RayExecutor)


def infer(
    *,
    ct: Annotated[str, tyro.conf.arg(metavar="PATH|URL")],
    out: Path,
    model: Path | None = None,
    side: Literal["L", "R"] | None = None,
    bone_mask: Path | None = None,
    bone_label: tyro.conf.UseAppendAction[tuple[BoneLabel, ...]] = (),
    formats: tuple[Literal["nifti", "dicom", "omezarr"], ...] = (),
    store: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None,
    cpus: int = 0,
) -> int:
    """Read the bone of knees from CT alone: parameter maps, a table and a page each.

    The same command again reads only what is new or has changed. Of several CTs, each gets a folder below
    --out and a row in knees.csv; of a scan of both knees each knee, in L and R. Ends with 1 where one of them
    could not be read.

    Args:
        ct: NIfTI, NRRD, MHA, OME-Zarr or a DICOM folder, in Hounsfield units; or a folder of such CTs, or a
            list of them: a text file (.txt) with a path on each line. Or a study or a series of a DICOMweb
            server, https://…/studies/UID or …/studies/UID/series/UID: it is fetched to --out/fetched first,
            of a study all CT but localisers. Who asks is told in ~/.netrc or by
            SRRD_DICOMWEB_TOKEN=HOST=TOKEN.
        out: folder for the results.
        model: RUN/models/distilled of a finished run, or an exported model. Absent: the reader of CT that
            ships with the package, which learnt from simulated knees alone.
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
        store: root of a DICOMweb server, https://…/dicom-web, that is sent the results in DICOM: into the
            study of the CT. What it has already is not sent again.
        cpus: CPUs of the local cluster, for a folder; 0 takes all.
    """
    from srrd_ray.imaging.dicomweb.address import parse_service

    path = _fetched(ct, parse_path(out))
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.pipeline.inference import InferenceRequest, infer_all, parse_bone_labels
    from srrd_ray.stages.shared.school_files import SHIPPED_READER

    request = InferenceRequest(
        store=None if store is None else parse_service(store),
        ct=path,
        model=parse_path(model) if model else SHIPPED_READER,
        out=parse_path(out),
        side=side,
        bone_mask=given_place(bone_mask),
        bone_labels=parse_bone_labels(bone_label),
        formats=formats,
        cpus=cpus,
    )
    return infer_all(request, RayExecutor)


def fetch(
    addresses: tyro.conf.Positional[Addresses],
    /,
    *,
    out: Path,
    modality: tuple[Literal["CT", "MR"], ...] = ("CT", "MR"),
) -> int:
    """Fetch studies or series from a DICOMweb server into a folder, e.g. for `srrd new-cohort`.

    The same command again fetches what is new. Who asks is told in ~/.netrc or by
    SRRD_DICOMWEB_TOKEN=HOST=TOKEN.

    Args:
        addresses: https://…/studies/UID or …/studies/UID/series/UID, one or several.
        out: folder that gets a folder a study, and below it one a series; their names tell nothing of the
            patient, the files do.
        modality: of the series that are fetched of a study; localisers are not.
    """
    from srrd_ray.imaging.dicomweb.address import parse_address
    from srrd_ray.imaging.dicomweb.fetch import fetch as fetch_images

    if not addresses:
        raise ConfigError("option-invalid", "no address is given", expected="srrd fetch URL … --out FOLDER")
    for address in [parse_address(text) for text in addresses]:
        sys.stdout.write(f"{fetch_images(address, parse_path(out), modality)}\n")
    return 0


def _fetched(ct: str, out: Path) -> Path:
    """Return the path of a CT, below `out` where it is fetched from a server.

    What is not there is told before the libraries of a cluster are loaded, which takes seconds.
    """
    from srrd_ray.imaging.dicomweb.address import is_address, parse_address
    from srrd_ray.imaging.places import require_there

    if not is_address(ct):
        path = parse_path(Path(ct))
        require_there(path)
        return path
    from srrd_ray.imaging.dicomweb.fetch import fetch as fetch_images

    return fetch_images(parse_address(ct), out / "fetched", ("CT",))
