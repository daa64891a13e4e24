"""Measure one image of bone: `srrd measure`. Any format that is read here; a flat object of numbers out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import nrrd
import numpy as np
from numpy.typing import NDArray

from srrd_ray.errors import ConfigError
from srrd_ray.geometry import Geometry
from srrd_ray.io.atomic import replacing
from srrd_ray.io.images import read_image, read_mask
from srrd_ray.io.schemas import validate
from srrd_ray.morphometry.binarize import otsu_threshold, smooth_one_voxel
from srrd_ray.morphometry.field import scanned_field
from srrd_ray.morphometry.maps import BoneMaps, bone_maps
from srrd_ray.morphometry.measures import BoneMeasures, measure_maps
from srrd_ray.morphometry.thickness import Border, Mode, Wall

Mask: TypeAlias = NDArray[np.bool_]
Value: TypeAlias = float | int | str | list[float] | None
Flat: TypeAlias = dict[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How bone was told from marrow, in words, and the grey value above which a voxel is bone (null for binary images)."""

    method: str
    threshold: float | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Binary:
    """Bone of an image, how it was told from marrow, and where the image was scanned (null: everywhere).

    `grey` is the image over the threshold, positive in bone; null for a binary image, and where it was not asked for.
    """

    bone: Mask
    grey: NDArray[np.float64] | None
    field: Mask | None
    cut: Cut


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasuredImage:
    """What was measured on one image: the numbers, the maps and the region they were averaged over, and the grid."""

    measures: BoneMeasures
    maps: BoneMaps
    region: Mask
    cut: Cut
    grid: Geometry

    @property
    def flat(self) -> Flat:
        """The measures under the symbols of the field."""
        return flat(self.measures, self.cut)


def measure_image(
    path: Path,
    *,
    roi: Path | None = None,
    threshold: str = "auto",
    maps: Path | None = None,
    threads: int = 0,
) -> Flat:
    """Return the measures of the image at `path` under the symbols of the field.

    `maps` is a folder for ``thickness.nrrd`` and ``spacing.nrrd`` (mm, 0 elsewhere), which open in 3D Slicer; the rest as in
    `measured`.
    """
    found = measured(path, roi=roi, threshold=threshold, threads=threads)
    if maps is not None:
        write_maps(maps, found.maps, found.grid)
    return found.flat


def measured(
    path: Path,
    *,
    roi: Path | None = None,
    threshold: str = "auto",
    border: Border = "open",
    mode: Mode = "exact",
    surface: Wall = "voxel",
    threads: int = 0,
) -> MeasuredImage:
    """Return the measures and the maps of the image at `path`.

    Parameters
    ----------
    path
        NIfTI, NRRD, MHA, OME-Zarr, or a folder of DICOM files.
    roi
        Mask on the same grid; it restricts averaging and is never a wall. Null: all that was scanned.
    threshold
        ``auto``: Otsu after a Gaussian of one voxel; ``binary``: every non-zero voxel is bone; or a grey value, above which
        a voxel is bone.
    border, mode, surface, threads
        As in `local_thickness`; a sub-voxel surface comes from the grey image, or from the smoothed mask of a binary one;
        0 threads for all cores.

    Raises
    ------
    InputError
        What is wrong with the image or the mask, under the code of the fault.
    ConfigError
        `threshold-invalid`.
    """
    image = read_image(path)
    geometry = image.volume.geometry
    binary = binarized(image.volume.array, threshold, keep_grey=surface == "subvoxel")
    region = None if roi is None else read_mask(roi, geometry).array
    if region is None:
        region = np.ones(geometry.shape, dtype=np.bool_) if binary.field is None else binary.field
    found = bone_maps(
        binary.bone,
        nominal(geometry.spacing_mm),
        border=border,
        mode=mode,
        surface=surface,
        grey=binary.grey,
        field=binary.field,
        threads=threads,
    )
    return MeasuredImage(
        measures=measure_maps(found, region, threads=threads), maps=found, region=region, cut=binary.cut, grid=geometry
    )


def binarized(image: NDArray[np.generic], threshold: str, *, keep_grey: bool = False) -> Binary:
    """Return the bone of a grey or binary image; `keep_grey`: with what the threshold cut.

    A grey image with zeros round a scanned cylinder ends at that cylinder (`scanned_field`).
    """
    if threshold == "binary":
        return Binary(bone=image != 0, grey=None, field=None, cut=cut_of(threshold, None, field=False))
    field = scanned_field(image)
    if threshold == "auto":
        grey = smooth_one_voxel(image)
        level = otsu_threshold(grey)
    else:
        grey, level = image.astype(np.float64), grey_value(threshold)
    cut = cut_of(threshold, level, field=field is not None)
    return Binary(bone=grey > level, grey=grey - level if keep_grey else None, field=field, cut=cut)


def cut_of(threshold: str, level: float | None, *, field: bool) -> Cut:
    """Return how bone was told from marrow; `field`: the zeros round the scanned field were left out."""
    words = {"binary": "binary", "auto": "Otsu after a Gaussian of one voxel"}.get(threshold, "grey value")
    return Cut(method=words + (", zeros round the scanned field left out" if field else ""), threshold=level)


def grey_value(text: str) -> float:
    """Return the grey value that a threshold given as text stands for.

    Raises
    ------
    ConfigError
        `threshold-invalid` for anything but a finite number.
    """
    try:
        level = float(text)
    except ValueError:
        level = np.nan
    if not np.isfinite(level):
        raise ConfigError(
            "threshold-invalid", "no such threshold", got=repr(text[:32]), expected="auto, binary or a grey value"
        )
    return level


def nominal(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the spacing to six digits: headers hold float32, and 0.01950000040 mm is meant as 0.0195 mm."""
    z, y, x = (float(f"{s:.6g}") for s in spacing_mm)
    return z, y, x


def flat(found: BoneMeasures, cut: Cut) -> Flat:
    """Return the measures as one flat object; what has no value is null, and `status` says why.

    Units: Tb.Th, Tb.Sp mm; Tb.N, BS/BV, BS/TV, Tb.Pf 1/mm; BS mm²; Conn.D 1/mm³; the rest without. `spacing_mm` is one number
    for cubic voxels, else (z, y, x).
    """
    cubic = len(set(found.spacing_mm)) == 1
    words = {"voxel": "", "subvoxel": ", sub-voxel surface"}[found.surface]
    thickness = f"{found.mode} local thickness, {found.border} border{words}"
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
        "SMI": found.smi,
        "Tb.Pf": found.tb_pf_per_mm,
        "FD": found.fractal_dimension,
        "spacing_mm": found.spacing_mm[0] if cubic else list(found.spacing_mm),
        "n_voxels": found.n_voxels,
        "coverage": found.coverage,
        "threshold": cut.threshold,
        "status": found.status,
        "method": f"{cut.method}; {thickness}; Tb.N = (BV/TV)/Tb.Th",
    }


def to_text(measures: Mapping[str, Value]) -> str:
    """Return the measures as JSON, in their order, with a newline at the end.

    Raises
    ------
    StoreError
        `schema-invalid` where they do not obey ``srrd-bone/1``.
    """
    validate("bone", dict(measures))
    return json.dumps(measures, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_maps(folder: Path, maps: BoneMaps, geometry: Geometry) -> None:
    """Write ``thickness.nrrd`` and ``spacing.nrrd`` (float32, mm, LPS) to `folder`, each whole or not at all."""
    affine = geometry.affine
    header = {
        "space": "left-posterior-superior",
        "space directions": affine[:3, :3].T,
        "space origin": affine[:3, 3],
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    for name, values in (("thickness", maps.thickness_mm), ("spacing", maps.separation_mm)):
        with replacing(folder / f"{name}.nrrd") as beside:
            nrrd.write(str(beside), values.transpose(2, 1, 0), header, compression_level=1)
