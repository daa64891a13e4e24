"""Everything that is measured on one binary volume, under the names and in the units of the field.

Nomenclature: Bouxsein et al., JBMR 25:1468 (2010); Dempster et al., JBMR 28:2 (2013).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.morphometry.anisotropy import DIRECTIONS, Vector, anisotropy
from srrd_ray.morphometry.distance import squared_distance_mm, squared_distance_voxels
from srrd_ray.morphometry.maps import (
    BoneMaps,
    RegionStatus,
    Spread,
    bone_maps,
    region_measures,
    summarize_spread,
)
from srrd_ray.morphometry.surface import Surface
from srrd_ray.morphometry.surface import surface as surface_of
from srrd_ray.morphometry.thickness import (
    Border,
    Mode,
    Spacing,
    Wall,
    cube_edge,
    is_isotropic,
    local_thickness,
    parse_phase,
    parse_region,
    parse_spacing,
    without_wall_beyond,
)
from srrd_ray.morphometry.topology import fractal_dimension, topology

Mask: TypeAlias = NDArray[np.bool_]
Number: TypeAlias = float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BoneMeasures:
    """Trabecular parameters of a region. A field is null where it has no value on this input,
    for the reason in `status`.

    Parameters
    ----------
    status
        ``ok``; ``no-bone``, ``all-bone`` or ``empty-roi`` for degenerate input.
    n_voxels, coverage
        Voxels of the region, and their share of the image.
    spacing_mm, border, mode, surface
        Voxel size (z, y, x), border policy, definition of the thickness, and where its wall runs.
    bvtv
        Bone voxels / region voxels.
    tb_th_mm, tb_sp_mm (``_sd``, ``_max``)
        Local thickness of bone and of marrow: mean, population SD and maximum over the region, mm.
    tb_n_per_mm, tb_n_spacing_per_mm, tb_n_ridge_per_mm
        Tb.N = (BV/TV)/Tb.Th; 1/(Tb.Th + Tb.Sp); 1/mean distance between the ridges of bone,
        null for ``subvoxel``: a ridge is a set of voxels.
    bs_mm2, bs_bv_per_mm, bs_tv_per_mm
        Bone surface by marching cubes, without faces on the image border, and its ratios.
    euler, euler_corrected, conn_d_per_mm3
        χ (26-connected) of the bone in the region; the region's share of the whole structure's χ;
        (1 - that)/TV.
    da, da_eigenvalues_per_mm2, da_axes
        Degree of anisotropy by mean intercept length, 1 - λmin/λmax; see `anisotropy.Anisotropy`.
    smi, tb_pf_per_mm, fractal_dimension
        Structure model index, trabecular pattern factor, box-counting dimension of the surface.
    """

    status: RegionStatus
    n_voxels: int
    coverage: float
    spacing_mm: Spacing
    border: Border
    mode: Mode
    surface: Wall = "voxel"
    bvtv: Number = None
    tb_th_mm: Number = None
    tb_th_sd_mm: Number = None
    tb_th_max_mm: Number = None
    tb_sp_mm: Number = None
    tb_sp_sd_mm: Number = None
    tb_sp_max_mm: Number = None
    tb_n_per_mm: Number = None
    tb_n_spacing_per_mm: Number = None
    tb_n_ridge_per_mm: Number = None
    bs_mm2: Number = None
    bs_bv_per_mm: Number = None
    bs_tv_per_mm: Number = None
    euler: int | None = None
    euler_corrected: Number = None
    conn_d_per_mm3: Number = None
    da: Number = None
    da_eigenvalues_per_mm2: Vector | None = None
    da_axes: tuple[Vector, Vector, Vector] | None = None
    smi: Number = None
    tb_pf_per_mm: Number = None
    fractal_dimension: Number = None


def measure(
    bone: ArrayLike,
    roi: ArrayLike | None,
    spacing_mm: float | ArrayLike,
    *,
    border: Border = "open",
    mode: Mode = "exact",
    surface: Wall = "voxel",
    grey: ArrayLike | None = None,
    field: ArrayLike | None = None,
    threads: int = 1,
) -> BoneMeasures:
    """Return all measures of a binary volume.

    Parameters
    ----------
    bone
        (z, y, x); non-zero is bone.
    roi
        Region of the same shape, or null for the whole image. It restricts averaging and is never a wall.
    spacing_mm
        Voxel size along (z, y, x), mm, or one number.
    border, mode, surface, grey, field, threads
        As in `local_thickness`; `grey` is positive in bone. `surface` affects thickness and spacing alone:
        BS, SMI and DA use a separate mesh.

    Raises
    ------
    InputError
        `mask-invalid`, `spacing-invalid`, `roi-mismatch`.
    """
    phase, steps = parse_phase(bone), parse_spacing(spacing_mm)
    region = parse_region(roi, phase.shape)
    maps = bone_maps(
        phase, steps, border=border, mode=mode, surface=surface, grey=grey, field=field, threads=threads
    )
    return measure_maps(maps, region, threads=threads)


def measure_maps(maps: BoneMaps, roi: Mask, *, threads: int = 1) -> BoneMeasures:
    """Return all measures of a region of existing maps."""
    basic = region_measures(maps, roi)
    about = BoneMeasures(
        status=basic.status,
        n_voxels=basic.n_voxels,
        coverage=basic.n_voxels / roi.size,
        spacing_mm=maps.spacing_mm,
        border=maps.border,
        mode=maps.mode,
        surface=maps.surface,
        bvtv=basic.bvtv,
    )
    if basic.status == "empty-roi":
        return about
    with_surface = _with_surface(_with_thickness(about, basic.thickness, basic.separation), maps, roi)
    return _with_topology(_with_ridges(with_surface, maps, roi, threads), maps, roi)


def find_ridge(maps: BoneMaps) -> Mask:
    """Return the ridge of bone: the voxels whose own ball is the largest that covers them."""
    steps = maps.spacing_mm
    free = without_wall_beyond(maps.bone, maps.field)
    if free.all():
        return np.zeros_like(maps.bone)
    if is_isotropic(steps):
        own_diameter: NDArray[np.float64] = 2.0 * cube_edge(steps) * np.sqrt(squared_distance_voxels(free))
    else:
        own_diameter = 2.0 * np.sqrt(squared_distance_mm(free, steps))
    return maps.bone & (own_diameter >= maps.diameter_mm * (1 - 1e-5))


def _with_thickness(about: BoneMeasures, bone: Spread | None, marrow: Spread | None) -> BoneMeasures:
    if bone is not None:
        about = replace(about, tb_th_mm=bone.mean, tb_th_sd_mm=bone.sd, tb_th_max_mm=bone.max)
    if marrow is not None:
        about = replace(about, tb_sp_mm=marrow.mean, tb_sp_sd_mm=marrow.sd, tb_sp_max_mm=marrow.max)
    if bone is None or about.bvtv is None:
        return about
    spacing = 1.0 / (bone.mean + marrow.mean) if marrow else None
    return replace(about, tb_n_per_mm=about.bvtv / bone.mean, tb_n_spacing_per_mm=spacing)


def _with_ridges(about: BoneMeasures, maps: BoneMaps, roi: Mask, threads: int) -> BoneMeasures:
    if about.status != "ok" or maps.surface == "subvoxel":
        return about
    ridge = find_ridge(maps)
    if not ridge.any():
        return about
    end = maps.field if maps.inside is None else maps.inside
    between = local_thickness(
        ~ridge, maps.spacing_mm, border=maps.border, field=end, dtype=np.float32, threads=threads
    )
    used = roi & ~ridge
    ridge_spacing = summarize_spread(between[used if maps.field is None else used & maps.field])
    return replace(about, tb_n_ridge_per_mm=1.0 / ridge_spacing.mean) if ridge_spacing else about


def _with_surface(about: BoneMeasures, maps: BoneMaps, roi: Mask) -> BoneMeasures:
    if about.bvtv is None or about.status == "no-bone":
        return replace(about, bs_mm2=0.0, bs_tv_per_mm=0.0)
    return with_surface_measures(about, about.bvtv, surface_of(maps.bone, roi, maps.spacing_mm, DIRECTIONS))


def with_surface_measures(about: BoneMeasures, bvtv: float, surface_sums: Surface) -> BoneMeasures:
    """Return `about` with what follows from the surface of the bone in its region; `bvtv` is positive."""
    total = about.n_voxels * float(np.prod(about.spacing_mm))
    axes = anisotropy(surface_sums.orientation, total)
    return replace(
        about,
        bs_mm2=surface_sums.bs_mm2,
        bs_bv_per_mm=surface_sums.bs_mm2 / (bvtv * total),
        bs_tv_per_mm=surface_sums.bs_mm2 / total,
        smi=surface_sums.smi,
        tb_pf_per_mm=surface_sums.tb_pf_per_mm,
        da=axes.da if axes else None,
        da_eigenvalues_per_mm2=axes.eigenvalues if axes else None,
        da_axes=axes.axes if axes else None,
    )


def _with_topology(about: BoneMeasures, maps: BoneMaps, roi: Mask) -> BoneMeasures:
    euler_numbers = topology(maps.bone, roi)
    total = about.n_voxels * float(np.prod(maps.spacing_mm))
    return replace(
        about,
        euler=euler_numbers.euler,
        euler_corrected=euler_numbers.corrected,
        conn_d_per_mm3=euler_numbers.connectivity_density(total) if about.status != "no-bone" else None,
        fractal_dimension=fractal_dimension(maps.bone, roi) if about.status != "no-bone" else None,
    )
