"""NIfTI through nibabel: orientation, units, scaling and size are checked before a voxel is believed."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.quaternions import quat2mat
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.plain import longer_error, read_at_least, truncated_error
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, ReadRules, check_memory, spacing_error

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FORM_TOLERANCE = 1e-3
_UNITS = {1: "meter", 2: "mm", 3: "micron"}
_TO_MM = {"mm": 1.0, "meter": 1e3, "micron": 1e-3}
HALF_TURN = 3 * float(np.finfo(np.float32).eps)
"""Square of the scalar part of a quaternion below which it is 0, as nibabel has it: float32 tells no more,
and a half turn is what is meant.
"""
LONGEST_QUATERNION = 1e-3
"""How far a quaternion may be beyond unit length and still be a rounded rotation."""
_MOST_TRAILING = 1 << 26
_BROKEN = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError,
    MemoryError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError, WrapStructError,
)  # fmt: skip

_KINDS = (nib.Nifti1Header, nib.Nifti2Header)
_HEAD = 1024
_NO_MENDING = re.compile(r"leaving at current value$|^pixdim\[1,2,3\]")
"""Of what nibabel says: what it leaves as it is, and voxel sizes, which are judged here as stored."""
_GZIP = b"\x1f\x8b"

Form = NDArray[np.float64]


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
        `nifti-no-orientation`, `nifti-form-invalid`, `nifti-forms-disagree`, `nifti-scaled` or
        `spacing-invalid`.
    """
    image = _open(path)
    shape = _shape(path, image)
    check_memory(shape, 4, rules, path.name)
    _check_size(path, image)
    affine, notes = _affine(path, image, rules)
    return NiftiHeader(geometry=Geometry.from_affine(shape, affine), notes=(*image.notes, *notes))


def read_values(path: Path) -> NDArray[np.generic]:
    """Return the (z, y, x) values with slope and intercept applied:
    stored integers where there is no scaling, else float32.

    Raises
    ------
    InputError
        `image-truncated` where the file ends before its voxels do, or its checksum is another.
    """
    image = _open(path)
    proxy = image.proxy
    slope, inter = float(proxy.slope), float(proxy.inter)
    try:
        compressed = path.suffix.lower() == ".gz"
        stored = _inflate(path, proxy) if compressed else np.asarray(proxy.get_unscaled())
    except InputError:
        raise
    except _BROKEN as error:
        raise truncated_error(path, explain(error)) from error
    stored = stored.reshape(_shape(path, image)[::-1]).T
    if (slope, inter) == (1.0, 0.0):
        return stored
    return (stored.astype(np.float64) * slope + inter).astype(np.float32)


def _inflate(path: Path, proxy: ArrayProxy) -> NDArray[np.generic]:
    """Return the stored values of a gzip file, read to its end: the checksum there is compared."""
    need = int(np.prod(proxy.shape, dtype=np.int64)) * proxy.dtype.itemsize
    with gzip.open(path) as file:
        file.seek(proxy.offset)
        data = read_at_least(path, file, need)
        trailing = 0
        while piece := file.read(1 << 20):
            trailing += len(piece)
            if trailing > max(need, _MOST_TRAILING):
                raise longer_error(path, f"more than {need + trailing} bytes", f"{need} bytes")
    return np.ndarray(proxy.shape, proxy.dtype, data, order="F")


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """The header as the file has it, as nibabel mends it, and the voxels that are still there.

    nibabel sets a voxel size of 0 to 1 and drops the sign of others; of an opened image that is all one sees.
    """

    stored: nib.Nifti1Header
    header: nib.Nifti1Header
    proxy: ArrayProxy
    notes: tuple[Note, ...]


def _open(path: Path) -> _File:
    try:
        with ImageOpener(str(path)) as file:
            head = file.read(_HEAD)
            kind = next((kind for kind in _KINDS if kind.may_contain_header(head)), None)
            if kind is None:
                raise _foreign_error(path, head)
            file.seek(0)
            stored = kind.from_fileobj(file, check=False)
        header, notes = _mend(stored)
        return _File(stored=stored, header=header, proxy=ArrayProxy(str(path), header), notes=notes)
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            "image-unreadable",
            "not a readable NIfTI file",
            where=path.name,
            got=explain(error),
            todo="Export it again from its source.",
        ) from error


def _mend(stored: nib.Nifti1Header) -> tuple[nib.Nifti1Header, tuple[Note, ...]]:
    """Return the header as nibabel mends it, and what it mended: it says so in a log of its own."""
    said: list[str] = []
    log, listener = logging.Logger("header", logging.WARNING), logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(listener)
    header = stored.copy()
    header.check_fix(logger=log, error_level=40)
    fixes = "; ".join(text for text in said if not _NO_MENDING.search(text))
    return header, (Note(severity="FIX", code="nifti-header", message=fixes),) if fixes else ()


def _foreign_error(path: Path, head: bytes) -> InputError:
    gzipped = head.startswith(_GZIP)
    todo = "It is a gzip file: rename it to .nii.gz." if gzipped else "Export it again from its source."
    return InputError("image-unreadable", "not a single-file NIfTI", where=path.name, todo=todo)


def _shape(path: Path, image: _File) -> Shape:
    shape = tuple(int(n) for n in image.header.get_data_shape())
    kept = shape[:3] + tuple(n for n in shape[3:] if n != 1)
    kind = image.header.get_data_dtype()
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


def _check_size(path: Path, image: _File) -> None:
    """Refuse a plain file that cannot hold its voxels (a gzip file shows it only when it is read)."""
    offset = int(image.proxy.offset)
    need = (
        offset
        + int(np.prod(image.header.get_data_shape(), dtype=np.int64)) * image.header.get_data_dtype().itemsize
    )
    if path.suffix.lower() != ".gz":
        size = path.stat().st_size
        if size < need:
            raise truncated_error(path, f"{size} bytes", f"{need} bytes")


def _affine(path: Path, image: _File, rules: ReadRules) -> tuple[Form, tuple[Note, ...]]:
    header = image.stored
    factor, unit_notes = _millimetres(header)
    sform = _sform(header) if int(header["sform_code"]) > 0 else None
    qform, turn_notes = _qform(header) if int(header["qform_code"]) > 0 else (None, ())
    notes = _flag_invalid(header, sform, qform)
    if sform is not None and qform is not None and not _agree(sform, qform, factor):
        chosen, notes = _prefer(path, sform, qform, rules)
    else:
        chosen = _one_of(path, header, sform, qform)
    if qform is None:
        _check_scale(path, header, chosen)
    world: Form = RAS_TO_LPS @ np.diag([factor, factor, factor, 1.0]) @ chosen
    return world, notes + turn_notes + unit_notes


def _zooms(header: nib.Nifti1Header) -> NDArray[np.float64]:
    return np.asarray(header["pixdim"][1:4], dtype=np.float64)


def _sform(header: nib.Nifti1Header) -> Form | None:
    """Return the sform, none where it is no affine."""
    form: Form = header.get_sform()
    lengths = np.linalg.norm(form[:3, :3], axis=0)
    return form if np.isfinite(form).all() and (lengths > 0).all() else None


def _qform(header: nib.Nifti1Header) -> tuple[Form | None, tuple[Note, ...]]:
    """Return the qform, none where it is no rotation; a quaternion a little too long is cut to unit length.

    The reference library of NIfTI cuts every one that is too long; nibabel refuses most of them.
    """
    zooms = _zooms(header)
    vector = np.array([header[f"quatern_{name}"] for name in "bcd"], dtype=np.float64)
    offset = np.array([header[f"qoffset_{name}"] for name in "xyz"], dtype=np.float64)
    square = float(vector @ vector)
    if not (np.isfinite([*zooms, *vector, *offset]).all() and (zooms > 0).all()):
        return None, ()
    if square > (1.0 + LONGEST_QUATERNION) ** 2:
        return None, ()
    form = np.eye(4)
    flip = -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    scalar = 0.0 if 1.0 - square < HALF_TURN else np.sqrt(1.0 - square)
    form[:3, :3] = quat2mat([scalar, *vector]) @ np.diag([1.0, 1.0, flip]) * zooms
    form[:3, 3] = offset
    text = f"qform quaternion of length {np.sqrt(square):.6f} taken as a unit quaternion"
    note = Note(severity="FIX", code="nifti-quaternion", message=text)
    return form, (note,) if square > 1.0 + 1e-6 else ()


def _flag_invalid(header: nib.Nifti1Header, sform: Form | None, qform: Form | None) -> tuple[Note, ...]:
    """Return a FLAG where a form is given that is no affine."""
    invalid = [
        name
        for name, form in (("sform", sform), ("qform", qform))
        if form is None and int(header[f"{name}_code"]) > 0
    ]
    text = f"{' and '.join(invalid)} is no affine and was left out"
    return (Note(severity="FLAG", code="nifti-form-invalid", message=text),) if invalid else ()


def _one_of(path: Path, header: nib.Nifti1Header, sform: Form | None, qform: Form | None) -> Form:
    chosen = qform if sform is None else sform
    if chosen is not None:
        return chosen
    given = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    zooms = _zooms(header)
    if given and not (np.isfinite(zooms).all() and (zooms > 0).all()):
        raise spacing_error(path.name, zooms.tolist())
    what = "qform and sform are both 0, so left and right are unknown"
    raise InputError(
        "nifti-form-invalid" if given else "nifti-no-orientation",
        "neither qform nor sform is an affine" if given else what,
        where=path.name,
        expected="qform_code or sform_code above 0, and finite values",
        todo="Convert it again from DICOM with a converter that keeps the orientation; where left and right "
        "do not matter, as in srrd measure, save it once more with 3D Slicer, which writes one.",
    )


def _prefer(path: Path, sform: Form, qform: Form, rules: ReadRules) -> tuple[Form, tuple[Note, ...]]:
    """Return the form that the rules choose of two that disagree; refuse by default."""
    if rules.nifti_form == "refuse":
        raise InputError(
            "nifti-forms-disagree",
            "qform and sform disagree",
            where=path.name,
            got=f"qform {np.round(qform, 4).tolist()}, sform {np.round(sform, 4).tolist()}",
            expected=f"equal within {FORM_TOLERANCE:g} of a voxel, their places within {FORM_TOLERANCE:g} mm",
            todo="Find out which is right and write the file again with it alone, e.g. with 3D Slicer; a run "
            "of a cohort takes it with ingest.rules.nifti_form: sform or qform.",
        )
    text = f"qform and sform disagree; {rules.nifti_form} used"
    note = Note(severity="FIX", code="nifti-forms-disagree", message=text)
    return (sform if rules.nifti_form == "sform" else qform), (note,)


def _agree(sform: Form, qform: Form, factor: float) -> bool:
    """Whether two forms give the same voxels; `factor` are the millimetres of their unit."""
    edges = np.abs(sform[:3, :3] - qform[:3, :3]).max(axis=0) / np.linalg.norm(qform[:3, :3], axis=0)
    apart_mm = np.abs(sform[:3, 3] - qform[:3, 3]).max() * factor
    return bool(edges.max() <= FORM_TOLERANCE and apart_mm <= FORM_TOLERANCE)


def _check_scale(path: Path, header: nib.Nifti1Header, affine: Form) -> None:
    zooms = _zooms(header)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if np.isfinite(zooms).all() and (zooms > 0).all() and np.abs(lengths / zooms - 1).max() > FORM_TOLERANCE:
        raise InputError(
            "nifti-scaled",
            "the sform scales voxels against pixdim",
            where=path.name,
            got=f"sform {np.round(lengths, 5).tolist()} mm, pixdim {np.round(zooms, 5).tolist()} mm",
            todo="Write the image again with one spacing; a template-space affine is no scanner geometry.",
        )


def _millimetres(header: nib.Nifti1Header) -> tuple[float, tuple[Note, ...]]:
    unit = _UNITS.get(int(header["xyzt_units"]) % 8, "unknown")
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
