"""MR and CT of one knee as slices that lie on each other, and how far each pixel is to be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.grids import inside, smooth
from srrd_ray.synthesis.alignment import align_ct
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.slices import scaled_mr

Floats = NDArray[np.float32]
NEAR_MM = 2.0
"""How far round an aligned bone pixels are believed as those in it."""
FADE_MM = 15.0
"""Distance over which soft tissue is believed less, by a factor of e."""
BINS = 32
HU_RANGE = (-1000.0, 2000.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AlignedPair:
    """Sagittal slices of one knee, all (slice, row, column).

    Parameters
    ----------
    mr
        Scaled MR, as the networks see it.
    hu
        Hounsfield units of the CT in the place of the MR; 0 where `weight` is 0.
    weight
        0 (unseen, or not to be believed) to 1 (in or at an aligned bone).
    bone
        Which pixels lie in an aligned bone.
    """

    mr: Floats
    hu: Floats
    weight: Floats
    bone: NDArray[np.bool_]


def make_pair(
    mr: Volume[Scalar],
    ct: Volume[Scalar],
    bones: Volume[np.uint8],
    poses: Mapping[BoneName, ArrayLike],
    config: CycleGanConfig,
) -> AlignedPair:
    """Return the slices of a knee; errors as `align_ct` and `scale_mr`.

    Parameters
    ----------
    bones
        Labels on the grid of `ct`.
    poses
        4×4 maps from CT LPS mm to MR LPS mm of the bones that were registered. Where one lacks, nothing
        farther than 2 mm from the other is believed.
    """
    slices = scaled_mr(mr, config)
    aligned = align_ct(smooth(ct, 0.4 * config.pixel_mm), bones, poses, slices.geometry)
    scaled, hu = slices.array, aligned.hu.array
    near = aligned.outside_mm <= NEAR_MM
    weight = near.astype(np.float32)
    if all(bone in poses for bone in BONES):
        fade = np.exp(-(aligned.outside_mm - NEAR_MM) / FADE_MM)
        weight = np.where(near, np.float32(1), fade * _agreement(scaled, hu))
    return _pair(scaled, hu, weight * inside(slices.geometry, mr.geometry), aligned.labels > 0)


def make_pair_in_place(
    mr: Volume[Scalar], ct: Volume[Scalar], bones: Volume[np.uint8], config: CycleGanConfig
) -> AlignedPair:
    """Return the slices of an MR and of a CT of the same tissue in the same place: a simulated one.

    All that both see is believed; errors as `scale_mr`.
    """
    slices = scaled_mr(mr, config)
    grid = slices.geometry
    hu = smooth(ct, 0.4 * config.pixel_mm).resample_onto(grid, fill=np.nan).array
    mask = Volume(array=(bones.array > 0).astype(np.float32), geometry=bones.geometry)
    return _pair(
        slices.array,
        hu,
        inside(grid, mr.geometry).astype(np.float32),
        mask.resample_onto(grid).array > 0.5,
    )


def _pair(mr: Floats, hu: Floats, weight: Floats, bone: NDArray[np.bool_]) -> AlignedPair:
    """Return a pair that believes nothing of what the CT did not see.

    Nor is what lies beside an oblique MR to be believed (`inside`): its edge goes on there.
    """
    believed = np.where(np.isfinite(hu), weight, 0.0).astype(np.float32)
    seen = np.where(believed > 0, hu, np.float32(0)).astype(np.float32)
    return AlignedPair(mr=mr, hu=seen, weight=believed, bone=bone & (believed > 0))


def _agreement(mr: Floats, hu: Floats) -> Floats:
    """Return how common its HU are among pixels of like MR, relative to the commonest: 0 to 1.

    Muscle that slid over fat, or a tendon in the place of fluid, is a rare pair of values in an image in
    which most pixels lie on what they belong to.
    """
    seen = np.isfinite(hu)
    low, high = HU_RANGE
    column = np.clip((np.nan_to_num(hu) - low) / (high - low) * BINS, 0, BINS - 1).astype(np.intp)
    row = np.clip((mr + 1.0) / 3.0 * BINS, 0, BINS - 1).astype(np.intp)
    counts = np.zeros((BINS, BINS))
    np.add.at(counts, (row[seen], column[seen]), 1.0)
    smoothed = ndimage.gaussian_filter(counts, 1.0, mode="constant")
    relative = smoothed / np.maximum(smoothed.max(axis=1, keepdims=True), 1e-9)
    return np.asarray(np.where(seen, relative[row, column], 0.0), dtype=np.float32)
