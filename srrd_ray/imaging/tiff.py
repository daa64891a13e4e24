"""TIFF stacks: a file with pages, or a folder of slices; the scale from OME, ImageJ or resolution tags."""

from __future__ import annotations

import logging
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.plain import PlainHeader, to_millimetres
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, ReadRules, check_memory, spacing_error
from srrd_ray.imaging.tiff_slices import order_slices, tiff_files

Steps = tuple[float | None, float | None, float | None]
"""Millimetres along z, y and x; null where the file does not say."""

SCREEN_DPI = np.array([1, 72, 75, 90, 96, 100, 120, 150, 180, 200, 240, 300, 360, 400, 600, 720, 1200, 2400])
"""Pixels per inch, also written per centimetre, that programs write where nobody has set a scale."""
MOST_CHANNELS = 4
NO_SLICES = {"T": "time points", "C": "channels"}
"""Axes that programs write for slices where nobody has said what they are."""
INCH, CENTIMETRE, WHITE_IS_ZERO = 2, 3, 0
STRAIGHT_LINE, UNCALIBRATED = 0, 20
"""ImageJ's numbers of grey value calibrations."""
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_CUT = re.compile("invalid (page offset|circular)|corrupted")
_BROKEN = (
    tifffile.TiffFileError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    RuntimeError, ArithmeticError, AssertionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What the library raises on a damaged file."""


def is_stack(folder: Path) -> bool:
    """Return whether the TIFF files of a folder are the slices of one volume, not volumes themselves."""
    files = tiff_files(folder)
    return len(files) > 1 and next(filter(None, map(_count_pages, files)), 0) == 1


def read_header(path: Path, rules: ReadRules) -> PlainHeader:
    """Return the header of a TIFF volume.

    Raises
    ------
    InputError
        `image-unreadable`, `image-truncated`, `image-dimensions`, `image-datatype`, `image-too-large`,
        `spacing-invalid`, or as `order_slices`.
    """
    files, notes = order_slices(path) if path.is_dir() else ([path], ())
    with _opened(files[0], _place(path, files[0])) as (file, doubts):
        series = file.series[0]
        shape, dtype, about = _shape(path, file, len(files))
        calibration, shown = _calibration(file)
        dtype = dtype if calibration is None else np.dtype(np.float32)
        notes += about + shown
        check_memory(shape, dtype.itemsize, rules, path.name)
        _require_bytes(files[0], file, path.name)
        steps, found = _scale(file)
        if series.keyframe.photometric == WHITE_IS_ZERO:
            text = "stored with white as zero: values are as stored; invert it where bone is low"
            notes += (_flag("tiff-white-is-zero", text),)
        cut = any(_CUT.search(text) for text in doubts)
        if cut:
            raise _cut_error(path.name, "pages that cannot be reached")
    notes += found + tuple(dict.fromkeys(_flag("tiff-doubtful", text) for text in doubts))
    return _header(path, shape, dtype, steps, notes)


def read_values(path: Path) -> NDArray[np.generic]:
    """Return the (z, y, x) values as they are stored.

    Raises
    ------
    InputError
        `image-truncated`, `tiff-codec` (a compression that cannot be decoded), `tiff-mixed` (a slice of
        another size or kind than the first).
    """
    if not path.is_dir():
        return _pages(path, path.name)
    files = order_slices(path)[0]
    first = _stored_kind(files[0], _place(path, files[0]))
    for number, file in enumerate(
        files, start=1
    ):  # before anything is decoded: a header may ask for any size
        kind = _stored_kind(file, _place(path, file))
        if kind != first or len(kind[0]) != 2:
            raise InputError(
                "tiff-mixed", "a slice differs from the first in size or kind", where=path.name,
                got=f"slice {number}: {kind[0]}, {kind[1]}", expected=f"{first[0]}, {first[1]}, 1 page",
            )  # fmt: skip
    return np.concatenate([_pages(file, _place(path, file)) for file in files])


def _place(volume: Path, file: Path) -> str:
    """Return the name of a file for messages; with that of the folder whose slice it is."""
    return volume.name if file == volume else f"{volume.name}/{file.name}"


def _stored_kind(path: Path, where: str) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Return the size in a file (axes of one left out), its kind of numbers, and if they are as stored."""
    with _opened(path, where) as (file, _):
        series = file.series[0]
        sizes = zip(series.axes, series.shape, strict=True)
        kept = tuple(int(n) for axis, n in sizes if n != 1 or axis in "YX")
        return kept, np.dtype(series.dtype), _calibration(file)[0] is None


def _calibration(file: tifffile.TiffFile) -> tuple[tuple[float, float] | None, tuple[Note, ...]]:
    """Return ImageJ's offset and slope of grey values, none where they are as stored."""
    about = (file.imagej_metadata or {}) if file.is_imagej else {}
    kind = int(about.get("cf", UNCALIBRATED))
    if kind == UNCALIBRATED:
        return None, ()
    if kind != STRAIGHT_LINE or not {"c0", "c1"} <= about.keys():
        text = "the grey values have a calibration that is no straight line: they are taken as stored"
        return None, (_flag("tiff-calibration", text),)
    offset, slope = float(about["c0"]), float(about["c1"])
    if (offset, slope) == (0.0, 1.0):
        return None, ()
    text = f"grey values as ImageJ shows them: {offset:g} + {slope:g} × stored"
    return (offset, slope), (Note(severity="FIX", code="tiff-calibration", message=text),)


def _header(
    path: Path, shape: Shape, dtype: np.dtype[np.generic], steps: Steps, notes: tuple[Note, ...]
) -> PlainHeader:
    z, y, x = steps
    if y is None or x is None:
        geometry = Geometry.axis_aligned(shape, (1.0, 1.0, 1.0))
        return PlainHeader(geometry=geometry, oriented=False, dtype=dtype, scaled=False, notes=notes)
    if z is None:
        text = f"the distance of the slices is not said: taken as that of the rows, {y:.6g} mm"
        z, notes = y, (*notes, _flag("tiff-slice-distance", text))
    spacing = (z, y, x)
    if not all(0 < step < np.inf for step in spacing):
        raise spacing_error(path.name, spacing)
    return PlainHeader(
        geometry=Geometry.axis_aligned(shape, spacing), oriented=False, dtype=dtype, notes=notes
    )


@contextmanager
def _opened(path: Path, where: str) -> Iterator[tuple[tifffile.TiffFile, list[str]]]:
    """Yield a file, and what its library complains of: a chain of pages that is cut is only logged there."""
    doubts: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: doubts.append(record.getMessage()[:200])  # type: ignore[method-assign]
    library = logging.getLogger("tifffile")
    library.addHandler(listener)
    library.propagate = False
    try:
        with path.open("rb") as handle, tifffile.TiffFile(handle, _multifile=False) as file:
            yield file, doubts
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            "image-unreadable", "not a readable TIFF file", where=where, got=explain(error),
            todo="Export it again from its source.",
        ) from error  # fmt: skip
    finally:
        library.removeHandler(listener)
        library.propagate = True


def _count_pages(path: Path) -> int:
    """Return the pages of the first image in a file; 0 where it cannot be read: another file may tell."""
    try:
        with _opened(path, path.parent.name) as (file, _):
            return len(file.series[0].pages)
    except InputError:
        return 0


def _shape(
    path: Path, file: tifffile.TiffFile, files: int
) -> tuple[Shape, np.dtype[np.generic], tuple[Note, ...]]:
    series = file.series[0]
    dtype = np.dtype(series.dtype)
    kept = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n != 1 or axis in "YX"]
    axes = "".join(axis for axis, _ in kept)
    if "S" in axes or dtype.kind not in "iufb":
        raise InputError(
            "image-datatype", "colour or complex voxels", where=path.name, got=f"axes {axes}, {dtype}",
            expected="one real number a voxel", todo="Convert it to grey values.",
        )  # fmt: skip
    slices = kept[0][1] if len(kept) == 3 else files
    fits = axes[-2:] == "YX" and len(kept) in (2, 3) and (len(kept) == 2 or files == 1)
    if not fits or slices < 2 or 0 in series.shape or (axes[0] == "C" and slices <= MOST_CHANNELS):
        raise InputError(
            "image-dimensions", "not a three-dimensional image of one channel", where=path.name,
            got=f"axes {axes} of {tuple(n for _, n in kept)}, {files} files", expected="two or more slices",
            todo="Save one channel as a stack: pages of a file, or a folder with a file a slice.",
        )  # fmt: skip
    notes: tuple[Note, ...] = ()
    if len(kept) == 3 and axes[0] in NO_SLICES:
        notes = (_flag("tiff-axes", f"{slices} {NO_SLICES[axes[0]]} are taken as slices"),)
    if len(file.series) > 1:
        notes += (_flag("tiff-ignored", f"the first of {len(file.series)} images in the file is taken"),)
    return (slices, kept[-2][1], kept[-1][1]), dtype, notes


def _require_bytes(path: Path, file: tifffile.TiffFile, where: str) -> None:
    """Refuse (`image-truncated`) a file that ends before its voxels do."""
    size = path.stat().st_size
    series = file.series[0]
    pages = [page for page in series.pages if page is not None]
    ends = [sum(piece) for page in pages for piece in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if series.dataoffset is not None:  # one run of voxels, of which the first page alone has an entry
        ends.append(series.dataoffset + series.nbytes)
    need = max(ends, default=0)
    if need > size:
        raise _cut_error(where, f"{size} bytes", f"{need} bytes")


def _cut_error(where: str, got: str, expected: str = "") -> InputError:
    what, todo = "the file ends before its voxels do", "Copy it again from its source."
    return InputError("image-truncated", what, where=where, got=got, expected=expected, todo=todo)


def _pages(path: Path, where: str) -> NDArray[np.generic]:
    """Return the pages of a file (z, y, x), calibrated as the file says."""
    with _opened(path, where) as (file, _):
        series = file.series[0]
        line, _ = _calibration(file)
        try:
            values = np.asarray(series.asarray())
        except _BROKEN as error:
            plain = series.keyframe.photometric != WHITE_IS_ZERO and series.dtype != np.int8
            values = _pages_by_pillow(path, where, error, plain=plain)
    if line is not None:
        offset, slope = line
        values = values.astype(np.float32) * np.float32(slope) + np.float32(offset)
    return values.reshape(-1, *values.shape[-2:])


def _pages_by_pillow(path: Path, where: str, error: Exception, *, plain: bool) -> NDArray[np.generic]:
    """Return the pages as Pillow decodes them: tifffile alone does not know LZW.

    Only `plain` ones: Pillow turns white as zero round, and takes signed bytes for unsigned ones.
    """
    if "imagecodecs" not in str(error):
        raise _cut_error(where, explain(error)) from error
    if not plain:
        raise _codec_error(where, str(error)[:80]) from error
    try:
        with Image.open(path) as image:
            pages = []
            for page in range(getattr(image, "n_frames", 1)):
                image.seek(page)
                pages.append(np.asarray(image))
        return np.stack(pages)
    except (OSError, ValueError, SyntaxError, EOFError) as second:
        raise _codec_error(where, str(error)[:80]) from second


def _codec_error(where: str, got: str) -> InputError:
    return InputError(
        "tiff-codec", "a compression that cannot be decoded", where=where, got=got,
        todo="Save it again without compression.",
    )  # fmt: skip


def _scale(file: tifffile.TiffFile) -> tuple[Steps, tuple[Note, ...]]:
    """Return the voxel size: from OME, else ImageJ, else the resolution tags."""
    if file.is_ome and file.ome_metadata:
        return _ome_scale(file.ome_metadata)
    about = file.imagej_metadata or {}
    per = [_resolution(file, f"{axis}Resolution") for axis in "YX"]
    if file.is_imagej:
        x, y, z = (_imagej_unit(about, name) for name in ("unit", "yunit", "zunit"))
        if x is None:
            return (None, None, None), ()
        steps = (unit / one if unit and one else None for unit, one in zip((y, x), per, strict=True))
        row, column = steps
        return (float(about["spacing"]) * z if z and "spacing" in about else None, row, column), ()
    unit = {INCH: 25.4, CENTIMETRE: 10.0}.get(_number(file, "ResolutionUnit"))
    if unit is None or _is_of_a_screen(per[1], unit):
        return (None, None, None), ()
    return (None, *_steps(per, unit)), ()


def _imagej_unit(about: Mapping[str, object], name: str) -> float | None:
    """Return the millimetres of ImageJ's unit along an axis: that of x, where the axis has none itself."""
    return to_millimetres(str(about.get(name, about.get("unit", ""))).replace("\\u00B5", "µ"))


def _is_of_a_screen(per: float | None, unit: float) -> bool:
    """Return whether pixels per `unit` mm are a density of screens and printers, or one a unit."""
    return per is not None and (
        per == 1.0 or bool(np.isclose(per * 25.4 / unit, SCREEN_DPI, rtol=1e-3).any())
    )


def _steps(per: list[float | None], unit: float) -> tuple[float | None, float | None]:
    y, x = (unit / one if one else None for one in per)
    return y, x


def _ome_scale(text: str) -> tuple[Steps, tuple[Note, ...]]:
    found = _PIXELS.search(text)
    pixels = dict(re.findall(r'(\w+)="([^"]*)"', found[0])) if found else {}
    steps: list[float | None] = []
    notes: tuple[Note, ...] = ()
    for axis in "ZYX":
        size, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        factor = to_millimetres(unit)
        if size is not None and factor is None:
            notes = (_flag("tiff-units", f"a unit that is no length: {unit[:16]!r}"),)
        steps.append(float(size) * factor if size is not None and factor is not None else None)
    z, y, x = steps
    return (z, y, x), notes


def _resolution(file: tifffile.TiffFile, name: str) -> float | None:
    """Return pixels a unit of length; null where the tag is absent or no ratio."""
    tag = file.series[0].keyframe.tags.get(name)
    if tag is None or not isinstance(tag.value, tuple) or 0 in tag.value[:2]:
        return None
    return float(tag.value[0]) / float(tag.value[1])


def _number(file: tifffile.TiffFile, name: str) -> int:
    tag = file.series[0].keyframe.tags.get(name)
    return int(tag.value) if tag is not None else 0


def _flag(code: str, message: str) -> Note:
    return Note(severity="FLAG", code=code, message=message)
