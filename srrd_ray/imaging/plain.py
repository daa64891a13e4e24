"""What readers of single files share: the parsed header, lengths in millimetres, voxels of the bytes told.

Nothing is read or inflated beyond what a header says, and nothing less is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.imaging.reasons import explain
from srrd_ray.imaging.source import Note, spacing_error

MILLIMETRES = {
    "nanometer": 1e-6, "nm": 1e-6, "angstrom": 1e-7,
    "micron": 1e-3, "micrometer": 1e-3, "um": 1e-3, "µm": 1e-3, "μm": 1e-3,
    "millimeter": 1.0, "mm": 1.0,
    "centimeter": 10.0, "cm": 10.0,
    "decimeter": 100.0, "dm": 100.0,
    "meter": 1e3, "m": 1e3,
    "inch": 25.4, "in": 25.4,
}  # fmt: skip
"""Millimetres of a unit, under every name that one of the formats knows."""
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainHeader:
    """A parsed header.

    `oriented` is false where the file does not give the patient's axes, `scaled` where it gives no spacing:
    that is 1 then. `offset` is where the voxels begin.
    """

    geometry: Geometry
    oriented: bool
    dtype: np.dtype[np.generic]
    scaled: bool = True
    notes: tuple[Note, ...] = ()
    offset: int = 0
    encoding: str = "raw"


class Stream(Protocol):
    """What bytes are read from: a file, or one that inflates."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""
        ...


def to_millimetres(unit: str) -> float | None:
    """Return the millimetres of a unit, none where it is not known.

    Examples
    --------
    >>> to_millimetres("Microns"), to_millimetres("micrometre"), to_millimetres("pixel")
    (0.001, 0.001, None)
    """
    name = unit.strip().strip('"').lower().replace("metre", "meter")
    name = name.removesuffix("s") if len(name) > 2 else name
    return MILLIMETRES.get(name.removesuffix("e") if name == "inche" else name)


def unit_notes(code: str, units: Sequence[str]) -> tuple[Note, ...]:
    """Return the notes on the units of axes: a FLAG where one is unknown, a FIX where one was converted."""
    unknown = [unit for unit in units if to_millimetres(unit) is None]
    if unknown:
        text = "spatial unit unknown, taken as millimetres"
        return (Note(severity="FLAG", code=code, message=text),)
    others = sorted({unit.strip().lower() for unit in units if to_millimetres(unit) != 1.0})
    if not others:
        return ()
    return (Note(severity="FIX", code=code, message=f"{', '.join(others)} converted to millimetres"),)


def require_positive(path: Path, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `spacing`, refusing (`spacing-invalid`) what is not finite or not above zero."""
    if spacing.shape != (3,) or not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise spacing_error(path.name, spacing.tolist())
    return spacing


def three_axes(path: Path, sizes: Sequence[int], dtype: np.dtype[np.generic]) -> Shape:
    """Return the (z, y, x) shape of sizes (x, y, z, …); later axes of one are dropped, others refused."""
    kept = [*sizes[:3], *(n for n in sizes[3:] if n != 1)]
    if len(kept) != 3 or min(kept) < 1:
        raise InputError(
            "image-dimensions",
            "not a three-dimensional image of one channel",
            where=path.name,
            got=f"sizes {tuple(sizes)}, {dtype}",
            expected="three axes",
        )
    if dtype.kind not in "iuf":
        raise InputError("image-datatype", "voxels are not numbers", where=path.name, got=str(dtype))
    return kept[2], kept[1], kept[0]


def read_exactly(path: Path, stream: Stream, size: int) -> bytes:
    """Return the next `size` bytes, which have to be the last: reading on compares a checksum at the end."""
    data = read_at_least(path, stream, size)
    if stream.read(1):
        raise longer_error(path, f"more than {size} bytes", f"{size} bytes")
    return data


def read_at_least(path: Path, stream: Stream, size: int) -> bytes:
    """Return the next `size` bytes, refusing (`image-truncated`) a stream that ends before."""
    pieces, left = [], size
    while left and (piece := stream.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise truncated_error(path, f"{size - left} bytes", f"{size} bytes")
    return b"".join(pieces)


def parse_text(path: Path, text: str, dtype: np.dtype[np.generic], count: int) -> NDArray[np.generic]:
    """Return the `count` numbers of a text, refusing more, fewer, and what is none or does not fit."""
    words = text.split()
    if len(words) < count:
        raise truncated_error(path, f"{len(words)} numbers", f"{count} numbers")
    if len(words) > count:
        raise longer_error(path, f"{len(words)} numbers", f"{count} numbers")
    number = float if dtype.kind == "f" else int
    try:
        return np.array([number(word) for word in words], dtype)
    except (ValueError, OverflowError) as error:
        raise unreadable_error(path, "text", explain(error)) from error


def unreadable_error(path: Path, kind: str, got: str) -> InputError:
    """Return the refusal of a file that does not follow its format."""
    return InputError(
        "image-unreadable", f"not a readable {kind} file", where=path.name, got=got,
        todo="Export it again from its source.",
    )  # fmt: skip


def detached_error(path: Path) -> InputError:
    """Return the refusal of a header that names other files."""
    return InputError(
        "image-detached",
        "the header points to another file for its voxels",
        where=path.name,
        expected="header and voxels in one file",
        todo="Save it as one file (.nrrd, .mha): a header may not choose which files are read.",
    )


def truncated_error(path: Path, got: str, expected: str = "") -> InputError:
    """Return the refusal of a file that ends early."""
    return InputError(
        "image-truncated", "the file ends before its voxels do", where=path.name, got=got, expected=expected,
        todo="Copy it again from its source.",
    )  # fmt: skip


def longer_error(path: Path, got: str, expected: str) -> InputError:
    """Return the refusal of a file that holds more than its header says."""
    return InputError(
        "image-unreadable", "the file holds more than its header says", where=path.name, got=got,
        expected=expected, todo="Export it again from its source: sizes or type in its header are wrong.",
    )  # fmt: skip
