"""Thickness of the subchondral plate: how deep compact bone reaches under a joint surface.

From every point of the articular surface a ray runs inwards along the surface's normal, to the first marrow.
Trabeculae that touch the plate are averaged with the marrow round them first,
so that they do not count as plate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.morphometry.thickness import Spacing, parse_phase, parse_region, parse_spacing

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]

FACING = 0.7
"""Least cosine between a surface normal and the direction of the joint
for a point to be articular (45 degrees).
"""
SOFT_MM, PLATE_MM, DEEP_MM = 3.0, 3.0, 5.0
"""Of a profile: soft tissue outside, the plate with its blur, and trabecular bone down to `DEEP_MM`, mm."""
NORMAL_SD = 2.0
"""SD of the Gaussian before normals, in voxels of the coarsest axis;
nearer to the image border they tilt towards it.
"""
STEP = 0.1
"""Step along a ray, in voxels of the finest axis; crossings are interpolated between steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlateThickness:
    """Mean and population SD over the articular surface, mm; the points measured, and the share of them under
    which compact bone reaches deeper than was looked (`deep`, left out of the mean).
    A point without plate counts as 0.
    """

    mean_mm: float
    sd_mm: float
    n_points: int
    deep: float


def plate_thickness(
    bone: ArrayLike,
    inside: ArrayLike,
    spacing_mm: float | ArrayLike,
    joint: ArrayLike,
    *,
    lateral_mm: float = 0.3,
    deepest_mm: float = 5.0,
) -> PlateThickness:
    """Return the thickness of the plate of one bone.

    Parameters
    ----------
    bone
        (z, y, x) binary: compact bone and trabeculae.
    inside
        The whole bone with its marrow, filled, of the same shape.
    spacing_mm
        Voxel size along (z, y, x), mm, or one number.
    joint
        The direction of the joint (z, y, x), of any length;
        or a mask of the same shape that holds the articular surface.
    lateral_mm
        SD of the Gaussian that averages trabeculae with marrow; 0 for the mask as it is.
        Plates below twice it read low.
    deepest_mm
        How far a ray looks for marrow, mm.

    Raises
    ------
    NotEstimableError
        `plate-unknown` where no surface faces the joint, or no ray meets marrow.
    """
    steps = parse_spacing(spacing_mm)
    label = parse_phase(inside)
    compact = parse_region(bone, label.shape) & label
    normals = _outward(label, steps)
    points = np.argwhere(_articular(label, normals, np.asarray(joint), steps))
    if len(points) == 0:
        raise NotEstimableError("plate-unknown", "no surface of the bone faces the joint")
    depth = _depth(
        _average_share(compact, label, steps, lateral_mm),
        label,
        points,
        normals[tuple(points.T)],
        (steps, deepest_mm),
    )
    finite = depth[np.isfinite(depth)]
    if len(finite) == 0:
        raise NotEstimableError("plate-unknown", f"no marrow within {deepest_mm:g} mm of the joint surface")
    return PlateThickness(
        mean_mm=float(finite.mean()),
        sd_mm=float(finite.std()),
        n_points=len(depth),
        deep=1.0 - len(finite) / len(depth),
    )


def plate_by_mass(
    fraction: ArrayLike, inside: ArrayLike, spacing_mm: float | ArrayLike, joint: ArrayLike
) -> PlateThickness:
    """Return the thickness of a plate that blur has thinned out: that of solid bone of the same mineral.

    Along each normal the profile is taken for soft tissue, solid plate, trabecular bone, blurred: its
    integral does not depend on the blur, and hardly on the position of the surface (after Treece et al., Med.
    Image Anal. 14:276, 2010).

    Parameters
    ----------
    fraction
        (z, y, x) bone fraction by a calibration of CT, also outside the bone.
    inside, spacing_mm, joint
        As in `plate_thickness`.

    Raises
    ------
    NotEstimableError
        `plate-unknown` where no surface faces the joint.
    """
    steps = parse_spacing(spacing_mm)
    label = parse_phase(inside)
    normals = _outward(label, steps)
    points = np.argwhere(_articular(label, normals, np.asarray(joint), steps))
    if len(points) == 0:
        raise NotEstimableError("plate-unknown", "no surface of the bone faces the joint")
    step = STEP * min(steps)
    along = np.arange(-SOFT_MM, DEEP_MM, step)
    image = np.asarray(fraction, dtype=np.float32)
    points = _within(points, normals[tuple(points.T)], steps, label.shape)
    out = normals[tuple(points.T)] / np.asarray(steps)
    profile = np.stack(
        [ndimage.map_coordinates(image, (points - s * out).T, order=1, mode="nearest") for s in along]
    )
    soft, deep = (
        profile[along < 0.5 * step - SOFT_MM / 2].mean(axis=0),
        profile[along > PLATE_MM].mean(axis=0),
    )
    near = profile[along <= PLATE_MM].sum(axis=0, dtype=np.float64) * step
    depth = solid_mm(near, SOFT_MM, soft, deep)
    return PlateThickness(
        mean_mm=float(depth.mean()), sd_mm=float(depth.std()), n_points=len(depth), deep=0.0
    )


def solid_mm(mass_mm: Real, outside_mm: ArrayLike, soft: Real, deep: Real) -> Real:
    """Return the thickness of solid bone in profiles of bone fraction, mm, 0 where there is none.

    Parameters
    ----------
    mass_mm
        Integral of each profile from `outside_mm` outside the surface to `PLATE_MM` under it, mm.
    soft, deep
        Bone fraction of what lies outside, and of the trabecular bone under the plate.
    """
    plate = (mass_mm - np.asarray(outside_mm) * soft - PLATE_MM * deep) / np.maximum(1.0 - deep, 0.1)
    thick: Real = np.maximum(plate, 0.0)
    return thick


def _outward(label: Mask, steps: Spacing) -> Real:
    """Return unit normals (z, y, x, 3) out of the bone, from the mask smoothed by `NORMAL_SD`."""
    sigma = [NORMAL_SD * max(steps) / s for s in steps]
    smooth: Real = ndimage.gaussian_filter(label.astype(np.float64), sigma, mode="nearest")
    slope = np.stack([-np.asarray(g) for g in np.gradient(smooth, *steps)], axis=-1)
    unit: Real = slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-12)
    return unit


def _articular(label: Mask, normals: Real, joint: NDArray[np.generic], steps: Spacing) -> Mask:
    """Return the outermost voxels of the bone that face the joint; the border of the image is no surface.

    Points within one SD of the normals' Gaussian of the border are left out, too, where others remain.
    """
    core: Mask = ndimage.binary_erosion(label, border_value=1)
    surface = label & ~core
    if joint.shape == label.shape:
        surface &= joint != 0
    else:
        toward = joint.astype(np.float64) / np.linalg.norm(joint.astype(np.float64))
        surface &= normals @ toward > FACING
    far = _drop_border(surface, tuple(int(np.ceil(NORMAL_SD * max(steps) / s)) for s in steps))
    return far if far.any() else _drop_border(surface, (1, 1, 1))


def _within(
    points: NDArray[np.intp], normals: Real, steps: Spacing, shape: tuple[int, ...]
) -> NDArray[np.intp]:
    """Return the points under which the image reaches `DEEP_MM` down the normal; all where there are none."""
    end = points - DEEP_MM * normals / np.asarray(steps)
    held = ((end >= 0) & (end <= np.array(shape) - 1)).all(axis=1)
    return points[held] if held.any() else points


def _drop_border(surface: Mask, margin: tuple[int, ...]) -> Mask:
    """Return what of `surface` is at least `margin` voxels (z, y, x) off the border of the image."""
    middle = tuple(slice(m, max(n - m, m)) for m, n in zip(margin, surface.shape, strict=True))
    out = np.zeros_like(surface)
    out[middle] = surface[middle]
    return out


def _average_share(compact: Mask, label: Mask, steps: Spacing, lateral_mm: float) -> Real:
    """Return the local mean of bone over the voxels inside; outside, the nearest inside value."""
    if lateral_mm > 0:
        sigma = [lateral_mm / s for s in steps]
        part: Real = ndimage.gaussian_filter(compact.astype(np.float64), sigma, mode="nearest")
        whole: Real = ndimage.gaussian_filter(label.astype(np.float64), sigma, mode="nearest")
        share = part / np.maximum(whole, 1e-6)
    else:
        share = compact.astype(np.float64)
    nearest: NDArray[np.intp] = ndimage.distance_transform_edt(
        ~label, steps, return_distances=False, return_indices=True
    )
    filled: Real = share[tuple(nearest)]
    return filled


def _depth(
    share: Real, label: Mask, points: NDArray[np.intp], normals: Real, reach: tuple[Spacing, float]
) -> Real:
    """Return mm from the entry of each ray into the bone to the first point with less than half bone;
    inf where none.
    """
    steps, deepest_mm = reach
    step = STEP * min(steps)
    along = np.arange(-2.0 * max(steps), deepest_mm + step, step)
    entry, end = np.full(len(points), np.nan), np.full(len(points), np.inf)
    before_in, before_share = np.zeros(len(points)), np.ones(len(points))
    for s in along:
        at = (points - s * normals / np.asarray(steps)).T
        within: Real = ndimage.map_coordinates(label.astype(np.float32), at, order=1, mode="nearest")
        now: Real = ndimage.map_coordinates(share, at, order=1, mode="nearest")
        starts = np.isnan(entry) & (within >= 0.5)
        entry[starts] = s - step * ((within - 0.5) / np.maximum(within - before_in, 1e-9))[starts].clip(0, 1)
        stops = ~np.isnan(entry) & np.isinf(end) & ((now < 0.5) | (within < 0.5))
        fall = np.maximum(before_share - now, 1e-9)
        end[stops] = np.maximum(s - step * ((0.5 - now) / fall)[stops].clip(0, 1), entry[stops])
        before_in, before_share = within, now
    return np.where(np.isnan(entry), np.inf, end - entry)
