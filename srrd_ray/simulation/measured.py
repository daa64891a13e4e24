"""Properties of a scanner measured on images: transfer and width from an edge, noise power from noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REACH_MM = 6.0
"""How far from the edge its spread is measured."""


class Curve(NamedTuple):
    """A measured curve: `x` ascending, and `y` of the same length."""

    x: Floats
    y: Floats

    def at(self, x: float) -> float:
        """Return the value at `x`, linear between the points."""
        return float(np.interp(x, self.x, self.y))


def measure_line_spread(values: NDArray[np.floating], distance_mm: Floats, step_mm: float = 0.1) -> Curve:
    """Return the line spread (of integral one) across a straight edge: distance mm, 1/mm.

    Parameters
    ----------
    values, distance_mm
        Any number of voxels and their signed distance from the edge, which has to meet the grid at a slant,
        so that distances fall into every bin of `step_mm`; bins that stay empty are interpolated.
    """
    bins = np.rint(distance_mm / step_mm).astype(np.intp).ravel()
    reach = round(REACH_MM / step_mm)
    kept = np.abs(bins) <= reach
    count = np.bincount(bins[kept] + reach, minlength=2 * reach + 1)
    total = np.bincount(bins[kept] + reach, values.ravel()[kept].astype(np.float64), 2 * reach + 1)
    position = np.arange(-reach, reach + 1, dtype=np.float64) * step_mm
    spread = np.interp(position, position[count > 0], total[count > 0] / count[count > 0])
    line = np.diff(spread) / step_mm
    return Curve(np.asarray(position[:-1] + step_mm / 2, np.float64), line / (line.sum() * step_mm))


def measure_mtf(values: NDArray[np.floating], distance_mm: Floats, step_mm: float = 0.1) -> Curve:
    """Return the modulation transfer across a straight edge: frequency 1/mm, transfer (1 at 0).

    The edge method of IEC 62220-1 for an edge that is known:
    binned spread, derivative, Hann window, Fourier transform;
    the bins' and the difference's own transfer, sinc each, are divided out.
    """
    line = measure_line_spread(values, distance_mm, step_mm)
    count = 8 * len(line.y)
    transfer = np.abs(np.fft.rfft(line.y * np.hanning(len(line.y)), count))
    frequency = np.asarray(np.fft.rfftfreq(count, step_mm), np.float64)
    kept = frequency <= 0.25 / step_mm
    binning = np.sinc(frequency * step_mm) ** 2
    return Curve(frequency[kept], (transfer / transfer[0] / binning)[kept])


def measure_width(values: NDArray[np.floating], distance_mm: Floats, step_mm: float = 0.1) -> float:
    """Return the full width at half maximum of the line spread across a straight edge, mm."""
    position, line = measure_line_spread(values, distance_mm, step_mm)
    line = np.abs(line)
    top, half = int(line.argmax()), line.max() / 2
    left = np.flatnonzero(line[:top] < half)[-1]
    right = top + np.flatnonzero(line[top:] < half)[0]
    low = np.interp(half, line[left : left + 2], position[left : left + 2])
    high = np.interp(half, line[right - 1 : right + 1][::-1], position[right - 1 : right + 1][::-1])
    return float(high - low)


def measure_noise_power(
    noise: NDArray[np.floating] | NDArray[np.int16], pixel_mm: tuple[float, float], bins: int = 24
) -> Curve:
    """Return the radial noise power of slices (n, y, x):
    frequency 1/mm up to the lower Nyquist's, power in value² · mm².

    Its integral over the plane of frequencies, 2π ∫ f · power df and the corners beyond, is the variance.
    """
    flat = noise.astype(np.float64) - noise.mean(axis=(1, 2), keepdims=True)
    ny, nx = noise.shape[1:]
    power = (np.abs(np.fft.fft2(flat)) ** 2).mean(axis=0) * pixel_mm[0] * pixel_mm[1] / (ny * nx)
    radius = np.hypot(np.fft.fftfreq(ny, pixel_mm[0])[:, None], np.fft.fftfreq(nx, pixel_mm[1])[None, :])
    edges = np.linspace(0, 0.5 / max(pixel_mm), bins + 1)
    which = np.digitize(radius.ravel(), edges) - 1
    kept = which < bins
    count = np.bincount(which[kept], minlength=bins)
    mean = [
        np.bincount(which[kept], weight.ravel()[kept], bins) / np.maximum(count, 1)
        for weight in (radius, power)
    ]
    return Curve(mean[0][count > 0], mean[1][count > 0])
