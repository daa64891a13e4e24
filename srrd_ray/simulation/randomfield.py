"""Smooth random fields on open grids."""

from __future__ import annotations

import numpy as np

from srrd_ray.simulation.anatomy import Field


def smooth_noise(
    rng: np.random.Generator, xyz: tuple[Field, Field, Field], length_mm: float, waves: int = 12
) -> Field:
    """Return a smooth random field of variance about 1 whose waves are about `length_mm` · 2 long:
    `waves` plane waves, the more the wider the box is for its length.
    """
    x, y, z = xyz
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.float32)
    for _ in range(waves):
        k = rng.standard_normal(3) * (np.pi / length_mm / np.sqrt(3))
        phase = rng.uniform(0, 2 * np.pi)
        wave_z, wave_y, wave_x = np.exp(1j * (k[2] * z + phase)), np.exp(1j * k[1] * y), np.exp(1j * k[0] * x)
        total += ((wave_z * wave_y).astype(np.complex64) * wave_x.astype(np.complex64)).real
    return total * np.float32(np.sqrt(2 / waves))
