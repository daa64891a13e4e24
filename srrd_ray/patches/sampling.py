"""Cubes cut from CT and MR, each on a grid of its own scale, oriented along the CT's LPS axes,
from native voxels.

The MR is sampled once, at its own resolution, through the bone's transform;
it never passes through the CT grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.bones import BONE_LABELS, BoneName
from srrd_ray.core.geometry import Geometry, Shape, transform_points
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.patches.subchondral import PatchConfig, SubchondralPoint

CT_SHAPE: Shape = (16, 32, 32)
CT_SPACING_MM = (0.8, 0.4, 0.4)
MR_SHAPE: Shape = (56, 56, 16)
MR_SPACING_MM = (0.21875, 0.21875, 0.75)

_SPLINE_SUPPORT = 6

__all__ = [
    "CT_SHAPE",
    "CT_SPACING_MM",
    "MR_SHAPE",
    "MR_SPACING_MM",
    "CutPatch",
    "PatchConfig",
    "Placement",
    "contains_grid",
    "ct_grid",
    "cut_ct",
    "cut_mask",
    "cut_mr",
    "mr_grid",
    "place_cubes",
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CutPatch:
    """One image of one cube and the bone inside it, (z, y, x) along the CT's LPS axes;
    voxels outside the bone are kept.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """The cubes that are used, and the candidates that were excluded
    because they left the volume or the bone.
    """

    kept: tuple[SubchondralPoint, ...]
    left_volume: tuple[SubchondralPoint, ...]
    left_bone: tuple[SubchondralPoint, ...]

    @property
    def outside_volume(self) -> int:
        """How many left the volume."""
        return len(self.left_volume)

    @property
    def outside_bone(self) -> int:
        """How many left the bone."""
        return len(self.left_bone)


def ct_grid(center_lps_mm: ArrayLike) -> Geometry:
    """Return the CT cube (12.8 mm) centred at an LPS point."""
    return _centred_grid(CT_SHAPE, CT_SPACING_MM, center_lps_mm)


def mr_grid(center_lps_mm: ArrayLike) -> Geometry:
    """Return the MR cube (12.25 x 12.25 x 12 mm) centred at a CT LPS point; MR scale, CT axes."""
    return _centred_grid(MR_SHAPE, MR_SPACING_MM, center_lps_mm)


def contains_grid(volume: Volume[Scalar], grid: Geometry, to_volume: ArrayLike | None = None) -> bool:
    """Return whether every voxel centre of `grid`, mapped by `to_volume`,
    lies between voxel centres of the volume.
    """
    world = np.eye(4) if to_volume is None else np.asarray(to_volume, dtype=np.float64)
    index = volume.geometry.lps_to_index(transform_points(world, grid.corners_lps()))
    last = np.asarray(volume.geometry.shape) - 1
    return bool((index >= -1e-6).all() and (index <= last + 1e-6).all())


def place_cubes(
    ct: Volume[Scalar], bones: Volume[np.uint8], points: tuple[SubchondralPoint, ...], config: PatchConfig
) -> Placement:
    """Return the first `config.per_region` cubes of each region that lie inside CT and bone,
    `config.apart_mm` apart.
    """
    kept: list[SubchondralPoint] = []
    left_volume: list[SubchondralPoint] = []
    left_bone: list[SubchondralPoint] = []
    for point in points:
        others = [p for p in kept if (p.bone, p.compartment) == (point.bone, point.compartment)]
        if len(others) == config.per_region or _nearest_mm(point, others) < config.apart_mm:
            continue
        grid = ct_grid(point.center_lps_mm)
        if not contains_grid(ct, grid):
            left_volume.append(point)
        elif cut_mask(bones, point.bone, grid).mean() < config.min_bone_fraction:
            left_bone.append(point)
        else:
            kept.append(point)
    return Placement(kept=tuple(kept), left_volume=tuple(left_volume), left_bone=tuple(left_bone))


def cut_ct(ct: Volume[Scalar], bones: Volume[np.uint8], point: SubchondralPoint) -> CutPatch:
    """Return the CT cube (HU) and its bone mask."""
    grid = ct_grid(point.center_lps_mm)
    return CutPatch(image=_sample(ct, grid, np.eye(4), 3), mask=cut_mask(bones, point.bone, grid))


def cut_mr(
    mr: Volume[Scalar], to_mr: ArrayLike, bones: Volume[np.uint8], point: SubchondralPoint
) -> CutPatch:
    """Return the MR cube, sampled through `to_mr` (CT LPS mm -> MR LPS mm),
    and the mask of the CT's bone on its grid.
    """
    grid = mr_grid(point.center_lps_mm)
    return CutPatch(image=_sample(mr, grid, to_mr, 3), mask=cut_mask(bones, point.bone, grid))


def cut_mask(bones: Volume[np.uint8], bone: BoneName, grid: Geometry) -> NDArray[np.bool_]:
    """Return where `grid` is more than half `bone`, by linear interpolation of the label.

    Outside the volume there is no bone.
    """
    window = _window(bones, grid, np.eye(4))
    mask = Volume(array=window.array == BONE_LABELS[bone], geometry=window.geometry)
    return mask.resample_onto(grid, order=1).array >= 0.5


def _nearest_mm(point: SubchondralPoint, others: list[SubchondralPoint]) -> float:
    gaps = np.array([other.center_lps_mm for other in others]).reshape(-1, 3) - np.array(point.center_lps_mm)
    return float(np.linalg.norm(gaps, axis=1).min(initial=np.inf))


def _centred_grid(shape: Shape, spacing_mm: tuple[float, float, float], center: ArrayLike) -> Geometry:
    half = (np.asarray(shape, dtype=np.float64) - 1) * spacing_mm / 2
    return Geometry.axis_aligned(shape, spacing_mm, np.asarray(center, dtype=np.float64) - half[::-1])


def _sample(volume: Volume[Scalar], grid: Geometry, to_volume: ArrayLike, order: int) -> NDArray[np.float32]:
    return _window(volume, grid, to_volume).resample_onto(grid, to_volume, order=order).array


def _window(volume: Volume[Scalar], grid: Geometry, to_volume: ArrayLike) -> Volume[Scalar]:
    """Return the part of the volume that interpolation on the mapped grid needs:
    a box with a margin for the splines.
    """
    index = volume.geometry.lps_to_index(transform_points(to_volume, grid.corners_lps()))
    shape = np.asarray(volume.geometry.shape)
    low = np.clip(np.floor(index.min(axis=0)) - _SPLINE_SUPPORT, 0, shape - 1).astype(int)
    high = np.clip(np.ceil(index.max(axis=0)) + _SPLINE_SUPPORT + 1, low + 1, shape).astype(int)
    z, y, x = (int(n) for n in low)
    dz, dy, dx = (int(n) for n in high - low)
    return volume.crop((z, y, x), (dz, dy, dx))
