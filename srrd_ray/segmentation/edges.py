"""Whether the surface of a bone lies where the image has an edge: true of any contrast, and of no guess."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from srrd_ray.core.volume import Scalar, Volume

Points = NDArray[np.float64]
GRID_MM: Final = 1.0
POINTS: Final = 3000
"""Of the surface that are looked at."""
AT_MM: Final = np.arange(-2.0, 2.01, 0.5)
"""Along the normal, round the surface: where its edge has to be."""
INSIDE_MM: Final = AT_MM - 6.0
"""Along the normal, in the bone: where there is only its texture."""
COARSE_MM: Final = 2.0
"""Voxels above this size blur an edge across them away."""
LEAST_POINTS: Final = 200
NEIGHBOURS: Final = 7
"""Points of the surface, some 2 mm apart, whose profiles are averaged."""


def edge_support(image: Volume[Scalar], mask: NDArray[np.bool_]) -> float | None:
    """Return the share of a bone's surface at which the image changes more than it does 6 mm inside the bone.

    About one half for a surface drawn anywhere; above 0.8 for a bone. Null where too little of the surface
    lies away from the edge of the image.
    """
    return edge_share(image, *_surface(Volume(array=mask, geometry=image.geometry)))


def edge_share(
    image: Volume[Scalar], points: Points, normals: Points, least: int = LEAST_POINTS
) -> float | None:
    """Return the share of points (LPS mm) of a surface at which the image changes more than 6 mm inside it.

    `normals` point outwards. Null where fewer than `least` are seen.
    """
    kept = _seen(normals, image)
    if int(kept.sum()) < least:
        return None
    here, inside = (_steepest(image, points[kept], normals[kept], at) for at in (AT_MM, INSIDE_MM))
    known = np.isfinite(here) & np.isfinite(inside)
    if int(known.sum()) < least:
        return None
    return float((here[known] > inside[known]).mean())


def _surface(bone: Volume[np.bool_]) -> tuple[Points, Points]:
    """Return points of a bone's surface, LPS mm, and its outward normals."""
    box = ndimage.find_objects(bone.array.astype(np.uint8))[0]
    start, shape = tuple(s.start for s in box), tuple(s.stop - s.start for s in box)
    near = bone.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))
    skips = [max(int(GRID_MM / step), 1) for step in near.geometry.spacing_mm]
    few = np.pad(near.array[:: skips[0], :: skips[1], :: skips[2]], 1)
    steps = np.array(near.geometry.spacing_mm) * skips
    soft = ndimage.gaussian_filter(few.astype(np.float32), 1.5 * GRID_MM / steps)
    slopes = np.stack([slope / step for slope, step in zip(np.gradient(soft), steps, strict=True)], axis=-1)
    where = np.argwhere(few & ~ndimage.binary_erosion(few))
    where = where[:: max(len(where) // POINTS, 1)]
    outward = -slopes[tuple(where.T)]
    axes = near.geometry.affine[:3, :3] / np.linalg.norm(near.geometry.affine[:3, :3], axis=0)
    normals = outward[:, ::-1] @ axes.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return near.geometry.index_to_lps((where - 1) * skips), normals


def _seen(normals: Points, image: Volume[Scalar]) -> NDArray[np.bool_]:
    """Return which normals do not run across coarse voxels."""
    axes = image.geometry.affine[:3, :3] / np.linalg.norm(image.geometry.affine[:3, :3], axis=0)
    coarse = np.array(image.geometry.spacing_mm)[::-1] > COARSE_MM
    across = np.abs(normals @ axes)[:, coarse]
    seen: NDArray[np.bool_] = (across < 0.6).all(axis=1)
    return seen


def _steepest(
    image: Volume[Scalar], points: Points, normals: Points, at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the largest change of the image over a millimetre along each normal; NaN outside of it.

    Neighbours are averaged: noise and trabeculae differ from place to place, the surface of a bone does not.
    """
    neighbours = cKDTree(points).query(points, k=NEIGHBOURS)[1]
    places = points[:, None] + at[:, None] * normals[:, None]
    values = image.at(places, fill=float("nan")).astype(np.float64)
    values = values[neighbours].mean(axis=1)
    steepest: NDArray[np.float64] = np.abs(values[:, 2:] - values[:, :-2]).max(axis=1)
    return steepest
