"""Sampling by the Fourier transform: from a fine grid to the voxels of a scanner, the mean preserved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from srrd_ray.core.geometry import Geometry, Shape

Complex = NDArray[np.complex64]


def fourier_crop(
    fine: Complex, axis: int, factor: int, transfer: NDArray[np.float32] | Complex | None = None
) -> Complex:
    """Return `fine` with `factor` times fewer samples along `axis`: its spectrum, cropped.

    A coarse voxel's centre is the middle of the `factor` fine samples that it covers;
    the mean over the axis is kept.

    Parameters
    ----------
    transfer
        Gain at the kept frequencies in the order of `numpy.fft.fftfreq` (a modulation transfer function).
    """
    n = fine.shape[axis]
    kept = n // factor
    spectrum = fft.fft(fine, axis=axis)
    order = np.fft.fftfreq(kept, 1 / kept).round().astype(np.intp)
    gain = np.exp(2j * np.pi * order / n * (factor - 1) / 2) / factor
    if kept % 2 == 0:
        gain[kept // 2] = 0  # its partner is cut off: alone it would not be real
    if transfer is not None:
        gain = gain * transfer
    shape = [1] * fine.ndim
    shape[axis] = kept
    cropped = np.take(spectrum, order, axis=axis, mode="wrap") * gain.reshape(shape).astype(np.complex64)
    out: Complex = fft.ifft(cropped, axis=axis, overwrite_x=True)
    return out


def padded_length(count: int, margin: int) -> int:
    """Return a transform length of at least `count` + 2 · `margin` that is fast,
    and even exactly where `count` is.
    """
    length = count + 2 * margin
    while fft.next_fast_len(length) != length or (length - count) % 2:
        length += 1
    return length


def widen(grid: Geometry, margin: int) -> Geometry:
    """Return `grid` with at least `margin` voxels more on each side, which are acquired and cut off;
    see `padded_length`.
    """
    shape = [padded_length(n, margin) for n in grid.shape]
    start = [(n - m) // 2 for n, m in zip(grid.shape, shape, strict=True)]
    return grid.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))


def inner(shape: Shape, acquired: Shape) -> tuple[slice, slice, slice]:
    """Return where the image lies in what was acquired."""
    z, y, x = (slice((m - n) // 2, (m - n) // 2 + n) for n, m in zip(shape, acquired, strict=True))
    return z, y, x
