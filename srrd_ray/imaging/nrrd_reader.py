"""NRRD files: scale, origin, axes and units in every spelling of the format, voxels in the same file.

pynrrd parses the fields; the voxels are read here, since it inflates whatever a file holds. The tests compare
with pynrrd and ITK. Source of the fields: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nrrd
import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.plain import (
    PlainHeader,
    detached_error,
    parse_text,
    read_exactly,
    require_positive,
    three_axes,
    to_millimetres,
    truncated_error,
    unit_notes,
    unreadable_error,
)
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, ReadRules, check_memory

_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "left-posterior-superior-time": (1, 1, 1), "lpst": (1, 1, 1),
    "right-anterior-superior-time": (-1, -1, 1), "rast": (-1, -1, 1),
    "left-anterior-superior-time": (1, -1, 1), "last": (1, -1, 1),
}  # fmt: skip
_ENCODINGS = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
_SPATIAL = {"domain", "space", "none", "???", ""}
_LONGEST_HEADER = 1 << 20
_BROKEN = (
    nrrd.NRRDError, OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError,
    StopIteration,
)  # fmt: skip

Fields = Mapping[str, object]
Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """Columns of the affine and origin, and the units of the world's axes, undirected of the array's."""

    columns: Vector
    origin: Vector
    units: tuple[str, ...]
    scaled: bool
    directed: bool


def read_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of an attached NRRD file.

    Raises
    ------
    InputError
        `image-unreadable`, `image-detached`, `image-dimensions`, `image-datatype`,
        `image-too-large` or `spacing-invalid`.
    """
    try:
        with path.open("rb") as file:
            lines = _header_lines(path, file)
            offset = file.tell()
        fields: Fields = nrrd.read_header(lines)
        return _parse(path, fields, offset, rules)
    except InputError:
        raise
    except _BROKEN as error:
        raise unreadable_error(path, "NRRD", explain(error)) from error


def read_values(path: Path, header: PlainHeader) -> NDArray[np.generic]:
    """Return the (z, y, x) values; never inflates beyond what the header says, and compares checksums.

    Raises
    ------
    InputError
        `image-truncated` for fewer voxels than the header says, `image-unreadable` for more.
    """
    with path.open("rb") as file:
        fields: Fields = nrrd.read_header(_header_lines(path, file))
        try:
            return _voxels(path, file, fields, header).reshape(header.geometry.shape)
        except (OSError, EOFError, zlib.error) as error:
            raise truncated_error(path, explain(error)) from error
        except (ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise unreadable_error(path, "NRRD", explain(error)) from error


def _header_lines(path: Path, file: BinaryIO) -> list[str]:
    """Return the lines up to the first empty one, fields in lower case, without comments and free keys."""
    lines: list[str] = []
    while file.tell() < _LONGEST_HEADER:
        raw = file.readline(_LONGEST_HEADER)
        line = _decode(raw).rstrip()
        if not line:
            return [*lines, ""]
        name, mark, value = line.partition(":")
        if name.strip().lower() in {"data file", "datafile"} and not value.startswith("="):
            raise detached_error(path)
        if not lines:
            lines.append(line)
        elif not line.startswith("#") and not value.startswith("="):
            lines.append(f"{name.strip().lower()}{mark}{value}")
    raise unreadable_error(path, "NRRD", "no end of the header")


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _parse(path: Path, fields: Fields, offset: int, rules: ReadRules) -> PlainHeader:
    sizes = [int(n) for n in _array(fields["sizes"]).tolist()]
    if len(sizes) != fields["dimension"]:
        raise unreadable_error(path, "NRRD", f"dimension {fields['dimension']}, {len(sizes)} sizes")
    encoding = _ENCODINGS[str(fields["encoding"]).lower()]
    dtype = np.dtype(nrrd.reader._determine_datatype(fields))
    axes = _spatial_axes(path, fields, sizes)
    shape = three_axes(path, [sizes[i] for i in axes], dtype)
    check_memory(shape, dtype.itemsize, rules, path.name)
    grid = _grid(fields, axes[:3], [sizes[i] for i in axes[:3]])
    geometry, notes = _geometry(path, fields, grid, shape)
    return PlainHeader(
        geometry=geometry,
        oriented=grid.directed and _signs(fields) is not None,
        scaled=grid.scaled,
        dtype=dtype,
        notes=notes,
        offset=offset,
        encoding=encoding,
    )


def _array(value: object) -> Vector:
    return np.asarray(value, dtype=np.float64)


def _signs(fields: Fields) -> tuple[int, int, int] | None:
    return _SPACES.get(str(fields.get("space", "")).lower())


def _spatial_axes(path: Path, fields: Fields, sizes: Sequence[int]) -> list[int]:
    """Return the axes of space; every other one (of vectors, colours, time) has to be of length one."""
    kinds = [str(kind).lower() for kind in _list(fields.get("kinds"), len(sizes), "")]
    rows = _list(fields.get("space directions"), len(sizes), ())
    directed = "space directions" in fields
    axes = [
        i
        for i, (kind, row) in enumerate(zip(kinds, rows, strict=True))
        if kind in _SPATIAL and (not directed or _is_vector(row))
    ]
    others = [n for i, n in enumerate(sizes) if i not in axes]
    if len(axes) < 3 or any(n != 1 for n in others):
        raise InputError(
            "image-dimensions", "not a three-dimensional image of one channel", where=path.name,
            got=f"sizes {tuple(sizes)}, of which {len(axes)} are axes of space", expected="three axes",
            todo="Export one volume: of a segmentation in layers a label map, of channels one file each.",
        )  # fmt: skip
    return axes


def _list(value: object, count: int, default: object) -> list[object]:
    value = value.split() if isinstance(value, str) else value
    items = [default] * count if value is None else list(value)  # type: ignore[call-overload]  # of pynrrd
    if len(items) != count:
        raise ValueError("one entry an axis")
    return items


def _is_vector(row: object) -> bool:
    return row is not None and bool(np.isfinite(_array(row)).all())


def _grid(fields: Fields, axes: Sequence[int], sizes: Sequence[int]) -> _Grid:
    if "space directions" in fields:
        rows = _list(fields["space directions"], len(_array(fields["sizes"])), ())
        columns = np.stack([_array(rows[i])[:3] for i in axes]).T
        origin = np.nan_to_num(_array(fields.get("space origin", np.zeros(3)))[:3])
        units = [str(unit) for unit in _list(fields.get("space units"), _space_axes(fields), "mm")[:3]]
        return _Grid(columns=columns, origin=origin, units=tuple(units), scaled=True, directed=True)
    count = len(_array(fields["sizes"]))
    given = _array(_list(fields.get("spacings"), count, np.nan))[list(axes)]
    spacing = np.where(np.isnan(given), _from_ends(fields, axes, sizes), given)
    scaled = not bool(np.isnan(spacing).any())
    units = [str(_list(fields.get("units"), count, "mm")[i]) for i in axes]
    return _Grid(
        columns=np.diag(np.where(np.isnan(spacing), 1.0, spacing)),
        origin=np.zeros(3),
        units=tuple(units) if scaled else ("mm",) * 3,
        scaled=scaled,
        directed=False,
    )


def _space_axes(fields: Fields) -> int:
    if "space units" in fields:
        return len(list(fields["space units"]))  # type: ignore[call-overload]  # a list of pynrrd
    return 3


def _from_ends(fields: Fields, axes: Sequence[int], sizes: Sequence[int]) -> Vector:
    """Return spacings from the ends of the axes (`axis mins`, `axis maxs`): of cells, or nodes where told."""
    count = len(_array(fields["sizes"]))
    first, last = (
        _array(_list(fields.get(f"axis {end}", fields.get(f"axis{end}")), count, np.nan))[list(axes)]
        for end in ("mins", "maxs")
    )
    centers = _list(fields.get("centers", fields.get("centerings")), count, "cell")
    nodes = np.array([str(centers[i]).lower() == "node" for i in axes])
    spacing: Vector = (last - first) / np.maximum(np.array(sizes) - nodes, 1)
    return spacing


def _geometry(path: Path, fields: Fields, grid: _Grid, shape: Shape) -> tuple[Geometry, tuple[Note, ...]]:
    """Return the grid in LPS mm; units are those of the axes of space, or without directions of the array."""
    factors = np.diag([to_millimetres(unit) or 1.0 for unit in grid.units])
    affine = np.eye(4)
    affine[:3, :3] = factors @ grid.columns if grid.directed else grid.columns @ factors
    affine[:3, 3] = factors @ grid.origin
    require_positive(path, np.linalg.norm(affine[:3, :3], axis=0))
    if not grid.directed:
        require_positive(path, np.diag(grid.columns))
    affine = np.diag([*(_signs(fields) or (1, 1, 1)), 1.0]) @ affine
    return Geometry.from_affine(shape, affine), unit_notes("nrrd-units", grid.units)


def _voxels(path: Path, file: BinaryIO, fields: Fields, header: PlainHeader) -> NDArray[np.generic]:
    """Return all voxels in the order of the file, `file` being where the header ended."""
    count = int(np.prod(header.geometry.shape))
    need = count * header.dtype.itemsize
    lines = int(str(fields.get("line skip", fields.get("lineskip", 0))))
    skip = int(str(fields.get("byte skip", fields.get("byteskip", 0))))
    if lines < 0 or skip < -1 or (skip == -1 and header.encoding != "raw"):
        raise unreadable_error(path, "NRRD", f"line skip {lines}, byte skip {skip}")
    for _ in range(min(lines, path.stat().st_size)):
        file.readline(_LONGEST_HEADER)
    if header.encoding in ("text", "hex"):
        file.seek(skip, os.SEEK_CUR)
        text = file.read().decode("ascii")
        if header.encoding == "text":
            return parse_text(path, text, header.dtype, count)
        return np.frombuffer(bytes.fromhex("".join(text.split())), header.dtype, count)
    data = _read_binary(path, file, header.encoding, skip, need)
    return np.frombuffer(data, dtype=header.dtype)


def _read_binary(path: Path, file: BinaryIO, encoding: str, skip: int, need: int) -> bytes:
    if encoding == "gzip":
        with gzip.GzipFile(fileobj=file) as inflated:
            return _after(path, inflated, skip, need)
    if encoding == "bzip2":
        with bz2.BZ2File(file) as inflated:
            return _after(path, inflated, skip, need)
    if skip == -1:
        rest = os.fstat(file.fileno()).st_size - file.tell()
        if rest < need:
            raise truncated_error(path, f"{rest} bytes", f"{need} bytes")
        file.seek(-need, os.SEEK_END)
        skip = 0
    return _after(path, file, skip, need)


def _after(path: Path, stream: BinaryIO | gzip.GzipFile | bz2.BZ2File, skip: int, need: int) -> bytes:
    """Return `need` bytes after `skip` others, which have to be the last."""
    stream.seek(skip, os.SEEK_CUR)
    return read_exactly(path, stream, need)
