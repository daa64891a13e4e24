"""A knee that moves during the MR: some lines of k-space belong to a shifted copy of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Complex = NDArray[np.complex64]
CENTRE = 0.08
"""Part of the lines, around the middle of k-space, that a periodic motion leaves alone:
it would blur, not ghost.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """A shift of the knee by `shift_mm` (row, column), in force from the part `onset` of the lines on (above
    one half, so that the middle of k-space shows the first pose), and in every `every`-th line (0: in none).
    """

    shift_mm: tuple[float, float]
    onset: float = 1.0
    every: int = 0


def moved_lines(count: int, motion: Motion) -> NDArray[np.bool_]:
    """Return which lines along the phase axis show the shifted knee, in the order of `numpy.fft.fftfreq`;
    acquired from the lowest frequency to the highest.
    """
    line = np.fft.fftfreq(count, 1 / count).round().astype(np.intp)
    late = (line + count // 2) >= motion.onset * count
    if not motion.every:
        return np.asarray(late)
    return np.asarray(late | ((line % motion.every == 0) & (np.abs(line) > CENTRE / 2 * count)))


def add_motion(image: Complex, pixel_mm: tuple[float, float], motion: Motion) -> Complex:
    """Return `image` (slice, row, column) as acquired from a knee that moves;
    rows are the phase axis, the mean is kept.
    """
    ny, nx = image.shape[1:]
    fy, fx = (np.fft.fftfreq(n, mm) for n, mm in zip((ny, nx), pixel_mm, strict=True))
    turns = fy[:, None] * motion.shift_mm[0] + fx[None, :] * motion.shift_mm[1]
    factor = np.where(moved_lines(ny, motion)[:, None], np.exp(-2j * np.pi * turns), 1).astype(np.complex64)
    out = np.empty_like(image)
    for number, plane in enumerate(image):
        out[number] = fft.ifft2(fft.fft2(plane) * factor)
    return out
