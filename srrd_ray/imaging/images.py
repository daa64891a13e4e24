"""The reader of foreign images: NIfTI, NRRD, MetaImage, TIFF, OME-Zarr or a DICOM
folder become a volume in LPS millimetres.

What is wrong is refused with a code, what is corrected or doubtful is a note; nothing is guessed.
Pickles and archives are never opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality, Side, Unit
from srrd_ray.core.scanned import resample_scanned
from srrd_ray.core.volume import Volume
from srrd_ray.imaging import both_knees, foreign_zarr, is_knee, metaimage, nifti, nrrd_reader, tiff
from srrd_ray.imaging.dicom import pixels as dicom_pixels
from srrd_ray.imaging.dicom import series as dicom_series
from srrd_ray.imaging.dicom.pixels import compact
from srrd_ray.imaging.folder_images import has_dicom
from srrd_ray.imaging.places import broken_link_error, is_pointer, require_there
from srrd_ray.imaging.source import (
    AIR_HU,
    DEFAULT_RULES,
    NO_ORIENTATION,
    SPACING_ABSENT,
    Format,
    Note,
    ReadRules,
    SourceHeader,
    SourceImage,
    check_extent,
    check_grid,
)
from srrd_ray.imaging.tiff_slices import TIFFS, tiff_files
from srrd_ray.storage.paths import local_copy

Scanned: TypeAlias = NDArray[np.bool_] | None

SHEAR = 1e-3
_UNSAFE = (".pkl", ".pickle", ".npy", ".npz", ".pt", ".pth", ".ckpt", ".joblib", ".mat")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".tar.bz2")


def image_format(path: Path) -> Format:
    """Return how `path` is stored, from its name or, for a folder, from what lies in it.

    Raises
    ------
    InputError
        `image-missing`, `format-unsafe` (pickled objects), `format-archive` or `format-unknown`.
    """
    name = path.name.lower()
    require_there(path)
    if path.is_file():
        _refuse_pointer(path)
    if path.is_dir():
        return _folder_format(path)
    if name.endswith(_UNSAFE):
        raise InputError(
            "format-unsafe",
            "a file that may run code when it is opened",
            where=path.name,
            expected="NIfTI, NRRD, MHA, OME-Zarr or DICOM for images; only safetensors for weights",
            todo="Convert it where you trust it.",
        )
    if name.endswith(_ARCHIVES):
        raise InputError(
            "format-archive", "archives are not unpacked", where=path.name, todo="Unpack it yourself."
        )
    if name.endswith((".nii", ".nii.gz")):
        return "nifti"
    if name.endswith((".nrrd", ".nhdr")):
        return "nrrd"
    if name.endswith((".mha", ".mhd")):
        return "mha"
    if name.endswith(TIFFS):
        return "tiff"
    if name.endswith((".dcm", ".ima")):
        return "dicom"
    raise InputError(
        "format-unknown",
        "not an image format that is read here",
        where=path.name,
        expected=".nii, .nii.gz, .nrrd, .mha, .tif, .ome.zarr or a folder of DICOM files or TIFF slices",
        todo=_conversion(name),
    )


def _conversion(name: str) -> str:
    """Return how a file of another ending is brought in."""
    if name.endswith((".img", ".hdr")):
        return "Convert the pair of .hdr and .img to .nii.gz, e.g. with 3D Slicer or nibabel."
    return "Convert it to .nii.gz, e.g. with 3D Slicer; of a DICOM file without an ending give its folder."


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if is_pointer(file.read(64)):
            raise broken_link_error(path.name, "a pointer of git-lfs or git-annex")


def _folder_format(path: Path) -> Format:
    if path.name.lower().endswith(".zarr") or foreign_zarr.is_group(path):
        return "ome-zarr"
    return "tiff" if not has_dicom(path) and tiff_files(path) else "dicom"


def read_header(
    path: Path,
    modality: Modality | None = None,
    *,
    side: Side | None = None,
    rules: ReadRules = DEFAULT_RULES,
) -> SourceHeader:
    """Return what the headers of an image say, every check made that needs no voxel.

    Raises
    ------
    InputError
        Whatever is wrong with it, under the code of the fault.
    """
    with local_copy(path) as here:
        return _read_header(here, modality, side, rules)


def _read_header(path: Path, modality: Modality | None, side: Side | None, rules: ReadRules) -> SourceHeader:
    kind = image_format(path)
    if kind == "dicom":
        stack = dicom_series.without_pixels(dicom_series.read_stack(path, modality, side, rules))
        return SourceHeader(
            format=kind, geometry=stack.geometry, notes=stack.notes, technique=stack.slices[0].technique
        )
    geometry, notes = plain_geometry(path, kind, modality, rules)
    if modality is not None:
        check_grid(geometry.shape, geometry, path.name)
        notes += check_extent(geometry, path.name, rules)
    geometry, shear = _unshear(path, geometry, rules)
    return SourceHeader(format=kind, geometry=geometry, notes=notes + shear)


def read_image(
    path: Path,
    modality: Modality | None = None,
    *,
    side: Side | None = None,
    rules: ReadRules = DEFAULT_RULES,
) -> SourceImage:
    """Return the image at `path` as int16 (where every value is a whole number that fits) or float32.

    Parameters
    ----------
    modality
        `ct` (HU), `mr` (arbitrary units), or none for any volume, e.g. of microCT;
        anatomy is then not checked.
    side
        The side that knees.tsv states; a header that names the other one is refused.

    Raises
    ------
    InputError
        As `read_header`; also `image-truncated`, `dicom-pixels`, `voxels-not-finite`, `image-constant`,
        `image-air`, `both-knees`, `wrong-modality` and, for a CT, `not-a-knee`.
    """
    with local_copy(path) as here:
        if image_format(here) == "dicom":
            image = _read_dicom(here, dicom_series.read_stack(here, modality, side, rules), modality)
        else:
            image = _read_plain(here, modality, rules)
    if modality is None:
        return image
    volume, notes = both_knees.crop_to_side(image.volume, modality, side, path.name)
    doubts = is_knee.check_anatomy(volume, modality, path.name, rules)
    scanned = _crop_scanned(image, volume.geometry)
    return replace(image, volume=volume, scanned=scanned, notes=image.notes + notes + doubts)


def _crop_scanned(image: SourceImage, part: Geometry) -> Scanned:
    """Return what was scanned of a part of an image."""
    if image.scanned is None or part == image.volume.geometry:
        return image.scanned
    start = np.rint(image.volume.geometry.lps_to_index(part.index_to_lps((0, 0, 0)))).astype(int)
    return image.scanned[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))]


def _read_plain(path: Path, modality: Modality | None, rules: ReadRules) -> SourceImage:
    header = _read_header(path, modality, None, rules)
    geometry, _ = plain_geometry(path, header.format, modality, rules)
    values, scanned, notes = _replace_nonfinite(path, plain_values(path, header.format, rules), modality)
    _check_content(path, values, modality)
    volume = _volume(values, geometry)
    if header.format == "ome-zarr" and scanned is None:
        scanned = foreign_zarr.read_scanned(path)
    if not geometry.matches(header.geometry):
        scanned = resample_scanned(scanned, geometry, header.geometry)
        volume = compact(volume.resample_onto(header.geometry, fill=AIR_HU if modality == "ct" else 0.0))
    unit: Unit = "HU" if modality == "ct" else "au"
    return SourceImage(volume=volume, unit=unit, scanned=scanned, notes=header.notes + notes)


def _read_dicom(path: Path, stack: dicom_series.Stack, modality: Modality | None) -> SourceImage:
    image = dicom_pixels.read_voxels(stack)
    lost = next((note for note in image.notes if note.code == dicom_pixels.NOT_HOUNSFIELD), None)
    if lost is not None and modality is not None:
        raise InputError(
            lost.code, lost.message, where=path.name, expected="Hounsfield units",
            todo="Export the series again with its RescaleSlope and RescaleIntercept.",
        )  # fmt: skip
    unit: Unit = stack.unit if lost is None else "au"
    _check_content(path, image.volume.array, "ct" if unit == "HU" else None)
    notes = stack.notes + image.notes
    return replace(image, unit=unit, notes=notes, technique=stack.slices[0].technique)


def plain_geometry(
    path: Path, kind: Format, modality: Modality | None, rules: ReadRules
) -> tuple[Geometry, tuple[Note, ...]]:
    """Return the grid of an image that is no DICOM, and what its header leaves open."""
    if kind == "nifti":
        header = nifti.read_header(path, rules)
        return header.geometry, header.notes
    if kind == "ome-zarr":
        plain = foreign_zarr.read_header(path, rules)
    elif kind == "tiff":
        plain = tiff.read_header(path, rules)
    else:
        plain = nrrd_reader.read_header(path, rules) if kind == "nrrd" else metaimage.read_header(path, rules)
    if modality is not None and not plain.oriented:
        raise InputError(
            NO_ORIENTATION,
            "the file does not say where the patient's left is",
            where=path.name,
            expected="an orientation in LPS or RAS",
            todo="Convert it again from DICOM, keeping the orientation.",
        )
    notes = plain.notes + _note_spacing(path, plain.scaled, modality)
    text = "orientation unknown: axes taken as LPS"
    note = Note(severity="FLAG", code=NO_ORIENTATION, message=text)
    return plain.geometry, notes if plain.oriented else (*notes, note)


def _note_spacing(path: Path, scaled: bool, modality: Modality | None) -> tuple[Note, ...]:
    """Return a FLAG where a file gives no voxel size; in a cohort that is refused: no spacing is invented."""
    if scaled:
        return ()
    if modality is not None:
        raise InputError(
            SPACING_ABSENT, "the file does not say how large its voxels are", where=path.name,
            todo="Convert it again from its source, keeping the spacing.",
        )  # fmt: skip
    text = "the file gives no voxel size: lengths are in voxels, as if they were 1 mm"
    return (Note(severity="FLAG", code=SPACING_ABSENT, message=text),)


def plain_values(path: Path, kind: Format, rules: ReadRules) -> NDArray[np.generic]:
    """Return the (z, y, x) values of an image that is no DICOM."""
    match kind:
        case "nifti":
            return nifti.read_values(path)
        case "nrrd":
            return nrrd_reader.read_values(path, nrrd_reader.read_header(path, rules))
        case "mha":
            return metaimage.read_values(path, metaimage.read_header(path, rules))
        case "tiff":
            return tiff.read_values(path)
        case _:
            return foreign_zarr.read_values(path)


def _unshear(path: Path, geometry: Geometry, rules: ReadRules) -> tuple[Geometry, tuple[Note, ...]]:
    """Return an orthogonal grid and a note where `geometry` is sheared and the rules allow to resample."""
    axes = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    cosine = float(np.abs(np.triu(axes.T @ axes, 1)).max())
    if cosine <= SHEAR:
        return geometry, ()
    if rules.shear == "refuse":
        raise InputError(
            "affine-sheared",
            "the voxel axes are not at right angles",
            where=path.name,
            got=f"{90 - np.degrees(np.arccos(cosine)):.2f} degrees off",
            expected="at most 0.06",
            todo="Set shear to resample, or write the image on an orthogonal grid.",
        )
    note = Note(severity="FIX", code="affine-sheared", message="sheared grid resampled to an orthogonal one")
    straight = _orthogonalize_plane(geometry)
    return dicom_series.orthogonalize(straight), (note,)


def _orthogonalize_plane(geometry: Geometry) -> Geometry:
    """Return `geometry` with orthogonal in-plane axes; the slices keep their shear for `orthogonalize`."""
    affine = geometry.affine
    x, y = affine[:3, 0], affine[:3, 1]
    affine[:3, 1] = y - x * np.dot(x, y) / np.dot(x, x)
    return Geometry.from_affine(geometry.shape, affine)


def _replace_nonfinite(
    path: Path, values: NDArray[np.generic], modality: Modality | None
) -> tuple[NDArray[np.int16] | NDArray[np.float32], Scanned, tuple[Note, ...]]:
    """Return values with NaN and infinities set to air, refusing them where they touch tissue; where the
    others are, null for everywhere.
    """
    if values.dtype.kind in "iub" and values.min() >= -(2**15) and values.max() < 2**15:
        return values.astype(np.int16, copy=False), None, ()
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    bad = ~np.isfinite(numbers)
    count = int(bad.sum())
    if not count:
        return numbers, None, ()
    fill = AIR_HU if modality == "ct" else 0.0
    numbers = np.where(bad, np.float32(fill), numbers)
    inside = int((bad & _near_tissue(numbers, modality)).sum())
    if inside or count == bad.size:
        raise InputError(
            "voxels-not-finite",
            "NaN or infinite voxels in or next to tissue",
            where=path.name,
            got=f"{count} such voxels, {inside} of them next to tissue",
            expected="finite values",
            todo="Export the image again; they are only corrected in air.",
        )
    text = f"{count} voxels that were no numbers set to {'air' if modality == 'ct' else '0'}"
    return numbers, ~bad, (Note(severity="FIX", code="voxels-not-finite", message=text),)


def _near_tissue(numbers: NDArray[np.float32], modality: Modality | None) -> NDArray[np.bool_]:
    threshold = -300.0 if modality == "ct" else 0.1 * float(np.percentile(numbers, 99))
    near: NDArray[np.bool_] = ndimage.binary_dilation(numbers > threshold, iterations=2)
    return near


def _check_content(
    path: Path, values: NDArray[np.int16] | NDArray[np.float32], modality: Modality | None
) -> None:
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise InputError("image-constant", "every voxel has one value", where=path.name, got=f"{low:g}")
    if modality == "ct" and high < -300:
        raise InputError(
            "image-air", "the image shows nothing but air", where=path.name, got=f"at most {high:g} HU",
            expected="tissue above -300 HU", todo="Check RescaleIntercept and the field of view.",
        )  # fmt: skip


def _volume(
    values: NDArray[np.int16] | NDArray[np.float32], geometry: Geometry
) -> Volume[np.int16] | Volume[np.float32]:
    if values.dtype == np.int16:
        return Volume(array=values.astype(np.int16, copy=False), geometry=geometry)
    return compact(Volume(array=values.astype(np.float32, copy=False), geometry=geometry))
