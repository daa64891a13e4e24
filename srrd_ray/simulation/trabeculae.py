"""Trabecular bone as a foam of Gaussian random fields: bone lies where the two largest of four fields meet.

Four independent ring-spectrum fields divide space into cells, each the place where one of them is largest:
the marrow. The walls between cells meet three by three in edges and four by four in nodes, as the plates of
trabecular bone do. With d1 ≤ d2 ≤ d3 the distances from a point to the walls towards the three other fields
(difference / slope), bone is {h² + λ² d2² < T²}, 1/h = 1/d1 + 1/d2 + 1/d3: h rounds the corners of the
marrow, λ opens windows in the plates away from their edges (0 closed, 1 struts alone), T is the half
thickness of a plate. T(φ, λ) holds the bone volume fraction φ.

One periodic tile holds two fields; a bone reads it through two maps (scaled differently, axes exchanged),
so that the pairs have no common period.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial.transform import Rotation

from srrd_ray.simulation.trabeculae_kernel import SOFT_SLOPE, STEEPEST

TILE_NODES = 240
SAMPLES_PER_WAVELENGTH = 10.0
TILE_UNIT = np.float32(4096)
"""The integer of value 1 in the tile: half the memory of floats, rounding a thousand times smaller than the
voxels'.
"""
SECOND_SCALE = 1.07
"""The nodes a millimetre of the second pair of fields, over those of the first."""
FRACTIONS = np.linspace(0.0, 0.95, 96)
WINDOWS = np.linspace(0.0, 1.0, 21)
"""λ of the columns of `thickness_table`."""
CURVATURE = 0.042
"""How much nearer walls are than they look from a voxel's centre, for a voxel of one over the wave number."""
TABLE_POINTS = 200_000
NOMINAL_STRETCH = (1.5, 1.25)
"""Stretch and flatness of the fabric that `thickness_table` is made for: others keep φ to a few per cent."""


def random_tile(rng: np.random.Generator, bandwidth: float, nodes: int = TILE_NODES) -> NDArray[np.int16]:
    """Return two independent periodic fields of mean 0 and SD `TILE_UNIT`, (n, n, n, 2), n = nodes + 1.

    The last plane along each axis repeats the first, so that a cell's far corner needs no wrapping.

    The spectrum is a Gaussian ring of relative width (SD) `bandwidth`, cut at 1.75 of its radius, which is
    such that the mean square slope is that of a wave of `SAMPLES_PER_WAVELENGTH` nodes. The real and the
    imaginary part of one complex transform of uncorrelated complex amplitudes are the two fields.
    """
    ring = nodes / SAMPLES_PER_WAVELENGTH / mean_wave_number(bandwidth)
    reach = min(int(1.75 * ring), nodes // 2 - 1)
    cycles = np.arange(-reach, reach + 1)
    kz, ky, kx = np.meshgrid(cycles, cycles, cycles, indexing="ij", sparse=True)
    radius = np.sqrt((kz * kz + ky * ky + kx * kx).astype(np.float32))
    power = np.exp(-((radius / ring - 1.0) ** 2) / (4 * bandwidth**2)) * (radius < 1.75 * ring) * (radius > 0)
    noise = rng.standard_normal((2, *power.shape), dtype=np.float32)
    spectrum = np.zeros((nodes, nodes, nodes), np.complex64)
    spectrum[np.ix_(cycles, cycles, cycles)] = power * (noise[0] + 1j * noise[1])
    fields = fft.ifftn(spectrum, overwrite_x=True)
    fields *= np.float32(1 / np.sqrt(np.mean(fields.real**2, dtype=np.float64)))
    fields = np.pad(fields, (0, 1), mode="wrap").view(np.float32)
    whole = np.rint(fields * TILE_UNIT, out=fields).clip(-32767, 32767, out=fields).astype(np.int16)
    return whole.reshape(nodes + 1, nodes + 1, nodes + 1, 2)


def mean_wave_number(bandwidth: float) -> float:
    """Return the root mean square radius of the spectrum over the radius of its ring."""
    radius = np.linspace(1e-3, 1.75, 2000)
    power = radius**2 * np.exp(-((radius - 1) ** 2) / (2 * bandwidth**2))
    return float(np.sqrt((power * radius**2).sum() / power.sum()))


@lru_cache(maxsize=1)
def thickness_table() -> NDArray[np.float32]:
    """Return the half thickness T of plates, rows `FRACTIONS`, columns `WINDOWS`, that gives the fraction.

    T is in units of 1 / (root mean square slope of a field of SD 1): quantiles over random points, at which
    fields and slopes are independent and normal.
    """
    near, second = _random_distances(np.random.default_rng(0))
    table = np.empty((len(FRACTIONS), len(WINDOWS)), np.float32)
    for column, window in enumerate(WINDOWS):
        table[:, column] = np.quantile(np.sqrt(near**2 + (window * second) ** 2), FRACTIONS)
    table[0] = 0
    return table


def _random_distances(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return h and d2 of random points."""
    values = rng.standard_normal((4, TABLE_POINTS), dtype=np.float32)
    stretch = np.array(_stretches(*NOMINAL_STRETCH), np.float32)
    slopes = rng.standard_normal((4, 3, TABLE_POINTS), dtype=np.float32)
    slopes *= (stretch / np.sqrt((stretch**2).sum()))[:, None]
    order = np.argmax(values, axis=0)
    top = np.take_along_axis(values, order[None], axis=0)
    slope = np.linalg.norm(np.take_along_axis(slopes, order[None, None], axis=0) - slopes, axis=1)
    width = np.minimum(np.sqrt(slope**2 + SOFT_SLOPE**2), STEEPEST)
    distances = np.sort((top - values) / width, axis=0)[1:]
    return 1 / (1 / np.maximum(distances, 1e-6)).sum(axis=0), distances[1]


def _stretches(stretch: float, flatness: float) -> tuple[float, float, float]:
    """Return the relative nodes a millimetre along the fabric's axes (across plates, in plates, along the
    load); their product is one.
    """
    across = (stretch * flatness**2) ** (1 / 3)
    return across, across / flatness, across / (stretch * flatness)


def tile_maps(
    rng: np.random.Generator, wavelength_mm: float, stretch: float, flatness: float, tilt_sd_deg: float
) -> NDArray[np.float64]:
    """Return the affine maps (2, 3, 4) from bone mm (x, y, z) to tile nodes, one for each pair of fields.

    The structure is `stretch` times longer along its main direction than across its plates' (z, perpendicular
    to the joint surface, tilted by a random angle of SD `tilt_sd_deg`), and turned at random about it; plates
    are `flatness` times wider than they are apart. The mean wavelength stays `wavelength_mm`.
    """
    tilt = Rotation.from_rotvec([*np.radians(rng.normal(0, tilt_sd_deg, 2)), 0.0])
    turn = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    scale = np.array(_stretches(stretch, flatness)) * SAMPLES_PER_WAVELENGTH / wavelength_mm
    first = scale[:, None] * (turn * tilt).as_matrix()
    second = -SECOND_SCALE * first[[1, 2, 0]]
    offset = rng.uniform(0, TILE_NODES, (2, 3, 1))
    return np.concatenate([np.stack([first, second]), offset], axis=2)


class Fabric(NamedTuple):
    """What the kernel needs of the maps of every bone: (bones, …) each.

    `nodes_per_mm` is (2, 3): signed, of both pairs along the fabric's axes; `mm_per_index` (3, 3): along the
    fabric's axes for a step of (i, j, k); `slope` the root mean square slope of a field, `TILE_UNIT` a mm;
    `voxel` (2) half the diagonal of a voxel, mm, and `1 - CURVATURE · (wave number · voxel)²`.
    """

    nodes_per_mm: NDArray[np.float32]
    mm_per_index: NDArray[np.float32]
    slope: NDArray[np.float32]
    voxel: NDArray[np.float32]


def fabric_of(tile_from_bone: NDArray[np.float64], bones_from_index: NDArray[np.float64]) -> Fabric:
    """Return the fabric of maps (bones, 2, 3, 4) on a grid: (bones, 3, 4) to mm in each bone's frame."""
    first, second = tile_from_bone[:, 0, :, :3], tile_from_bone[:, 1, :, :3][:, [2, 0, 1]]
    size = np.linalg.norm(first, axis=2)
    axes = first / size[..., None]
    both = np.stack([size, (second * axes).sum(axis=2)], axis=1)
    slope = np.sqrt((both**2).sum(axis=(1, 2)) / 6) * (2 * np.pi / SAMPLES_PER_WAVELENGTH) * float(TILE_UNIT)
    steps = axes @ bones_from_index[:, :, :3]
    square = (steps**2).sum(axis=(1, 2))
    voxel = np.stack([np.sqrt(square) / 2, 1 - CURVATURE * (slope / TILE_UNIT) ** 2 * square / 3], axis=1)
    return Fabric(*(np.ascontiguousarray(v, np.float32) for v in (both, steps, slope, voxel)))
