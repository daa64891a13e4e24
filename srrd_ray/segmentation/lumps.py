"""Where a found bone bulges out of every shape that people have, and that bulge cut off along the shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.segmentation.edges import edge_share
from srrd_ray.segmentation.shape_fit import STEP_MM, FittedShape, fit_shape, shape_model, surface_of

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
OUTSIDE_MM, LUMP_CM3 = 4.0, 1.0
"""Bone farther outside of the fitted shape, and so much of it in one piece, is a lump. Of 26 adults, each
against the shapes of the 25 others, none has more than 0.5 cm3 there (`benchmarks/lumps.py`).
"""
CM3: Final = 1000.0
CUT_MM: Final = 1.5
"""Outside of the fitted shape: where a lump is cut off; what people's bones differ from it by."""
INSIDE_MM: Final = -10.0
"""Stands for where no lump can be."""
LEAST_POINTS, LEAST_AT_CUT = 200, 30
"""Of the surface, for its shape, and of the cut, for its edges: fewer say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lump:
    """What bulges out of the fitted shape.

    `mask` is on the grid of the bone. `farthest_mm` is outside of the shape; `on_edges` the share of the cut
    at which the image has an edge, null where that is not seen; `misfit_mm` the mean distance of the rest of
    the surface from the shape, each at most 6 mm.
    """

    mask: Mask
    cm3: float
    farthest_mm: float
    on_edges: float | None
    misfit_mm: float


def find_lump(bone: Volume[np.bool_], number: int, image: Volume[Scalar] | None) -> Lump | None:
    """Return all that bulges out of a bone, or nothing, also where too little of a bone is seen.

    Parameters
    ----------
    bone
        A box around it that ends where the image does, or some millimetres beyond the bone.
    number
        Femur or tibia (`CLASSES`).
    image
        What the bone was found in; may be larger than the box.
    """
    points, normals = surface_of(bone)
    if len(points) < LEAST_POINTS:
        return None
    shape = fit_shape(points, normals, shape_model(number))
    outside, inside, skips = outside_of(bone, shape)
    seeds = _large(inside & (outside > OUTSIDE_MM), bone.geometry.voxel_mm3 * float(np.prod(skips)))
    if not seeds.any():
        return None
    mask = Volume(array=bone.array & _to_cut(seeds, outside, skips, bone.array.shape), geometry=bone.geometry)
    rest = mask.at(points - normals, order=0) < 0.5
    return Lump(
        mask=mask.array,
        cm3=float(mask.array.sum()) * bone.geometry.voxel_mm3 / CM3,
        farthest_mm=float(outside[seeds].max()),
        on_edges=None if image is None else _edges_at_cut(image, shape, mask),
        misfit_mm=shape.misfit_mm(points[rest]),
    )


def outside_of(bone: Volume[np.bool_], shape: FittedShape) -> tuple[Floats, Mask, tuple[int, ...]]:
    """Return how far a bone and what touches it lie outside of a shape, mm, where the bone is, and on which
    voxels: every so many along each axis.
    """
    skips = tuple(max(round(STEP_MM / step), 1) for step in bone.geometry.spacing_mm)
    few = bone.array[:: skips[0], :: skips[1], :: skips[2]]
    where = np.argwhere(ndimage.binary_dilation(few, np.ones((3, 3, 3))))
    outside = np.full(few.shape, INSIDE_MM, np.float32)
    away = shape.outside_mm(bone.geometry.index_to_lps(where * skips))
    outside[tuple(where.T)] = np.where(np.isnan(away), INSIDE_MM, away)
    return outside, few, skips


def _large(mask: Mask, voxel_mm3: float) -> Mask:
    """Return the parts of a mask that are large enough for a lump."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel()) * voxel_mm3 / CM3
    sizes[0] = 0
    large: Mask = (sizes >= LUMP_CM3)[parts]
    return large


def _to_cut(seeds: Mask, outside: Floats, skips: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    """Return what is cut off with lumps, on the fine grid: they and their roots, down to the fitted shape."""
    reach = round(2 * (OUTSIDE_MM - CUT_MM) / STEP_MM)
    roots = ndimage.binary_dilation(
        seeds, np.ones((3, 3, 3)), iterations=reach, mask=outside > CUT_MM - STEP_MM
    )
    coarse = np.where(roots, outside, np.float32(INSIDE_MM))
    fine = ndimage.affine_transform(
        coarse, 1 / np.array(skips), output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    cut: Mask = fine > CUT_MM
    return cut


def _edges_at_cut(image: Volume[Scalar], shape: FittedShape, lump: Volume[np.bool_]) -> float | None:
    """Return the share of the fitted shape under a lump at which the image has an edge."""
    under = lump.at(shape.vertices + 2 * CUT_MM * shape.normals, order=0) > 0.5
    return edge_share(image, shape.vertices[under], shape.normals[under], LEAST_AT_CUT)
