"""Trabecular structure of MR: the bone fraction on an isotropic grid, its binary bone,
and measures of oriented boxes of it.

The coarse slice axis is interpolated by cubic splines, never resampled to the other modality (`method.md` A3,
rows 1, 3, 6, 13). At these voxels the values are *apparent*: thickness includes the blur of the voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.geometry import Geometry, transform_points
from srrd_ray.core.settings import AtLeast, NonNegative, Positive, Share, validate_fields
from srrd_ray.core.volume import Volume

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]
Fraction = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class MorphometryConfig:
    """How bone is measured in MR.

    Parameters
    ----------
    method
        ``marrow``: 3D, bone fraction by a local marrow reference. ``paper``:
        the published 2D algorithm, for comparison.
    thickness
        ``derived``: Tb.N = 1/(Tb.Th + Tb.Sp) of the maps, which blur leaves nearly alone, and Tb.Th =
        (BV/TV)/Tb.N, the plate model of in-vivo imaging (Laib et al., Technol. Health Care 6:329, 1998).
        ``direct``: Tb.Th of the map, which cannot fall below two voxels of the MR, and Tb.N = (BV/TV)/Tb.Th.
    solid_above
        Bone fraction, averaged over `solid_mm`, above which bone is compact, not trabecular bone, a cyst's
        rim or a dark marrow lesion: it is left out, with all within `solid_mm` of it.
    solid_mm
        SD of the Gaussian of that average, mm.
    target_mm
        Isotropic grid on which trabeculae are binarized, mm.
    halo_mm
        Margin round the patches of a region, mm: twice the largest radius of a ball.
    box_mm
        Size of a patch along the CT's axes (z, y, x), mm.
    min_coverage
        Least share of a patch inside bone and image; patches below are left out.
    threads
        Threads of one call, 0 for all cores; the cluster gives each task its cores.
    """

    method: Literal["marrow", "paper"] = "marrow"
    thickness: Literal["derived", "direct"] = "derived"
    solid_above: Positive = 0.7
    solid_mm: Positive = 0.75
    target_mm: Positive = 0.125
    halo_mm: NonNegative = 1.5
    box_mm: tuple[Positive, Positive, Positive] = (12.25, 12.25, 12.0)
    min_coverage: Share = 0.5
    threads: Annotated[int, AtLeast(0)] = 1

    def __post_init__(self) -> None:
        validate_fields(self)


def super_resolve(volume: Volume[np.float32], target_mm: float) -> Volume[np.float32]:
    """Return `volume` on an isotropic grid of `target_mm` over the same field of view,
    by cubic splines along each axis.
    """
    source = volume.geometry
    shape = [max(1, int(n * s / target_mm)) for n, s in zip(source.shape, source.spacing_mm, strict=True)]
    array: NDArray[np.float32] = volume.array
    for axis, (n, m, s) in enumerate(zip(source.shape, shape, source.spacing_mm, strict=True)):
        weights = _spline_weights(n, (np.arange(m) + 0.5) * target_mm / s - 0.5)
        array = np.moveaxis(np.tensordot(weights, array, axes=(1, axis)), 0, axis)
    step = target_mm / np.asarray(source.spacing_mm)
    affine = source.affine
    affine[:3, 3] = source.index_to_lps(0.5 * step - 0.5)
    affine[:3, :3] *= step[::-1]
    return Volume(array=np.ascontiguousarray(array), geometry=Geometry.from_affine(array.shape, affine))


def _spline_weights(count: int, at: ArrayLike) -> Fraction:
    """Return (len(at), count) weights of cubic spline interpolation at fractional indices;
    held beyond the ends.
    """
    # imported here: it takes most of a second and is rarely needed
    from scipy.interpolate import make_interp_spline

    inside = np.clip(at, 0, count - 1)
    if count < 4:
        rows: Real = np.stack([np.interp(inside, np.arange(count), row) for row in np.eye(count)], axis=1)
    else:
        rows = make_interp_spline(np.arange(count), np.eye(count), k=3)(inside)
    return rows.astype(np.float32)


def trabecular_mask(fraction: Volume[np.float32], inside: Mask, config: MorphometryConfig) -> Mask:
    """Return the voxels of `inside` that are not solid, nor near it: see `MorphometryConfig.solid_above`."""
    sigma = [config.solid_mm / s for s in fraction.geometry.spacing_mm]
    weight: Fraction = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    mean: Fraction = ndimage.gaussian_filter(np.where(inside, fraction.array, 0), sigma)
    solid = inside & (mean > config.solid_above * np.maximum(weight, 1e-6))
    if not solid.any():
        return inside
    away: Real = ndimage.distance_transform_edt(~solid, sampling=fraction.geometry.spacing_mm)
    return inside & (away > config.solid_mm)


def conserving_level(fraction: Fraction, roi: Mask) -> float:
    """Return the bone fraction above which `roi` holds just as much bone as its fractions add up to.

    Trabeculae thinner than the slice never reach 0.5:
    on simulated knees a fixed 0.5 keeps a quarter of the bone and doubles Tb.Sp,
    while the mean fraction is right to 0.03.
    """
    values = fraction[roi]
    share = float(np.clip(values.mean(dtype=np.float64), 0.0, 1.0)) if values.size else 0.0
    return float(np.quantile(values, 1.0 - share)) if share > 0.0 else float("inf")


def box_mask(
    grid: Geometry, to_box: ArrayLike, center: tuple[float, float, float], box_mm: tuple[float, float, float]
) -> Mask:
    """Return the voxels of `grid` whose centres lie in a box.

    `to_box` is the 4×4 transform from the world of `grid` to the world along whose axes the box lies;
    `center` (x, y, z) is in that world, `box_mm` is (z, y, x).
    Upper faces do not belong to the box, so that boxes side by side share no voxel.
    """
    zyx = [np.arange(n, dtype=np.float64) for n in grid.shape]
    m = np.asarray(to_box, dtype=np.float64) @ grid.affine
    inside = np.ones(grid.shape, dtype=np.bool_)
    for row, middle, size in zip(m[:3], center, box_mm[::-1], strict=True):
        along = (
            (row[2] * zyx[0] + row[3] - middle)[:, None, None] + (row[1] * zyx[1])[:, None] + row[0] * zyx[2]
        )
        inside &= (along >= -size / 2) & (along < size / 2)
    return inside


def window_around(
    grid: Geometry, points_lps: Real, halo_mm: float
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return start and shape (z, y, x) of the smallest box of `grid` that holds `points_lps` with a halo,
    cropped to it.
    """
    index = grid.lps_to_index(points_lps).reshape(-1, 3)
    halo = halo_mm / np.asarray(grid.spacing_mm)
    low = np.clip(np.floor(index.min(axis=0) - halo), 0, np.asarray(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + halo) + 1, low + 1, grid.shape).astype(int)
    (a, b, c), (i, j, k) = low.tolist(), (high - low).tolist()
    return (a, b, c), (i, j, k)


def box_corners(
    center: tuple[float, float, float], box_mm: tuple[float, float, float], to_grid: Real
) -> Real:
    """Return the eight corners (8, 3) of a box, mapped by `to_grid`."""
    half = np.asarray(box_mm)[::-1] / 2
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3, indexing="ij")).reshape(3, 8).T
    return transform_points(to_grid, np.asarray(center) + signs * half)
