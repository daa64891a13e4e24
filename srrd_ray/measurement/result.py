"""What was measured on one image, under the symbols of the field: a flat object of numbers, and maps for 3D Slicer."""

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
    """How bone was told from marrow, in words, and the grey value above which a voxel is bone (null for binary images).

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
    """What was measured on one image.

    `mapped` is null where the image does not resolve trabeculae; `fraction` is the bone fraction of MR and CT, on the grid of
    the image; `about` is what else the flat object names: references, polarity, the plate.
    """

    measures: BoneMeasures
    binarization: Binarization
    mapped: Mapped | None = None
    fraction: Volume[np.float32] | None = None
    about: Flat = field(default_factory=dict)

    @property
    def flat(self) -> Flat:
        """The measures under the symbols of the field."""
        return flat(self.measures, self.binarization) | self.about

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
                "there is no map of thickness: the image does not resolve trabeculae, or the method makes none",
                todo="Leave --picture out.",
            )
        return self.mapped


def binarization_of(threshold: str, level: float | None, *, field: bool) -> Binarization:
    """Return how bone was told from marrow; `field`: the zeros round the scanned field were left out."""
    words = {"binary": "binary", "auto": "Otsu after a Gaussian of one voxel"}.get(threshold, "grey value")
    return Binarization(method=words + (", zeros round the scanned field left out" if field else ""), threshold=level)


def flat(found: BoneMeasures, binarization: Binarization) -> Flat:
    """Return the measures as one flat object; what has no value is null, and `status` says why.

    Units: Tb.Th, Tb.Sp mm; Tb.N, BS/BV, BS/TV, Tb.Pf 1/mm; BS mm²; Conn.D 1/mm³; the rest without. `spacing_mm` is one number
    for cubic voxels, else (z, y, x). ``DA.axis1`` is the unit vector of the longest mean intercept length along the array's
    z, y and x, ``DA.axis3`` that of the shortest.
    """
    cubic = len(set(found.spacing_mm)) == 1
    words = {"voxel": "", "subvoxel": ", sub-voxel surface"}[found.surface]
    thickness = f"; {found.mode} local thickness, {found.border} border{words}; Tb.N = (BV/TV)/Tb.Th"
    return {
        "BV/TV": found.bvtv,
        "Tb.Th": found.tb_th_mm,
        "Tb.Th.SD": found.tb_th_sd_mm,
        "Tb.Th.max": found.tb_th_max_mm,
        "Tb.Sp": found.tb_sp_mm,
        "Tb.Sp.SD": found.tb_sp_sd_mm,
        "Tb.Sp.max": found.tb_sp_max_mm,
        "Tb.N": found.tb_n_per_mm,
        "Tb.N(spacing)": found.tb_n_spacing_per_mm,
        "Tb.N(ridge)": found.tb_n_ridge_per_mm,
        "BS": found.bs_mm2,
        "BS/BV": found.bs_bv_per_mm,
        "BS/TV": found.bs_tv_per_mm,
        "Euler": found.euler,
        "Euler.corrected": found.euler_corrected,
        "Conn.D": found.conn_d_per_mm3,
        "DA": found.da,
        **_axes(found),
        "SMI": found.smi,
        "Tb.Pf": found.tb_pf_per_mm,
        "FD": found.fractal_dimension,
        "spacing_mm": found.spacing_mm[0] if cubic else list(found.spacing_mm),
        "n_voxels": found.n_voxels,
        "coverage": found.coverage,
        "threshold": binarization.threshold,
        "status": found.status,
        "method": binarization.method + (thickness if binarization.maps else ""),
    }


def _axes(found: BoneMeasures) -> Flat:
    """Return the eigenvalues (1/mm²) and axes of the MIL ellipsoid."""
    values = found.da_eigenvalues_per_mm2 or (None,) * 3
    axes = found.da_axes or ((None,) * 3,) * 3
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


def write_maps(folder: Path, found: MeasuredImage) -> None:
    """Write ``thickness.nrrd``, ``spacing.nrrd`` (mm) and for MR and CT ``fraction.nrrd``: float32, LPS, whole or not at all.

    Maps that the image does not have are not written.
    """
    if found.mapped is not None:
        write_nrrd(folder / "thickness.nrrd", found.mapped.grid, [found.mapped.maps.thickness_mm])
        write_nrrd(folder / "spacing.nrrd", found.mapped.grid, [found.mapped.maps.separation_mm])
    if found.fraction is not None:
        write_nrrd(folder / "fraction.nrrd", found.fraction.geometry, [found.fraction.array])
