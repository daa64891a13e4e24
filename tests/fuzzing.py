"""Small sound files of every format, and what becomes of them when some bytes are changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk
import tifffile
import zarr
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from srrd_ray.cohort.tables import survey
from srrd_ray.core.errors import SrrdError
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.source import ReadRules
from srrd_ray.pipeline.configuration import read_config
from tests.imaging import makers

RULES = ReadRules(max_gib=0.25)
HEADER = 2048
NUMBERS = (b"0", b"-1", b"nan", b"inf", b"1e308", b"99999999999999999999", b"4294967296", b"", b"1 1", b"%s")
BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A reader, and what it reads: `make` writes it into a folder, `read` returns the bytes of what was read."""

    make: Callable[[Path], object]
    read: Callable[[Path], int]


def read_volume(path: Path) -> int:
    """Return the bytes of a volume that makes sense: a shape of its grid, finite steps above zero."""
    image = read_image(path, rules=RULES)
    volume = image.volume
    if volume.array.shape != volume.geometry.shape or not np.isfinite(volume.geometry.affine).all():
        raise AssertionError("a volume that is none")
    if min(volume.geometry.spacing_mm) <= 0 or volume.array.nbytes > RULES.max_gib * 2**30:
        raise AssertionError("a volume beyond its limits")
    return int(volume.array.nbytes)


def _only(folder: Path) -> Path:
    return next(p for p in sorted(folder.iterdir()))


def _nifti(name: str) -> Target:
    def make(folder: Path) -> None:
        makers.nifti(folder / name, makers.bone((9, 8, 10)))

    return Target(make=make, read=lambda folder: read_volume(_only(folder)))


def _nrrd(encoding: str) -> Target:
    header = {
        "space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [1, 2, 3],
        "space units": ["mm"] * 3, "kinds": ["domain"] * 3, "encoding": encoding,
    }  # fmt: skip

    def make(folder: Path) -> None:
        nrrd.write(str(folder / "a.nrrd"), makers.bone((9, 8, 10)), header)

    return Target(make=make, read=lambda folder: read_volume(_only(folder)))


def _mha(*, compressed: bool) -> Target:
    def make(folder: Path) -> None:
        image = sitk.GetImageFromArray(makers.bone((9, 8, 10)))
        sitk.WriteImage(image, str(folder / "a.mha"), useCompression=compressed)

    return Target(make=make, read=lambda folder: read_volume(_only(folder)))


def _tiff(folder: Path) -> None:
    pages = makers.bone((9, 8, 10)).astype(np.int16)
    tifffile.imwrite(
        folder / "a.tif", pages, imagej=True, resolution=(20.0, 20.0),
        metadata={"spacing": 0.05, "unit": "mm", "axes": "ZYX"},
    )  # fmt: skip


def _tiff_slices(folder: Path) -> None:
    (folder / "stack").mkdir()
    for number, page in enumerate(makers.bone((9, 8, 10)).astype(np.uint16)):
        tifffile.imwrite(folder / "stack" / f"s_{number:03d}.tif", page, compression="zlib")


def _zarr(version: int) -> Target:
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]}
    block = {"axes": axes, "version": "0.4", "datasets": [level]}

    def make(folder: Path) -> None:
        group = zarr.create_group(folder / "a.zarr", zarr_format=2 if version == 2 else 3)
        group.create_array("0", data=makers.bone((9, 8, 10)), chunks=(8, 8, 8))
        scales = {"multiscales": [block]}
        group.update_attributes(scales if version == 2 else {"ome": {"version": "0.5"} | scales})

    return Target(make=make, read=lambda folder: read_volume(_only(folder)))


def _dicom(syntax: str | None) -> Target:
    def make(folder: Path) -> None:
        makers.series(folder / "ct", edit=lambda _, dataset: makers.encode(dataset, syntax))

    return Target(make=make, read=lambda folder: read_volume(_only(folder)))


def _enhanced(folder: Path) -> None:
    makers.enhanced(folder / "a.dcm")


def _cohort(folder: Path) -> None:
    makers.cohort(folder / "cohort", people=("A1", "B2", "C3"))
    for image in folder.rglob("*.nii.gz"):
        image.write_bytes(b"")  # only the tables are read; empty files are not changed


def _read_cohort(folder: Path) -> int:
    cohort, faults = survey(folder / "cohort")
    if faults:
        raise faults[0]
    return len(cohort.knees)


def _yaml(folder: Path) -> None:
    text = "seed: 3\npatches: {layers: 2}\ndistillation:\n  folds: 3\ncluster: {cpus: 2, gpu: never}\n"
    (folder / "run.yaml").write_text(text)


def _read_yaml(folder: Path) -> int:
    read_config(folder / "run.yaml")
    return 1


TARGETS: dict[str, Target] = {
    "nifti": _nifti("a.nii"),
    "nifti-gz": _nifti("a.nii.gz"),
    "nrrd": _nrrd("raw"),
    "nrrd-gz": _nrrd("gzip"),
    "nrrd-bz2": _nrrd("bzip2"),
    "nrrd-text": _nrrd("ascii"),
    "mha": _mha(compressed=False),
    "mha-zlib": _mha(compressed=True),
    "tiff": Target(make=_tiff, read=lambda folder: read_volume(_only(folder))),
    "tiff-slices": Target(make=_tiff_slices, read=lambda folder: read_volume(_only(folder))),
    "zarr-2": _zarr(2),
    "zarr-3": _zarr(3),
    "dicom": _dicom(None),
    "dicom-implicit": _dicom(ImplicitVRLittleEndian),
    "dicom-deflated": _dicom(DeflatedExplicitVRLittleEndian),
    "dicom-rle": _dicom(RLELossless),
    "dicom-jpeg-ls": _dicom(JPEGLSLossless),
    "dicom-enhanced": Target(make=_enhanced, read=lambda folder: read_volume(_only(folder))),
    "tables": Target(make=_cohort, read=_read_cohort),
    "configuration": Target(make=_yaml, read=_read_yaml),
}


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return `content` with one to four changes, most of them in its first bytes."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        end = len(data) if rng.random() < 0.3 else min(len(data), HEADER)
        at = int(rng.integers(end))
        length = int(rng.integers(1, 9))
        match int(rng.integers(7)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + length] = bytes([BYTES[int(rng.integers(len(BYTES)))]]) * length
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + 4 * length]
            case 4:
                del data[at:]
            case 5:
                data[at : at + 4] = rng.bytes(4)
            case _:
                data[:] = _other_number(bytes(data), rng)
    return bytes(data)


def _other_number(content: bytes, rng: np.random.Generator) -> bytes:
    """Return `content` with one of the numbers of its text replaced."""
    places = [i for i, byte in enumerate(content[:HEADER]) if 48 <= byte <= 57]
    if not places:
        return content
    start = end = places[int(rng.integers(len(places)))]
    while end < len(content) and 46 <= content[end] <= 57:
        end += 1
    return content[:start] + NUMBERS[int(rng.integers(len(NUMBERS)))] + content[end:]


def broken(sound: Path, folder: Path, seed: int) -> Path:
    """Write the case of a seed into `folder`: what lies in `sound`, one file of it changed."""
    rng = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    chosen = files[int(rng.integers(len(files)))]
    chosen.write_bytes(mutate(chosen.read_bytes(), rng))
    return folder


def try_case(target: Target, sound: Path, folder: Path, seed: int) -> str:
    """Return how the case of a seed ends: `read`, the code of an error, or what went wrong after `BAD`."""
    broken(sound, folder, seed)
    try:
        target.read(folder)
    except SrrdError as error:
        return error.code
    except Exception as error:
        return f"BAD {type(error).__name__}: {error}"[:300]
    return "read"
