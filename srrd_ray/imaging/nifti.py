"""NIfTI through nibabel: orientation, units, scaling and size are checked before a voxel is believed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.source import Note, ReadRules, check_memory, spacing_error

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FORM_TOLERANCE = 1e-3
_TO_MM = {"mm": 1.0, "meter": 1e3, "micron": 1e-3}
_BROKEN = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)


@dataclass(frozen=True, kw_only=True, slots=True)
class NiftiHeader:
    """The checked header of a file."""

    geometry: Geometry
    notes: tuple[Note, ...]


def read_header(path: Path, rules: ReadRules) -> NiftiHeader:
    """Return the checked geometry of a NIfTI file without its voxels.

    Raises
    ------
    InputError
        `image-unreadable`, `image-dimensions`, `image-datatype`, `image-too-large`, `image-truncated`,
        `nifti-no-orientation`, `nifti-forms-disagree`, `nifti-scaled` or `spacing-invalid`.
    """
    image = _open(path)
    shape = _shape(path, image)
    check_memory(shape, 4, rules, path.name)
    _check_size(path, image)
    affine, notes = _affine(path, image, rules)
    return NiftiHeader(geometry=Geometry.from_affine(shape, affine), notes=notes)


def read_values(path: Path) -> NDArray[np.generic]:
    """Return the (z, y, x) values with slope and intercept applied:
    stored integers where there is no scaling, else float32.

    Raises
    ------
    InputError
        `image-truncated` where the file ends before its voxels do.
    """
    image = _open(path)
    proxy = _proxy(image)
    slope, inter = float(proxy.slope), float(proxy.inter)
    try:
        stored: NDArray[np.generic] = np.asarray(proxy.get_unscaled())
    except _BROKEN as error:
        raise _truncated_error(path, type(error).__name__) from error
    stored = stored.reshape(_shape(path, image)[::-1]).T
    if (slope, inter) == (1.0, 0.0):
        return stored
    return (stored.astype(np.float64) * slope + inter).astype(np.float32)


def _open(path: Path) -> nib.Nifti1Image:
    try:
        image = nib.load(path)
    except _BROKEN as error:
        raise InputError(
            "image-unreadable",
            "not a readable NIfTI file",
            where=path.name,
            got=type(error).__name__,
            todo="Export it again from its source.",
        ) from error
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(
            "image-unreadable", "not a single-file NIfTI", where=path.name, got=type(image).__name__
        )
    return image


def _proxy(image: nib.Nifti1Image) -> ArrayProxy:
    proxy = image.dataobj
    assert isinstance(proxy, ArrayProxy)
    return proxy


def _shape(path: Path, image: nib.Nifti1Image) -> Shape:
    shape = tuple(int(n) for n in image.header.get_data_shape())
    kept = shape[:3] + tuple(n for n in shape[3:] if n != 1)
    kind = image.get_data_dtype()
    if kind.fields is not None or kind.kind == "c":
        raise InputError(
            "image-datatype",
            "RGB or complex voxels",
            where=path.name,
            got=str(kind),
            expected="one real number a voxel",
        )
    if len(kept) != 3 or min(kept) < 1:
        raise InputError(
            "image-dimensions",
            "not a three-dimensional image",
            where=path.name,
            got=f"shape {shape}, {kind}",
            expected="three axes (trailing axes of length one are dropped)",
            todo="Split series of echoes or time points into one file each.",
        )
    return kept[2], kept[1], kept[0]


def _check_size(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse a plain file that cannot hold its voxels (a gzip file shows it only when it is read)."""
    offset = int(_proxy(image).offset)
    need = (
        offset + int(np.prod(image.header.get_data_shape(), dtype=np.int64)) * image.get_data_dtype().itemsize
    )
    if path.suffix != ".gz":
        size = path.stat().st_size
        if size < need:
            raise _truncated_error(path, f"{size} bytes", f"{need} bytes")


def _truncated_error(path: Path, got: str, expected: str = "") -> InputError:
    return InputError(
        "image-truncated",
        "the file ends before its voxels do",
        where=path.name,
        got=got,
        expected=expected,
        todo="Copy it again from its source.",
    )


def _affine(
    path: Path, image: nib.Nifti1Image, rules: ReadRules
) -> tuple[NDArray[np.float64], tuple[Note, ...]]:
    header = image.header
    sform = header.get_sform() if int(header["sform_code"]) > 0 else None
    qform = _qform(path, header) if int(header["qform_code"]) > 0 else None
    chosen, notes = _choose(path, sform, qform, rules)
    if qform is None:
        _check_scale(path, header, chosen)
    factor, unit_notes = _millimetres(header)
    world: NDArray[np.float64] = RAS_TO_LPS @ np.diag([factor, factor, factor, 1.0]) @ chosen
    return world, notes + unit_notes


def _qform(path: Path, header: nib.Nifti1Header) -> NDArray[np.float64]:
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not (np.isfinite(zooms).all() and (zooms > 0).all()):
        raise spacing_error(path.name, zooms.tolist())
    form: NDArray[np.float64] = header.get_qform()
    return form


def _choose(
    path: Path, sform: NDArray[np.float64] | None, qform: NDArray[np.float64] | None, rules: ReadRules
) -> tuple[NDArray[np.float64], tuple[Note, ...]]:
    if sform is None and qform is None:
        raise InputError(
            "nifti-no-orientation",
            "qform and sform are both 0, so left and right are unknown",
            where=path.name,
            expected="qform_code or sform_code above 0",
            todo="Convert it again from DICOM with a converter that keeps the orientation.",
        )
    if sform is None or qform is None:
        return (qform if sform is None else sform), ()  # type: ignore[return-value]  # one of them is there
    if np.abs(sform - qform).max() <= FORM_TOLERANCE:
        return sform, ()
    if rules.nifti_form == "refuse":
        raise InputError(
            "nifti-forms-disagree",
            "qform and sform disagree",
            where=path.name,
            got=f"qform {np.round(qform, 4).tolist()}, sform {np.round(sform, 4).tolist()}",
            expected=f"equal within {FORM_TOLERANCE:g}",
            todo="Find out which is right and set nifti_form to sform or qform.",
        )
    note = Note(
        severity="FIX",
        code="nifti-forms-disagree",
        message=f"qform and sform disagree; {rules.nifti_form} used",
    )
    return (sform if rules.nifti_form == "sform" else qform), (note,)


def _check_scale(path: Path, header: nib.Nifti1Header, affine: NDArray[np.float64]) -> None:
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise spacing_error(path.name, lengths.tolist())
    if np.isfinite(zooms).all() and (zooms > 0).all() and np.abs(lengths / zooms - 1).max() > FORM_TOLERANCE:
        raise InputError(
            "nifti-scaled",
            "the sform scales voxels against pixdim",
            where=path.name,
            got=f"sform {np.round(lengths, 5).tolist()} mm, pixdim {np.round(zooms, 5).tolist()} mm",
            todo="Write the image again with one spacing; a template-space affine is no scanner geometry.",
        )


def _millimetres(header: nib.Nifti1Header) -> tuple[float, tuple[Note, ...]]:
    unit = header.get_xyzt_units()[0]
    if unit == "mm":
        return 1.0, ()
    if unit in _TO_MM:
        note = Note(
            severity="FIX", code="nifti-units", message=f"spatial unit {unit} converted to millimetres"
        )
        return _TO_MM[unit], (note,)
    return 1.0, (
        Note(severity="FLAG", code="nifti-units", message="spatial unit unknown, taken as millimetres"),
    )
