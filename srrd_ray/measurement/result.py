"""The measures of one image, under the symbols of the field:
a flat object of numbers, and maps for 3D Slicer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.nrrd_writer import write_nrrd
from srrd_ray.morphometry.maps import BoneMaps
from srrd_ray.morphometry.measures import BoneMeasures
from srrd_ray.storage.schemas import validate

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
    """

    measures: BoneMeasures
    binarization: Binarization
    mapped: Mapped | None = None
    fraction: Volume[np.float32] | None = None
    about: Flat = field(default_factory=dict)

    @property
    def flat(self) -> Flat:
        """The measures under the symbols of the field."""
        return flatten(self.measures, self.binarization) | self.about

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


def describe_binarization(threshold: str, level: float | None, *, field: bool) -> Binarization:
    """Return how bone was separated from marrow; `field`: zeros outside the scanned field were excluded."""
    method = {"binary": "binary", "auto": "Otsu after a Gaussian of one voxel"}.get(threshold, "grey value")
    return Binarization(
        method=method + (", zeros round the scanned field left out" if field else ""), threshold=level
    )


def flatten(measures: BoneMeasures, binarization: Binarization) -> Flat:
    """Return the measures as one flat object; one without a value is null, for the reason in `status`.

    Units: Tb.Th, Tb.Sp mm; Tb.N, BS/BV, BS/TV, Tb.Pf 1/mm; BS mm²; Conn.D 1/mm³; the rest without.
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
    }


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
