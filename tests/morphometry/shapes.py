"""Analytic shapes, random fields, and the slow twin of local thickness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Map = NDArray[np.float64]
Spacing = tuple[float, float, float]

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CUBE = (64, 64, 64)
ISO: Spacing = (0.05, 0.05, 0.05)
THICK_SLICES: Spacing = (0.10, 0.05, 0.05)


def centres(shape: tuple[int, int, int], spacing_mm: Spacing) -> tuple[NDArray[np.float64], ...]:
    """Return open z, y, x grids of voxel centres, mm."""
    axes = [(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing_mm, strict=True)]
    return np.ix_(*axes)


def sphere(radius_mm: float, shape: tuple[int, int, int] = CUBE, spacing_mm: Spacing = ISO) -> Mask:
    """Return a sphere round the middle of the field of view."""
    middle = [n * s / 2 for n, s in zip(shape, spacing_mm, strict=True)]
    squared = sum(
        ((g - c) ** 2 for g, c in zip(centres(shape, spacing_mm), middle, strict=True)), start=np.zeros(shape)
    )
    return np.asarray(squared <= radius_mm**2)


def plates(thickness_mm: float, shape: tuple[int, int, int] = CUBE, spacing_mm: Spacing = ISO) -> Mask:
    """Return plates across z of period 1.6 mm, the first at 0.6 mm."""
    z = centres(shape, spacing_mm)[0]
    return np.broadcast_to(np.mod(z - 0.6, 1.6) < thickness_mm - 1e-9, shape).copy()


def rods(diameter_mm: float, shape: tuple[int, int, int] = CUBE, spacing_mm: Spacing = ISO) -> Mask:
    """Return rods along z with a pitch of 1.6 mm, the first at 0.8 mm."""
    _, y, x = centres(shape, spacing_mm)
    away = [np.mod(g, 1.6) - 0.8 for g in (y, x)]
    return np.broadcast_to(away[0] ** 2 + away[1] ** 2 <= (diameter_mm / 2) ** 2 + 1e-9, shape).copy()


def gaussian_field(
    shape: tuple[int, int, int] = CUBE, sigma: float = 3.0, bvtv: float = 0.2, seed: int = 1064
) -> Mask:
    """Return a smoothed random field (periodic; `sigma` in voxels) above its (1 - `bvtv`) quantile."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    k = np.ix_(*(2 * np.pi * np.fft.fftfreq(n) for n in shape))
    damp = np.exp(-(k[0] ** 2 + k[1] ** 2 + k[2] ** 2) * sigma**2 / 2)
    smooth = np.fft.ifftn(np.fft.fftn(noise) * damp).real
    return np.asarray(smooth > np.quantile(smooth, 1 - bvtv))


def slow_local_thickness(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return local thickness by the definition: every ball against every voxel. O(n²); for small volumes.

    Isotropic spacing is counted in whole voxels; equal distances of other spacings by different sums are ties.
    """
    step = np.asarray(spacing_mm)
    unit = step[0] if (step == step[0]).all() else 1.0
    inside, wall = (np.argwhere(part).astype(np.float64) * (step / unit) for part in (mask, ~mask))
    out = np.zeros(mask.shape)
    if len(wall) == 0:
        return np.full(mask.shape, np.inf)
    radius = np.array([((wall - centre) ** 2).sum(axis=1).min() for centre in inside])
    best = np.zeros(len(inside))
    for centre, squared in zip(inside, radius, strict=True):
        covered = ((inside - centre) ** 2).sum(axis=1) <= squared * (1 + 1e-10)
        best[covered] = np.maximum(best[covered], squared)
    out[mask] = 2.0 * unit * np.sqrt(best)
    return out
