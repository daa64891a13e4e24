"""Sagittal slices at a working pixel from whole volumes, and the scaled units that networks see.

MR is divided by the level of its bright marrow (gain is arbitrary);
CT keeps Hounsfield units as floats, shifted and scaled by constants:
nothing is quantised to 8 bits as in the published code (method, defect 17).
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.synthesis.bias import flatten_bias
from srrd_ray.synthesis.config import CycleGanConfig

Slices = NDArray[np.float32]
HU_CENTRE = 400.0
HU_SCALE = 600.0


def slices_from_mr(volume: Volume[Scalar], config: CycleGanConfig) -> Slices:
    """Return scaled sagittal tiles (n, height, width) of an MR volume for training;
    rows run from foot to head.
    """
    return cut_tiles(scaled_mr(volume, config).array, config.tile)


def slices_from_ct(volume: Volume[Scalar], config: CycleGanConfig) -> Slices:
    """Return scaled sagittal tiles (n, height, width) of a CT volume for training;
    rows run from foot to head.
    """
    return cut_tiles(scale_hu(sagittal(volume, config).array, config.floor_hu), config.tile)


def scaled_mr(volume: Volume[Scalar], config: CycleGanConfig) -> Volume[np.float32]:
    """Return the sagittal slices of a whole MR as the networks see them; errors as `sagittal`, `scale_mr`."""
    slices = sagittal(flatten_bias(volume), config)
    return Volume(array=scale_mr(slices.array), geometry=slices.geometry)


def sagittal(volume: Volume[Scalar], config: CycleGanConfig) -> Volume[np.float32]:
    """Return the volume on a grid along LPS whose array is (x, z, y)-ordered as (slice, row, column).

    Pixels are `config.pixel_mm`, slices `config.slice_mm` apart.
    Points outside the field of view continue its edge.
    """
    grid = sagittal_grid(volume.geometry, config)
    blur = [0.4 * config.pixel_mm / spacing for spacing in volume.geometry.spacing_mm]
    source: NDArray[np.float32] = ndimage.gaussian_filter(
        volume.array.astype(np.float32), [s if s > 0.3 else 0.0 for s in blur], mode="nearest", truncate=3.0
    )
    if not np.isfinite(source).all():
        raise InputError(
            "voxels-not-finite", "the image holds NaN or infinite voxels", todo="Repair or exclude it."
        )
    index = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    at = np.moveaxis(volume.geometry.lps_to_index(index), -1, 0)
    array: NDArray[np.float32] = ndimage.map_coordinates(
        source, at, order=1, mode="nearest", output=np.float32
    )
    return Volume(array=array, geometry=grid)


def sagittal_grid(geometry: Geometry, config: CycleGanConfig) -> Geometry:
    """Return the grid of sagittal slices over `geometry`: axes are x (slices), z (rows), y (columns)."""
    corners = geometry.corners_lps()
    low, high = corners.min(axis=0), corners.max(axis=0)
    steps = np.array([config.slice_mm, config.pixel_mm, config.pixel_mm])
    extent = (high - low)[[0, 2, 1]]
    slices, rows, columns = (int(n) + 1 for n in np.floor(extent / steps + 1e-6))
    affine = np.zeros((4, 4))
    affine[1, 0] = affine[2, 1] = config.pixel_mm
    affine[0, 2], affine[3, 3] = config.slice_mm, 1.0
    rest = extent - (np.array([slices, rows, columns]) - 1) * steps
    affine[:3, 3] = low + rest[[0, 2, 1]] / 2
    return Geometry.from_affine((slices, rows, columns), affine)


def scale_mr(array: Slices) -> Slices:
    """Return MR over its marrow level, shifted and clipped to -1…2: dark is -1, marrow about 1.

    Raises
    ------
    InputError
        `image-constant` where there is nothing to scale by.
    """
    if not np.isfinite(array).all() or float(array.std()) < 1e-3:
        raise InputError(
            "image-constant", "an MR image without contrast", todo="Check the series of this knee."
        )
    scaled: Slices = (2.0 * np.clip(array, 0.0, 1.5) - 1.0).astype(np.float32)
    return scaled


def scale_hu(array: Slices, floor_hu: float) -> Slices:
    """Return Hounsfield units as the networks see them; what is below the floor is raised to it."""
    return ((np.clip(array, floor_hu, 2200.0) - HU_CENTRE) / HU_SCALE).astype(np.float32)


def unscale_hu(array: Slices) -> Slices:
    """Return Hounsfield units of what a network made."""
    return (array * HU_SCALE + HU_CENTRE).astype(np.float32)


def cut_tiles(slices: Slices, tile: tuple[int, int]) -> Slices:
    """Return tiles of one shape that cover the slices; edges of smaller slices are replicated."""
    short = [max(want - have, 0) for want, have in zip(tile, slices.shape[1:], strict=True)]
    padding = [(0, 0)] + [(n // 2, n - n // 2) for n in short]
    wide = np.pad(slices, padding, mode="edge")
    rows, columns = (_window_starts(have, want) for have, want in zip(wide.shape[1:], tile, strict=True))
    cut = [wide[:, y : y + tile[0], x : x + tile[1]] for y, x in product(rows, columns)]
    return np.concatenate(cut).astype(np.float32)


def _window_starts(have: int, want: int) -> list[int]:
    """Return evenly spaced starts of the fewest windows of `want` that leave no gap of half a window."""
    count = max(round(have / want), 1)
    return [int(start) for start in np.linspace(0, have - want, count).round()]
