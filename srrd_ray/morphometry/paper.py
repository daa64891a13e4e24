"""The trabecular parameters as the paper's released code computes them, so that anyone can compare.
Not recommended.

Slice by slice: in-plane resampling to 0.1 mm, local mean threshold (bright = bone), removal of specks, 2D
distance along the 2D skeleton of bone and of space; radii as thickness, three radii as spacing; BV/TV from
the two (`method.md` A2, step 3; its defects: A3, rows 1-6). One departure:
distances are not cut to whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_local
from skimage.morphology import remove_small_holes, remove_small_objects, skeletonize

from srrd_ray.core.errors import NotEstimableError

Mask = NDArray[np.bool_]

PIXEL_MM = 0.1
BLOCK = 11
OFFSET = 1.0
SPECK = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperMeasures:
    """The four published parameters: functions of two numbers, `tb_th_mm` and `tb_sp_mm`."""

    bvtv: float
    tb_th_mm: float
    tb_sp_mm: float
    tb_n_per_mm: float


def paper_measures(
    image: NDArray[np.float32], roi: Mask, spacing_mm: tuple[float, float, float]
) -> PaperMeasures:
    """Return the published parameters of `roi`, over the slices across the coarsest axis.

    Raises
    ------
    NotEstimableError
        `paper-empty` where no slice has both bone and space.
    """
    axis = int(np.argmax(spacing_mm))
    in_plane = [s for i, s in enumerate(spacing_mm) if i != axis]
    found = [
        _slice_radii(np.take(image, i, axis), np.take(roi, i, axis), in_plane)
        for i in np.flatnonzero(roi.any(axis=tuple(a for a in range(3) if a != axis)))
    ]
    both = [pair for pair in found if pair is not None]
    if not both:
        raise NotEstimableError("paper-empty", "no slice of the region has both bone and space")
    bone_mm, space_mm = np.mean(both, axis=0).tolist()
    thickness, spacing = bone_mm, 3.0 * space_mm
    total = thickness + spacing
    return PaperMeasures(
        bvtv=thickness / total, tb_th_mm=thickness, tb_sp_mm=spacing, tb_n_per_mm=1.0 / total
    )


def _slice_radii(
    plane: NDArray[np.float32], roi: Mask, spacing_mm: list[float]
) -> tuple[float, float] | None:
    """Return the mean skeleton radius of bone and of space in one slice, mm; null where one is absent."""
    factors = [s / PIXEL_MM for s in spacing_mm]
    fine: NDArray[np.float32] = ndimage.zoom(plane, factors, order=1)
    inside: Mask = ndimage.zoom(roi.astype(np.uint8), factors, order=0) > 0
    bone = fine > threshold_local(fine, BLOCK, offset=OFFSET)
    bone = remove_small_holes(remove_small_objects(bone, max_size=SPECK - 1), max_size=SPECK - 1) & inside
    radii = [_skeleton_radius(part) for part in (bone, inside & ~bone)]
    if radii[0] is None or radii[1] is None:
        return None
    return radii[0], radii[1]


def _skeleton_radius(part: Mask) -> float | None:
    line = skeletonize(part)
    return float(ndimage.distance_transform_edt(part)[line].mean()) * PIXEL_MM if line.any() else None
