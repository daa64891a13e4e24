"""NRRD and MetaImage files: headers parsed strictly, detached data refused,
sizes checked before anything is allocated.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nrrd
import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.source import Note, ReadRules, check_memory, spacing_error

_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_MHA_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_LONGEST_HEADER = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainHeader:
    """A parsed header; `oriented` is false where the file does not give the patient's axes."""

    geometry: Geometry
    oriented: bool
    dtype: np.dtype[np.generic]
    notes: tuple[Note, ...] = ()
    offset: int = 0
    compressed: bool = False


def read_nrrd_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of an attached NRRD file.

    Raises
    ------
    InputError
        `image-unreadable`, `image-detached`, `image-dimensions`, `image-datatype`,
        `image-too-large` or `spacing-invalid`.
    """
    try:
        header = nrrd.read_header(str(path))
        dtype = np.dtype(nrrd.reader._determine_datatype(header))
    except (nrrd.NRRDError, OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable_error(path, "NRRD", error) from error
    if any(key in header for key in ("data file", "datafile")):
        raise _detached_error(path)
    sizes = tuple(int(n) for n in header["sizes"])
    shape = _require_three_axes(path, sizes, dtype)
    check_memory(shape, dtype.itemsize, rules, path.name)
    geometry, oriented = _nrrd_geometry(path, header, shape)
    return PlainHeader(geometry=geometry, oriented=oriented, dtype=dtype)


def read_nrrd_values(path: Path, header: PlainHeader) -> NDArray[np.generic]:
    """Return the (z, y, x) values; refuses (`image-truncated`) a file that ends early."""
    try:
        values = nrrd.read(str(path), index_order="C")[0]
    except (nrrd.NRRDError, OSError, EOFError, ValueError, zlib.error) as error:
        raise _truncated_error(path, type(error).__name__) from error
    return np.asarray(values).reshape(header.geometry.shape)


def read_mha_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of a MetaImage file whose data are in the same file.

    Raises
    ------
    InputError
        As `read_nrrd_header`; also `image-truncated` for uncompressed data shorter than the header says.
    """
    fields, offset = _mha_fields(path)
    if fields.get("ElementDataFile", "") != "LOCAL":
        raise _detached_error(path)
    try:
        sizes = tuple(int(n) for n in fields["DimSize"].split())
        kind = _MHA_TYPES[fields["ElementType"]]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        numbers = {name: _numbers(fields, name) for name in ("TransformMatrix", "Offset", "ElementSpacing")}
    except (KeyError, ValueError) as error:
        raise _unreadable_error(path, "MetaImage", error) from error
    order = ">" if fields.get("BinaryDataByteOrderMSB", "False").lower() == "true" else "<"
    dtype = np.dtype(order + kind)
    shape = _require_three_axes(path, sizes if channels == 1 else (channels, *sizes), dtype)
    check_memory(shape, dtype.itemsize, rules, path.name)
    compressed = fields.get("CompressedData", "False").lower() == "true"
    need, found = int(np.prod(shape)) * dtype.itemsize, path.stat().st_size - offset
    if not compressed and found < need:
        raise _truncated_error(path, f"{found} bytes", f"{need} bytes")
    return PlainHeader(
        geometry=_mha_geometry(path, numbers, shape),
        oriented="TransformMatrix" in fields,
        dtype=dtype,
        offset=offset,
        compressed=compressed,
    )


def read_mha_values(path: Path, header: PlainHeader) -> NDArray[np.generic]:
    """Return the (z, y, x) values of a MetaImage; never inflates beyond what the header says."""
    need = int(np.prod(header.geometry.shape)) * header.dtype.itemsize
    with path.open("rb") as file:
        file.seek(header.offset)
        raw = file.read()
    if header.compressed:
        try:
            raw = zlib.decompressobj().decompress(raw, need)
        except zlib.error as error:
            raise _truncated_error(path, type(error).__name__) from error
    if len(raw) < need:
        raise _truncated_error(path, f"{len(raw)} bytes", f"{need} bytes")
    return np.frombuffer(raw[:need], dtype=header.dtype).reshape(header.geometry.shape)


def _mha_fields(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < _LONGEST_HEADER:
            name, mark, value = file.readline(4096).decode("latin-1").partition("=")
            if not mark:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                return fields, file.tell()
    raise _unreadable_error(path, "MetaImage", ValueError("no ElementDataFile"))


def _numbers(fields: Mapping[str, str], name: str) -> NDArray[np.float64] | None:
    return np.array([float(v) for v in fields[name].split()]) if name in fields else None


def _mha_geometry(path: Path, numbers: Mapping[str, NDArray[np.float64] | None], shape: Shape) -> Geometry:
    matrix, offset, spacing = numbers["TransformMatrix"], numbers["Offset"], numbers["ElementSpacing"]
    affine = np.eye(4)
    try:
        axes = np.eye(3) if matrix is None else matrix.reshape(3, 3).T
        steps = _require_positive(path, np.ones(3) if spacing is None else spacing)
        affine[:3, :3] = axes * steps
        affine[:3, 3] = 0.0 if offset is None else offset
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable_error(path, "MetaImage", error) from error
    return Geometry.from_affine(shape, affine)


def _nrrd_geometry(path: Path, header: Mapping[str, object], shape: Shape) -> tuple[Geometry, bool]:
    signs = _SPACES.get(str(header.get("space", "")).lower())
    affine = np.eye(4)
    directions = np.asarray(header.get("space directions", np.full((3, 3), np.nan)), dtype=np.float64)
    directions = directions[np.isfinite(directions).all(axis=1)] if directions.ndim == 2 else directions
    if directions.shape == (3, 3):
        affine[:3, :3] = directions.T
        affine[:3, 3] = np.nan_to_num(np.asarray(header.get("space origin", np.zeros(3)), dtype=np.float64))
    else:
        spacings = np.asarray(header.get("spacings", np.ones(3)), dtype=np.float64)[:3]
        affine[:3, :3] = np.diag(_require_positive(path, np.where(np.isnan(spacings), 1.0, spacings)))
    _require_positive(path, np.linalg.norm(affine[:3, :3], axis=0))
    affine = np.diag([*(signs or (1, 1, 1)), 1.0]) @ affine
    return Geometry.from_affine(shape, affine), signs is not None and directions.shape == (3, 3)


def _require_positive(path: Path, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    if spacing.shape != (3,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise spacing_error(path.name, spacing.tolist())
    return spacing


def _require_three_axes(path: Path, sizes: tuple[int, ...], dtype: np.dtype[np.generic]) -> Shape:
    kept = sizes[:3] + tuple(n for n in sizes[3:] if n != 1)
    if len(kept) != 3 or min(kept) < 1:
        raise InputError(
            "image-dimensions",
            "not a three-dimensional image of one channel",
            where=path.name,
            got=f"sizes {sizes}, {dtype}",
            expected="three axes",
        )
    if dtype.kind not in "iuf":
        raise InputError("image-datatype", "voxels are not numbers", where=path.name, got=str(dtype))
    return kept[2], kept[1], kept[0]


def _unreadable_error(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(
        "image-unreadable", f"not a readable {kind} file", where=path.name, got=type(error).__name__,
        todo="Export it again from its source.",
    )  # fmt: skip


def _detached_error(path: Path) -> InputError:
    return InputError(
        "image-detached",
        "the header points to another file for its voxels",
        where=path.name,
        expected="header and voxels in one file",
        todo="Save it as one file (.nrrd, .mha): a header may not choose which files are read.",
    )


def _truncated_error(path: Path, got: str, expected: str = "") -> InputError:
    return InputError(
        "image-truncated", "the file ends before its voxels do", where=path.name, got=got, expected=expected,
        todo="Copy it again from its source.",
    )  # fmt: skip
