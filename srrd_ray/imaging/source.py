"""What a reader of foreign images returns (header, image, notes), and the rules it follows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.records import Unit
from srrd_ray.core.settings import Positive, validate_fields
from srrd_ray.core.volume import Volume

Format: TypeAlias = Literal["dicom", "nifti", "nrrd", "mha", "tiff", "ome-zarr"]
Severity: TypeAlias = Literal["INFO", "FIX", "FLAG"]
Pixels: TypeAlias = NDArray[np.int16] | NDArray[np.float32]

AIR_HU = -1000
MIN_SLICES = 8
MAX_SPACING_MM = 10.0
LEAST_EXTENT_MM, MOST_EXTENT_MM = 12.0, 1500.0
SPACING_ABSENT, NO_ORIENTATION = "spacing-absent", "image-no-orientation"
"""Codes of the notes of a reader that found no voxel size, or no orientation."""
_HARMLESS = re.compile(
    r"(?:image|img|im|slice|dicom|dcm|ct|mr|series|ser|se|frame|file"
    r"|axial|sagittal|coronal|[eisz]|\d{1,5}|[-_.])+",
    re.I,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One thing a reader did (FIX), doubts (FLAG) or states (INFO); without patient data."""

    severity: Severity
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadRules:
    """What a reader may do where the input leaves a choice.

    Parameters
    ----------
    max_gib
        Largest decoded image, GiB; a larger one is refused from its header, before anything is allocated.
    gantry_tilt
        A stack that is not perpendicular to its slices: resample to an orthogonal grid, or refuse.
    irregular_spacing
        Slices at irregular positions (missing ones included): refuse, or resample to the smallest gap.
    shear
        A NIfTI, NRRD or MHA affine with shear: refuse, or resample to an orthogonal grid.
    nifti_form
        Which form counts where qform and sform disagree.
    not_a_knee
        A CT whose voxels show no knee: refuse, or flag. Any bone may be measured: `srrd measure` flags.
    """

    max_gib: Positive = 8.0
    gantry_tilt: Literal["resample", "refuse"] = "resample"
    irregular_spacing: Literal["refuse", "resample"] = "refuse"
    shear: Literal["refuse", "resample"] = "refuse"
    nifti_form: Literal["refuse", "sform", "qform"] = "refuse"
    not_a_knee: Literal["refuse", "flag"] = "refuse"

    def __post_init__(self) -> None:
        validate_fields(self)


DEFAULT_RULES = ReadRules()


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceHeader:
    """What is known of an image before its pixels are read.
    `technique` holds allow-listed acquisition values only.
    """

    format: Format
    geometry: Geometry
    notes: tuple[Note, ...] = ()
    technique: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceImage:
    """An image as it came, in HU or arbitrary units, with what was done to it.

    `scanned` is true where the reader knows of no padding; null where it knows of none at all.
    """

    volume: Volume[np.int16] | Volume[np.float32]
    unit: Unit
    scanned: NDArray[np.bool_] | None = None
    notes: tuple[Note, ...] = ()
    technique: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def safe_name(path: Path, listing: list[Path]) -> str:
    """Return the name of a file inside a series where it cannot carry a person's name, date or UID,
    else its ordinal.
    """
    if _HARMLESS.fullmatch(path.stem) and len(path.stem) <= 24 and path.stem.count(".") < 3:
        return path.name[:32]
    return f"file {listing.index(path) + 1} of {len(listing)} in order of name"


def check_memory(shape: tuple[int, ...], bytes_per_voxel: int, rules: ReadRules, where: str) -> None:
    """Refuse (`image-too-large`) an image whose decoded size exceeds the rules, before it is allocated."""
    gib = float(np.prod([float(n) for n in shape])) * max(bytes_per_voxel, 2) / 2**30
    if gib > rules.max_gib:
        raise InputError(
            "image-too-large",
            "the image needs more memory than is allowed",
            where=where,
            got=f"shape {shape}, {gib:.1f} GiB",
            expected=f"at most {rules.max_gib:g} GiB",
            todo="If the image is genuine, raise max_gib in the configuration of ingest.",
        )


def check_grid(shape: Shape, geometry: Geometry, where: str) -> None:
    """Refuse too few slices (`image-too-thin`) and spacings beyond 10 mm."""
    if min(shape) < MIN_SLICES:
        raise InputError(
            "image-too-thin",
            "too few slices for a volume",
            where=where,
            got=f"shape {shape} (z, y, x)",
            expected=f"at least {MIN_SLICES} along every axis",
            todo="Give the whole series; no spacing is invented.",
        )
    if max(geometry.spacing_mm) > MAX_SPACING_MM:
        raise spacing_error(where, geometry.spacing_mm)


def check_extent(geometry: Geometry, where: str, rules: ReadRules) -> tuple[Note, ...]:
    """Refuse (`not-a-knee`), or flag where the rules say so, a field of view that no knee has."""
    extent = [n * step for n, step in zip(geometry.shape, geometry.spacing_mm, strict=True)]
    if LEAST_EXTENT_MM <= max(extent) <= MOST_EXTENT_MM:
        return ()
    wrong = InputError(
        "not-a-knee",
        "the field of view is not that of a knee",
        where=where,
        got=" × ".join(f"{side:.4g}" for side in extent) + " mm (z, y, x)",
        expected=f"the longest side between {LEAST_EXTENT_MM:g} and {MOST_EXTENT_MM:g} mm",
        todo="Check the unit of the spacing.",
    )
    if rules.not_a_knee == "refuse":
        raise wrong
    return (Note(severity="FLAG", code="knee-doubtful", message=f"{wrong.what}: {wrong.got}"),)


def spacing_error(where: str, got: object) -> InputError:
    """Return the refusal of a spacing that is not positive, not finite or beyond 10 mm."""
    return InputError(
        "spacing-invalid",
        "voxel spacing makes no sense",
        where=where,
        got=f"{got} mm",
        expected=f"finite, above 0 and at most {MAX_SPACING_MM:g} mm",
        todo="Correct the header from the scanner's own files.",
    )
