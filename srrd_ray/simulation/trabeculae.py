"""Trabecular bone as a two-field level set: B = {f1² + λ² f2² < t(φ, λ)}.

f1 and f2 are independent ring-spectrum Gaussian random fields of unit variance. λ = 0 gives plates, λ = 1
rods, between them perforated plates; φ is the bone volume fraction, held exactly by the quantile t. One
periodic tile of the two fields, in units of the wavelength, serves a whole knee:
each compartment samples it through an affine map of its own (wavelength, fabric, offset) and a smooth warp.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special
from scipy.spatial.transform import Rotation

TILE_NODES = 240
SAMPLES_PER_WAVELENGTH = 10.0
TILE_UNIT = np.float32(4096)
"""The integer of value 1 in the tile: half the memory of floats,
rounding a thousand times smaller than the voxels'.
"""
FRACTIONS = np.linspace(0.0, 0.95, 96)
ROD_WEIGHTS = np.linspace(0.0, 1.0, 21)


def random_tile(rng: np.random.Generator, bandwidth: float, nodes: int = TILE_NODES) -> NDArray[np.int16]:
    """Return two independent periodic fields of mean 0 and SD `TILE_UNIT`, (nodes + 1, nodes + 1, nodes + 1,
    2).

    The last plane along each axis repeats the first, so that a cell's far corner needs no wrapping.

    The spectrum is a Gaussian ring of radius ``nodes / SAMPLES_PER_WAVELENGTH`` cycles, relative width (SD)
    `bandwidth`, cut at 1.75 of it: the real and the imaginary part of one complex transform of uncorrelated
    complex amplitudes are the two fields.
    """
    ring = nodes / SAMPLES_PER_WAVELENGTH
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


@lru_cache(maxsize=1)
def threshold_table() -> NDArray[np.float32]:
    """Return √t, rows `FRACTIONS`, columns `ROD_WEIGHTS`, such that P(f1² + λ² f2² < t) is the fraction.

    P = ∫ N(v) erf(√((t − λ²v²)/2)) dv over |v| < √t/λ, by 400 midpoints in the angle;
    inverted by interpolation.
    """
    roots = np.linspace(0.0, 4.5, 451)
    table = np.empty((len(FRACTIONS), len(ROD_WEIGHTS)), np.float32)
    for column, rod in enumerate(ROD_WEIGHTS):
        table[:, column] = np.interp(FRACTIONS, _fraction_below(roots, float(rod)), roots)
    return table


def _fraction_below(roots: NDArray[np.float64], rod: float) -> NDArray[np.float64]:
    normal = (np.arange(400) + 0.5) / 400 * 12 - 6
    density = np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi) * (12 / 400)
    inside = np.maximum(roots[:, None] ** 2 - (rod * normal) ** 2, 0.0)
    fraction: NDArray[np.float64] = special.erf(np.sqrt(inside / 2)) @ density
    return fraction


def tile_map(
    rng: np.random.Generator,
    wavelength_mm: float,
    stretch: float,
    tilt_sd_deg: float,
    nodes: int = TILE_NODES,
) -> NDArray[np.float64]:
    """Return the affine map (3, 4) from bone mm (x, y, z) to tile nodes.

    The structure is stretched by `stretch` along its main direction: z (perpendicular to the joint surface),
    tilted by a random angle of SD `tilt_sd_deg`, and turned at random about it.
    The mean wavelength stays `wavelength_mm`.
    """
    tilt = Rotation.from_rotvec([*np.radians(rng.normal(0, tilt_sd_deg, 2)), 0.0])
    turn = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    axes = np.array([stretch ** (1 / 3), stretch ** (1 / 3), stretch ** (-2 / 3)])
    linear = np.diag(axes) @ (turn * tilt).as_matrix() * SAMPLES_PER_WAVELENGTH / wavelength_mm
    spin = Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix()
    return np.column_stack([spin @ linear, rng.uniform(0, nodes, 3)])
