"""One bone of a joint in MR or CT: its bone fraction on the native grid,
and its trabeculae where the voxels show them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.source import Note
from srrd_ray.knee_bones.find import SIDE_UNCERTAIN, find_bones
from srrd_ray.measurement.plate_row import plate_row
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import Binarization, Flat, Mapped, MeasuredImage
from srrd_ray.morphometry.apparent import Apparent, apparent_measures, super_resolve_trabecular
from srrd_ray.morphometry.calibration import MARROW_HU, MINERAL_HU, ct_bone, ct_bone_fraction
from srrd_ray.morphometry.maps import BoneMaps, RegionStatus, bone_maps, region_measures
from srrd_ray.morphometry.marrow import marrow_reference, mr_bone_fraction, require_bright, uniform_reference
from srrd_ray.morphometry.measures import BoneMeasures, measure_maps
from srrd_ray.morphometry.paper import paper_measures
from srrd_ray.morphometry.resolve import MorphometryConfig, conserving_level, super_resolve, trabecular_mask

Mask: TypeAlias = NDArray[np.bool_]
Image: TypeAlias = Volume[np.float32]

RESOLVED_MM = {"mr": 0.35, "ct": 0.3}
"""Largest voxel that shows trabeculae: in the plane of MR, along any axis of CT.
Above it there is no thickness.
"""
SOLID = 0.5
"""Bone fraction above which a voxel belongs to the plate."""
MOST_VOXELS = 300_000_000
"""Voxels of the isotropic grid that fit into some 6 GB."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Bone:
    """The bone of an image: its fraction, its mask, the region that is averaged, how it was binarized,
    and facts for the row.
    """

    fraction: Image
    inside: Mask
    roi: Mask
    binarization: Binarization
    about: Flat


def measure_mr(
    image: Volume[np.generic], recipe: Recipe, inside: Mask | None, roi: Mask | None, *, threads: int
) -> MeasuredImage:
    """Return the measures of one bone of an MR with bright marrow;
    `inside` is the bone, `roi` what is averaged.

    Raises
    ------
    ConfigError
        `bone-mask-missing`.
    InputError
        `marrow-dark`, `region-too-large`.
    NotEstimableError
        `marrow-unknown`, `paper-empty`.
    """
    if inside is None:
        raise ConfigError(
            "bone-mask-missing", "in MR the bone has to be given",
            expected="--bone-mask MASK: one bone, its cortex and marrow included",
        )  # fmt: skip
    grey = Volume(array=image.array.astype(np.float32), geometry=image.geometry)
    region = inside if roi is None else inside & roi
    if recipe.method == "paper":
        return _measure_paper(grey, region)
    spacing = grey.geometry.spacing_mm
    known = None if recipe.marrow is None else uniform_reference(grey.array, spacing, recipe.marrow)
    reference = known or marrow_reference(grey.array, inside, spacing)
    require_bright(grey.array, inside, spacing, reference)
    about: Flat = {
        "modality": "mr",
        "polarity": "marrow bright, bone dark",
        "marrow": float(np.median(reference.level[inside])),
        "marrow_from": "image" if known is None else "given",
        "noise": reference.noise,
    }
    fraction = mr_bone_fraction(grey.array, inside, spacing, reference=reference)
    bone = _Bone(
        fraction=replace(grey, array=fraction),
        inside=inside,
        roi=region,
        binarization=Binarization(method="MR bone fraction, 1 - signal/marrow", threshold=None),
        about=about | plate_row(fraction > SOLID, inside, grey.geometry, recipe.bone),
    )
    if sorted(spacing)[1] > RESOLVED_MM["mr"]:
        return _measure_fraction_alone(bone)
    return _measure_apparent(bone, threads)


def measure_ct(
    image: Volume[np.generic], recipe: Recipe, inside: Mask | None, roi: Mask | None, *, threads: int
) -> MeasuredImage:
    """Return the measures of one bone of a CT in HU; where `inside` is null the recipe's bone is found in it.

    Raises
    ------
    ConfigError
        `bone-mask-missing` where neither the bone's mask nor its name is given.
    InputError
        As `find_bones`; `references-equal`.
    """
    bone, notes = _find_in_ct(image, recipe) if inside is None else (inside, ())
    measured = _measure_in_ct(image, recipe, bone, bone if roi is None else bone & roi, threads=threads)
    return replace(measured, notes=notes)


def _measure_in_ct(
    image: Volume[np.generic], recipe: Recipe, bone: Mask, roi: Mask, *, threads: int
) -> MeasuredImage:
    """Return the measures of a bone of a CT that is known."""
    grey = Volume(array=image.array.astype(np.float32), geometry=image.geometry)
    found = _ct_bone(grey, recipe, bone, roi)
    binary = recipe.threshold != "auto"
    if not binary and max(grey.geometry.spacing_mm) > RESOLVED_MM["ct"]:
        return _measure_fraction_alone(found)
    region = found.roi & trabecular_mask(found.fraction, bone, MorphometryConfig())
    level = SOLID if binary else conserving_level(found.fraction.array, region)
    maps = bone_maps(
        (found.fraction.array > level) & bone, grey.geometry.spacing_mm, inside=bone, threads=threads
    )
    return MeasuredImage(
        measures=measure_maps(maps, region, threads=threads),
        binarization=found.binarization,
        mapped=Mapped(maps=maps, region=region, grid=grey.geometry),
        fraction=found.fraction,
        about=found.about,
    )


def _find_in_ct(image: Volume[np.generic], recipe: Recipe) -> tuple[Mask, tuple[Note, ...]]:
    """Return the bone that the recipe names, and what is doubtful of the bones that were found."""
    if recipe.bone is None:
        raise ConfigError(
            "bone-mask-missing",
            "which bone of the CT?",
            expected=f"--bone {' or '.join(BONES)}, or --bone-mask MASK",
        )
    found = find_bones(image, "ct", None)
    notes = tuple(note for note in found.notes if note.code != SIDE_UNCERTAIN)  # no side is asked for
    return found.labels.array == BONE_LABELS[recipe.bone], notes


def _ct_bone(grey: Image, recipe: Recipe, inside: Mask, region: Mask) -> _Bone:
    """Return the bone of a CT: 0 and 1 above a threshold, or the fraction between two references."""
    about: Flat = {"modality": "ct", "polarity": "bone bright"}
    if recipe.threshold != "auto":
        level = float(recipe.threshold)
        bone = ct_bone(grey.array, inside, level)
        fraction, plate = bone.astype(np.float32), plate_row(bone, inside, grey.geometry, recipe.bone)
        binarization = Binarization(method="CT above a threshold in HU, within the bone", threshold=level)
        about |= {"marrow": None, "marrow_from": None, "mineral": None}
    else:
        mineral = MINERAL_HU if recipe.mineral is None else recipe.mineral
        marrow = MARROW_HU if recipe.marrow is None else recipe.marrow
        spacing, everywhere = grey.geometry.spacing_mm, np.ones_like(inside)
        fraction = ct_bone_fraction(grey.array, everywhere, spacing, mineral_hu=mineral, marrow_hu=marrow)
        plate = plate_row(fraction, inside, grey.geometry, recipe.bone)
        fraction[~inside] = 0
        binarization = Binarization(
            method="CT bone fraction, (HU - marrow)/(mineral - marrow)", threshold=None
        )
        about |= {
            "marrow": marrow,
            "marrow_from": "usual" if recipe.marrow is None else "given",
            "mineral": mineral,
        }
    return _Bone(
        fraction=replace(grey, array=fraction),
        inside=inside,
        roi=region,
        binarization=binarization,
        about=about | plate,
    )


def _measure_apparent(bone: _Bone, threads: int) -> MeasuredImage:
    """Return the measures of MR on an isotropic grid: Tb.N from the maps, Tb.Th from BV/TV and Tb.N."""
    config = MorphometryConfig(threads=threads)
    window, shape = _box(bone.roi, bone.fraction, config)
    near = bone.fraction.crop(window, shape)
    inside, roi = (
        Volume(array=mask.astype(np.float32), geometry=bone.fraction.geometry).crop(window, shape)
        for mask in (bone.inside, bone.roi)
    )
    apparent = super_resolve_trabecular(near, inside.array > 0, config)
    region = apparent.trabecular & (super_resolve(roi, config.target_mm).array > 0.5)
    step = config.target_mm
    method = (
        f"{bone.binarization.method}; apparent, Tb.Th = (BV/TV)/Tb.N, Tb.N = 1/(Tb.Th + Tb.Sp) of maps at "
        f"{step:g} mm, open border"
    )
    maps = apparent.maps(region, threads) if region.any() else None
    grid = apparent.fraction.geometry
    return MeasuredImage(
        measures=_apparent_measures(apparent, maps, region, config),
        binarization=Binarization(method=method, threshold=None, maps=False),
        mapped=Mapped(maps=maps, region=region, grid=grid) if maps else None,
        fraction=bone.fraction,
        about=bone.about,
    )


def _apparent_measures(
    apparent: Apparent, maps: BoneMaps | None, region: Mask, config: MorphometryConfig
) -> BoneMeasures:
    """Return BV/TV, Tb.Th, Tb.Sp and Tb.N; surface, connectivity and
    anisotropy would reflect the blur of the voxels.
    """
    total = int(np.count_nonzero(region))
    about = BoneMeasures(
        status="empty-roi", n_voxels=total, coverage=total / region.size, spacing_mm=(config.target_mm,) * 3,
        border="open", mode="exact",
    )  # fmt: skip
    if maps is None:
        return about
    measured = region_measures(maps, region)
    bvtv, thickness, separation = apparent_measures(apparent.mean_fraction(region), measured, config)
    spread = measured.separation
    return replace(
        about,
        status=measured.status,
        bvtv=bvtv,
        tb_th_mm=thickness,
        tb_sp_mm=separation,
        tb_sp_sd_mm=spread.sd if spread else None,
        tb_sp_max_mm=spread.max if spread else None,
        tb_n_per_mm=bvtv / thickness if thickness else None,
    )


def _box(
    roi: Mask, image: Image, config: MorphometryConfig
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return start and shape of the box round the region with its halo.

    Raises
    ------
    InputError
        `mask-empty` where the region holds no bone, `region-too-large`.
    """
    where = np.argwhere(roi)
    if len(where) == 0:
        raise InputError(
            "mask-empty", "the region lies outside the bone", todo="Check --roi and --bone-mask."
        )
    halo = np.ceil(config.halo_mm / np.asarray(image.geometry.spacing_mm)).astype(int)
    low = np.maximum(where.min(axis=0) - halo, 0)
    high = np.minimum(where.max(axis=0) + 1 + halo, image.array.shape)
    fine = float(np.prod((high - low) * image.geometry.spacing_mm)) / config.target_mm**3
    if fine > MOST_VOXELS:
        raise InputError(
            "region-too-large", f"the region is too large for a grid of {config.target_mm:g} mm",
            got=f"{fine / 1e6:.0f} million voxels", expected=f"at most {MOST_VOXELS / 1e6:.0f}",
            todo="Give a smaller region with --roi.",
        )  # fmt: skip
    (a, b, c), (i, j, k) = low.tolist(), (high - low).tolist()
    return (a, b, c), (i, j, k)


def _measure_fraction_alone(bone: _Bone) -> MeasuredImage:
    """Return the bone fraction alone: the voxels are too large for thickness."""
    grid = bone.fraction.geometry
    region = bone.roi & trabecular_mask(bone.fraction, bone.inside, MorphometryConfig())
    total = int(np.count_nonzero(region))
    share = float(np.clip(bone.fraction.array[region].mean(dtype=np.float64), 0.0, 1.0)) if total else None
    step = max(grid.spacing_mm)
    method = f"{bone.binarization.method}; voxels of {step:.3g} mm do not resolve trabeculae: no thickness"
    return MeasuredImage(
        measures=BoneMeasures(
            status=_status(share, total),
            n_voxels=total,
            coverage=total / region.size,
            spacing_mm=grid.spacing_mm,
            border="open",
            mode="exact",
            bvtv=share,
        ),
        binarization=replace(bone.binarization, method=method, maps=False),
        fraction=bone.fraction,
        about=bone.about,
    )


def _status(share: float | None, total: int) -> RegionStatus:
    if not total:
        return "empty-roi"
    return "ok" if share else "no-bone"


def _measure_paper(grey: Image, region: Mask) -> MeasuredImage:
    """Return the four published parameters; all else is null."""
    spacing = grey.geometry.spacing_mm
    published = paper_measures(grey.array, region, spacing)
    total = int(np.count_nonzero(region))
    measures = BoneMeasures(
        status="ok", n_voxels=total, coverage=total / region.size, spacing_mm=spacing, border="open",
        mode="exact",
        bvtv=published.bvtv, tb_th_mm=published.tb_th_mm, tb_sp_mm=published.tb_sp_mm,
        tb_n_per_mm=published.tb_n_per_mm,
    )  # fmt: skip
    method = "published 2D algorithm, slices across the coarsest axis, local mean threshold"
    about: Flat = {
        "modality": "mr",
        "polarity": "as published: bone bright",
        "marrow": None,
        "marrow_from": None,
    }
    return MeasuredImage(
        measures=measures, binarization=Binarization(method=method, threshold=None, maps=False), about=about
    )
