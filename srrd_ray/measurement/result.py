"""The measures of one image, under the symbols of the field:
a flat object of numbers, and maps for 3D Slicer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray import __version__
from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.nrrd_writer import write_nrrd
from srrd_ray.imaging.source import Note
from srrd_ray.measurement.cut import Cut
from srrd_ray.measurement.doubts import has_scale
from srrd_ray.morphometry.maps import BoneMaps
from srrd_ray.morphometry.measures import BoneMeasures
from srrd_ray.storage.schemas import validate

BETWEEN = " | "
LENGTHS = MappingProxyType({
    1: ("Tb.Th", "Tb.Th.SD", "Tb.Th.max", "Tb.Sp", "Tb.Sp.SD", "Tb.Sp.max", "Plate.Th", "Plate.Th.SD"),
    2: ("BS",),
    -1: ("Tb.N", "Tb.N(spacing)", "Tb.N(ridge)", "BS/BV", "BS/TV", "Tb.Pf"),
    -2: ("DA.eigenvalue1", "DA.eigenvalue2", "DA.eigenvalue3"),
    -3: ("Conn.D",),
})  # fmt: skip
"""Power of the unit of length, and what has that unit; all else has none."""
SUPERSCRIPTS = ("", "", "²", "³")

Value: TypeAlias = float | int | str | list[float] | None
Flat: TypeAlias = dict[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Binarization:
    """How bone was separated from marrow, as text, and the grey value above
    which a voxel is bone (null if binary).

    `maps`: whether thickness comes from maps of local thickness.
    """

    method: str
    threshold: float | None
    maps: bool = True


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mapped:
    """The maps of an image, the region they were averaged over, and their grid."""

    maps: BoneMaps
    region: NDArray[np.bool_]
    grid: Geometry


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasuredImage:
    """The measures of one image.

    `mapped` is null where the image does not resolve trabeculae; `fraction` is the bone fraction of MR and
    CT, on the grid of the image; `about` is what else the flat object names: references, polarity, the plate.
    `notes` are what the reader corrected or doubts, and the doubts about the measurement.
    """

    measures: BoneMeasures
    binarization: Binarization
    mapped: Mapped | None = None
    fraction: Volume[np.float32] | None = None
    about: Flat = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def flat(self) -> Flat:
        """The measures under the symbols of the field."""
        return flatten(self.measures, self.binarization, self.notes) | self.about

    @property
    def maps(self) -> Mapped:
        """The maps.

        Raises
        ------
        NotEstimableError
            `thickness-unresolved` where there are none.
        """
        if self.mapped is None:
            raise NotEstimableError(
                "thickness-unresolved",
                "there is no map of thickness: the image does not resolve trabeculae, or the method makes "
                "none",
                todo="Leave --picture out.",
            )
        return self.mapped


def describe_binarization(
    cut: Cut, level: float | None, padding: float | None, unscanned: int = 0
) -> Binarization:
    """Return how bone was separated from marrow; what was left out, if anything: `padding` round the scanned
    field, and so many voxels of which the reader knows that they were not scanned.
    """
    left_out = f", {unscanned} voxels of padding left out" if unscanned else ""
    left_out += "" if padding is None else f", {_padding(padding)} round the scanned field left out"
    return Binarization(method=cut.method + left_out, threshold=None if cut.binary else level)


def _padding(value: float) -> str:
    return f"padding of {value:g}" if value else "zeros"


def flatten(measures: BoneMeasures, binarization: Binarization, notes: Sequence[Note] = ()) -> Flat:
    """Return the measures as one flat object; one without a value is null, for the reason in `status`.

    ``units`` names the unit of each that has one; voxels where the voxel size is not known.
    ``notes`` are the FIX and FLAG of reader and measurement, with `BETWEEN` between; null for none.
    `spacing_mm` is one number for cubic voxels, else (z, y, x).
    ``DA.axis1`` is the unit vector of the longest mean intercept length along the array's z, y and x,
    ``DA.axis3`` that of the shortest.
    """
    cubic = len(set(measures.spacing_mm)) == 1
    surface = {"voxel": "", "subvoxel": ", sub-voxel surface"}[measures.surface]
    thickness = f"; {measures.mode} local thickness, {measures.border} border{surface}; Tb.N = (BV/TV)/Tb.Th"
    return {
        "BV/TV": measures.bvtv,
        "Tb.Th": measures.tb_th_mm,
        "Tb.Th.SD": measures.tb_th_sd_mm,
        "Tb.Th.max": measures.tb_th_max_mm,
        "Tb.Sp": measures.tb_sp_mm,
        "Tb.Sp.SD": measures.tb_sp_sd_mm,
        "Tb.Sp.max": measures.tb_sp_max_mm,
        "Tb.N": measures.tb_n_per_mm,
        "Tb.N(spacing)": measures.tb_n_spacing_per_mm,
        "Tb.N(ridge)": measures.tb_n_ridge_per_mm,
        "BS": measures.bs_mm2,
        "BS/BV": measures.bs_bv_per_mm,
        "BS/TV": measures.bs_tv_per_mm,
        "Euler": measures.euler,
        "Euler.corrected": measures.euler_corrected,
        "Conn.D": measures.conn_d_per_mm3,
        "DA": measures.da,
        **_axes(measures),
        "SMI": measures.smi,
        "Tb.Pf": measures.tb_pf_per_mm,
        "FD": measures.fractal_dimension,
        "spacing_mm": measures.spacing_mm[0] if cubic else list(measures.spacing_mm),
        "n_voxels": measures.n_voxels,
        "coverage": measures.coverage,
        "threshold": binarization.threshold,
        "status": measures.status,
        "method": binarization.method + (thickness if binarization.maps else ""),
        "units": ", ".join(
            f"{name} {unit}" for name, unit in units_of("mm" if has_scale(notes) else "voxel")
        ),
        "notes": BETWEEN.join(str(note) for note in shown(notes)) or None,
        "software": f"SRRD-Ray {__version__}",
    }


def units_of(length: str) -> Iterator[tuple[str, str]]:
    """Yield the symbols that have a unit, and their units, where lengths are in `length`."""
    for power, names in LENGTHS.items():
        unit = f"{length}{SUPERSCRIPTS[abs(power)]}"
        yield from ((name, unit if power > 0 else f"1/{unit}") for name in names)


def shown(notes: Sequence[Note]) -> list[Note]:
    """Return the notes that a user has to see: each FIX and FLAG once."""
    return [note for note in dict.fromkeys(notes) if note.severity != "INFO"]


def _axes(measures: BoneMeasures) -> Flat:
    """Return the eigenvalues (1/mm²) and axes of the MIL ellipsoid."""
    values = measures.da_eigenvalues_per_mm2 or (None,) * 3
    axes = measures.da_axes or ((None,) * 3,) * 3
    named: Flat = {f"DA.eigenvalue{n}": value for n, value in enumerate(values, start=1)}
    for n, axis in enumerate(axes, start=1):
        named |= {f"DA.axis{n}.{name}": part for name, part in zip("zyx", axis, strict=True)}
    return named


def to_text(measures: Mapping[str, Value]) -> str:
    """Return the measures as JSON, in their order, with a newline at the end.

    Raises
    ------
    StoreError
        `schema-invalid` where they do not obey ``srrd-bone/1``.
    """
    validate("bone", dict(measures))
    return json.dumps(measures, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_maps(folder: Path, image: MeasuredImage) -> None:
    """Write ``thickness.nrrd``, ``spacing.nrrd`` (mm) and for MR and CT ``fraction.nrrd``:
    float32, LPS, whole or not at all.

    Maps that the image does not have are not written.
    """
    if image.mapped is not None:
        write_nrrd(folder / "thickness.nrrd", image.mapped.grid, [image.mapped.maps.thickness_mm])
        write_nrrd(folder / "spacing.nrrd", image.mapped.grid, [image.mapped.maps.separation_mm])
    if image.fraction is not None:
        write_nrrd(folder / "fraction.nrrd", image.fraction.geometry, [image.fraction.array])
