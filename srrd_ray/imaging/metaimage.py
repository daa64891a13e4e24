"""MetaImage files (.mha): every spelling of a field that MetaIO knows, voxels in the same file, bounded.

Source: MetaIO of ITK, ``metaObject.cxx`` and ``metaImage.cxx``, which the tests compare with.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.plain import (
    PlainHeader,
    detached_error,
    longer_error,
    parse_text,
    read_at_least,
    require_positive,
    three_axes,
    to_millimetres,
    truncated_error,
    unit_notes,
    unreadable_error,
)
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, ReadRules, check_memory

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_LONGEST_HEADER = 1 << 20
_MARK = re.compile(r"[=:]")
_ORIGIN = ("offset", "origin", "position")
_DIRECTION = ("transformmatrix", "rotation", "orientation")
_MSB = ("binarydatabyteordermsb", "elementbyteordermsb")
_READ = frozenset({
    *_ORIGIN, *_DIRECTION, *_MSB, "ndims", "dimsize", "elementtype", "elementnumberofchannels",
    "elementspacing", "elementsize", "compresseddata", "binarydata", "headersize", "distanceunits",
    "elementdatafile",
    "elementtointensityfunctionslope", "elementtointensityfunctionoffset",
})  # fmt: skip
"""The fields that mean something here: ITK also writes what it knew of a NIfTI or DICOM file."""

Fields = Mapping[str, str]


def read_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of a MetaImage file whose voxels are in the same file.

    Raises
    ------
    InputError
        `image-unreadable`, `image-detached`, `image-dimensions`, `image-datatype`, `image-too-large`,
        `spacing-invalid`, `mha-intensity`, or `image-truncated` for plain voxels that end early.
    """
    fields, offset = _read_fields(path)
    if fields["elementdatafile"].upper() != "LOCAL":
        raise detached_error(path)
    try:
        return _parse(path, fields, offset, rules)
    except InputError:
        raise
    except (KeyError, ValueError, OverflowError) as error:
        raise unreadable_error(path, "MetaImage", explain(error)) from error


def read_values(path: Path, header: PlainHeader) -> NDArray[np.generic]:
    """Return the (z, y, x) values of a MetaImage; never inflates beyond what the header says."""
    shape, dtype = header.geometry.shape, header.dtype
    need = int(np.prod(shape)) * dtype.itemsize
    with path.open("rb") as file:
        file.seek(header.offset)
        if header.encoding == "text":
            text = file.read().decode("ascii", "replace")
            return parse_text(path, text, dtype, int(np.prod(shape))).reshape(shape)
        raw = file.read() if header.encoding == "zlib" else read_at_least(path, file, need)
    if header.encoding == "zlib":
        raw = _inflate(path, raw, need)
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def _inflate(path: Path, raw: bytes, need: int) -> bytes:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        data = inflate.decompress(raw, need + 1)
        if len(data) == need and not inflate.eof:
            data += inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error as error:
        raise truncated_error(path, "bytes that cannot be inflated") from error
    if len(data) > need:
        raise longer_error(path, f"more than {need} bytes", f"{need} bytes")
    if len(data) < need or not inflate.eof:
        raise truncated_error(path, f"{len(data)} bytes", f"{need} bytes and their checksum")
    return data


def _read_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields that are read, under their names in lower case, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_HEADER - file.tell()).decode("latin-1"):
            key, *rest = _MARK.split(line, 1)
            name, value = key.strip().lower(), "".join(rest).strip()
            if not rest and line.strip():
                break
            if name not in _READ:
                continue
            if fields.setdefault(name, value) != value:
                raise unreadable_error(path, "MetaImage", f"{key.strip()} twice, with two values")
            if name == "elementdatafile":
                return fields, file.tell()
    raise unreadable_error(path, "MetaImage", "no ElementDataFile")


def _parse(path: Path, fields: Fields, offset: int, rules: ReadRules) -> PlainHeader:
    sizes = [int(n) for n in fields["dimsize"].split()]
    if int(fields.get("ndims", len(sizes))) != len(sizes):
        raise unreadable_error(path, "MetaImage", f"NDims {fields['ndims'][:8]}, {len(sizes)} sizes")
    big = _flag(_one(path, fields, _MSB) or "False")
    dtype = np.dtype((">" if big else "<") + TYPES[fields["elementtype"].upper()])
    channels = int(fields.get("elementnumberofchannels", "1"))
    shape = three_axes(path, sizes if channels == 1 else (channels, *sizes), dtype)
    check_memory(shape, dtype.itemsize, rules, path.name)
    _check_intensity(path, fields)
    encoding = _encoding(fields)
    start = (
        offset if encoding != "raw" else _start(path, fields, offset, int(np.prod(shape)) * dtype.itemsize)
    )
    geometry, notes = _geometry(path, fields, shape, len(sizes))
    return PlainHeader(
        geometry=geometry,
        oriented=any(name in fields for name in _DIRECTION),
        scaled="elementspacing" in fields or "elementsize" in fields,
        dtype=dtype,
        notes=notes,
        offset=start,
        encoding=encoding,
    )


def _flag(text: str) -> bool:
    """Return a truth value as MetaIO reads it: by its first letter."""
    return text[:1].lower() in {"t", "y", "1"}


def _encoding(fields: Fields) -> str:
    if _flag(fields.get("compresseddata", "False")):
        return "zlib"
    return "raw" if _flag(fields.get("binarydata", "True")) else "text"


def _one(path: Path, fields: Fields, names: tuple[str, ...]) -> str | None:
    """Return the value that stands under one or more of `names`, refusing two that differ."""
    values = {" ".join(fields[name].lower().split()) for name in names if name in fields}
    if len(values) > 1:
        raise unreadable_error(path, "MetaImage", f"two values of {' or '.join(names)}")
    return next(iter(values), None)


def _start(path: Path, fields: Fields, offset: int, need: int) -> int:
    """Return where plain voxels begin; HeaderSize -1 means at the end of the file."""
    size, skip = path.stat().st_size, int(fields.get("headersize", "0"))
    if skip not in (0, -1):
        raise unreadable_error(path, "MetaImage", f"HeaderSize {skip} of voxels in the same file")
    if size - offset < need:
        raise truncated_error(path, f"{size - offset} bytes", f"{need} bytes")
    if skip == 0 and size - offset >= 2 * need:
        raise longer_error(path, f"{size - offset} bytes", f"{need} bytes")
    return size - need if skip == -1 else offset


def _check_intensity(path: Path, fields: Fields) -> None:
    slope = float(fields.get("elementtointensityfunctionslope", "1"))
    shift = float(fields.get("elementtointensityfunctionoffset", "0"))
    if (slope, shift) != (1.0, 0.0):
        raise InputError(
            "mha-intensity",
            "values go through a function that readers do not agree on",
            where=path.name,
            got=f"ElementToIntensityFunction {slope:g} × value + {shift:g}",
            todo="Write the image with the function applied.",
        )


def _geometry(path: Path, fields: Fields, shape: Shape, axes: int) -> tuple[Geometry, tuple[Note, ...]]:
    spacing = _numbers(fields.get("elementspacing", fields.get("elementsize")), np.ones(axes))
    matrix = _numbers(_one(path, fields, _DIRECTION), np.eye(axes).ravel()).reshape(axes, axes)
    origin = _numbers(_one(path, fields, _ORIGIN), np.zeros(axes))
    unit = fields.get("distanceunits", "mm")
    unit = "mm" if unit in {"?", ""} else unit
    factor = to_millimetres(unit) or 1.0
    affine = np.eye(4)
    affine[:3, :3] = matrix[:3, :3].T * require_positive(path, spacing[:3]) * factor
    affine[:3, 3] = origin[:3] * factor
    return Geometry.from_affine(shape, affine), unit_notes("mha-units", [unit])


def _numbers(text: str | None, default: NDArray[np.float64]) -> NDArray[np.float64]:
    if text is None:
        return default
    numbers = np.array([float(word) for word in text.split()])
    if numbers.shape != default.shape:
        raise ValueError("count")
    return numbers
