"""Bone volume fraction from MR by a local marrow reference, with gain,
bias field and noise estimated from the image.

In gradient-echo MR of bone, marrow is bright and bone is void, so the bone volume fraction of a voxel is 1 -
I/I(marrow). At 0.2 x 0.2 x 0.75 mm few voxels are marrow alone, so neither the mode nor the mean of the image
is the marrow level. It is found block by block as a high quantile of the noise-free intensities: the
histogram deconvolved with the noise, whose SD is measured on the image.
A smooth surface through the blocks is the reference (`method.md` A3, row 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, special

from srrd_ray.core.errors import InputError, NotEstimableError

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]
Spacing = tuple[float, float, float]

BLOCK_MM = 8.0
MARGIN_MM = 1.5
ROUND_MM = 5.0
"""Depth of the tissue round a bone that its marrow is compared with."""
QUANTILE = 0.95
"""Quantile of the noise-free intensities taken as marrow:
pure marrow is rarer than 5 % only in very dense bone.

Chosen on simulated bone of BV/TV 0.12-0.36.
"""
_LEAST = 800
_BINS = np.arange(0.005, 1.6, 0.01)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MarrowReference:
    """The marrow signal on the image's grid (z, y, x), in the image's unit, and the noise SD in that unit."""

    level: NDArray[np.float32]
    noise: float


def mr_bone_fraction(
    mr: ArrayLike, bone_mask: ArrayLike, spacing_mm: Spacing, *, reference: MarrowReference | None = None
) -> NDArray[np.float32]:
    """Return the bone volume fraction of each voxel of `bone_mask`, 0 outside it.

    Parameters
    ----------
    mr
        (z, y, x) magnitude image with bright marrow and dark bone, any gain;
        with what surrounds the bone, where noise is measured.
    bone_mask
        Inside of one bone, cortex included.
    spacing_mm
        Voxel size (z, y, x), mm.
    reference
        The marrow signal; null: estimated by `marrow_reference`.

    Returns
    -------
    NDArray
        ``1 - A/marrow``, at most 1, with A the signal freed of the Rician floor to first order.
        Noise makes some values negative: they are kept, so that means over regions are not biased.

    Raises
    ------
    NotEstimableError
        `marrow-unknown` where the bone is too small or too dark for a reference.
    """
    image, inside = np.asarray(mr, dtype=np.float32), np.asarray(bone_mask) != 0
    reference = reference or marrow_reference(image, inside, spacing_mm)
    freed = np.sqrt(np.maximum(image * image - np.float32(reference.noise**2), 0.0))
    return np.where(inside, np.float32(1) - freed / reference.level, np.float32(0)).astype(np.float32)


def marrow_reference(image: NDArray[np.float32], inside: Mask, spacing_mm: Spacing) -> MarrowReference:
    """Return the marrow level: exp of a polynomial of order 2 through the levels of
    blocks of `BLOCK_MM` or more of deep bone.
    """
    noise = noise_sd(image, spacing_mm)
    deep = ndimage.distance_transform_edt(inside, sampling=spacing_mm) > MARGIN_MM
    centres, levels, counts = _block_levels(image, deep & (image > 0), spacing_mm, noise)
    if len(levels) == 0:
        raise NotEstimableError(
            "marrow-unknown",
            "too few bright voxels inside the bone",
            got=str(int(deep.sum())),
            expected=f">= {_LEAST} voxels deeper than {MARGIN_MM} mm in a block",
        )
    scale = np.asarray(image.shape, dtype=np.float64)
    weights = _robust_surface(_terms(*(centres / scale - 0.5).T), np.log(levels), counts)
    axes = np.ix_(*((np.arange(n) + 0.5) / n - 0.5 for n in image.shape))
    level = sum((w * t for w, t in zip(weights, _monomials(*axes), strict=True)), start=np.zeros(image.shape))
    return MarrowReference(level=np.exp(level).astype(np.float32), noise=noise)


def uniform_reference(image: NDArray[np.float32], spacing_mm: Spacing, marrow: float) -> MarrowReference:
    """Return a marrow signal that is known and the same everywhere; the noise is measured."""
    return MarrowReference(
        level=np.full(image.shape, marrow, dtype=np.float32), noise=noise_sd(image, spacing_mm)
    )


def require_bright(
    image: NDArray[np.float32], inside: Mask, spacing_mm: Spacing, reference: MarrowReference
) -> None:
    """Refuse (`marrow-dark`) an MR whose marrow is darker than the tissue around the bone, e.g.
    a fat-suppressed one.

    Trabeculae and suppressed fat are both dark, so that bone cannot be separated.
    """
    away: Real = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    round_it = (away > MARGIN_MM) & (away < MARGIN_MM + ROUND_MM)
    tissue = image[round_it & (image > 3 * reference.noise)]
    marrow = float(np.median(reference.level[inside]))
    if tissue.size >= _LEAST and marrow < float(np.median(tissue)):
        raise InputError(
            "marrow-dark",
            "the marrow is darker than the tissue round the bone, as in fat-suppressed MR: bone cannot be "
            "separated",
            got=f"marrow {marrow:.4g}, tissue {float(np.median(tissue)):.4g}",
            expected="bright marrow",
            todo="Use a series without fat suppression (bSSFP, gradient echo, PD or T1).",
        )


def noise_sd(image: NDArray[np.float32], spacing_mm: Spacing) -> float:
    """Return the SD of the noise of each channel behind a magnitude image (Rician), in the image's unit.

    From the diagonal differences along the two finest axes in blocks of 8 x 8 x 2 voxels: the blocks of least
    variance are used. A block's SD is corrected for its signal-to-noise ratio after Koay & Basser (J. Magn.
    Reson. 179:317, 2006).
    """
    fine = np.sort(np.argsort(spacing_mm, kind="stable")[:2])
    planes = np.moveaxis(image, fine, (1, 2))
    n, height, width = (size // step * step for size, step in zip(planes.shape, (2, 8, 8), strict=True))
    cells = planes[:n, :height, :width].astype(np.float64)
    a, b, c, d = (cells[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    mean, power = _block_means((a + b + c + d) / 4), _block_means(((a - b - c + d) / 2) ** 2)
    usable = (power > 0) & (mean > 0)
    if not usable.any():
        return 0.0
    sd = np.sqrt(power[usable])
    snr = np.concatenate([[0.0], np.geomspace(0.1, 30.0, 60)])
    own_mean = _rice_mean(snr)
    own_sd = np.sqrt(2.0 + snr * snr - own_mean * own_mean)
    return float(np.quantile(sd / np.interp(mean[usable] / sd, own_mean / own_sd, own_sd), 0.3))


def _rice_mean(snr: Real) -> Real:
    """Return the mean of a Rician magnitude of unit noise;
    `scipy.stats` has it too, and takes a second to import.
    """
    square = snr * snr / 2
    mean: Real = np.sqrt(np.pi / 2) * (
        (1 + square) * special.i0e(square / 2) + square * special.i1e(square / 2)
    )
    return mean


def _block_means(fine: Real) -> Real:
    n, height, width = fine.shape
    blocks: Real = fine.reshape(n // 2, 2, height // 4, 4, width // 4, 4).mean(axis=(1, 3, 5))
    return blocks.ravel()


def _block_levels(
    image: NDArray[np.float32], chosen: Mask, spacing_mm: Spacing, noise: float
) -> tuple[Real, Real, Real]:
    """Return the centres (n, 3) in voxels, marrow levels (n,) and voxel
    counts (n,) of the blocks with enough voxels.
    """
    # voxels of 1 mm need larger blocks
    edge = max(BLOCK_MM, float(2 * _LEAST * np.prod(spacing_mm)) ** (1 / 3))
    steps = [max(1, round(edge / s)) for s in spacing_mm]
    levels: list[tuple[Real, float, int]] = []
    for corner in np.ndindex(*(-(-n // step) for n, step in zip(image.shape, steps, strict=True))):
        box = tuple(slice(i * step, (i + 1) * step) for i, step in zip(corner, steps, strict=True))
        count = int(np.count_nonzero(chosen[box]))
        if count >= _LEAST:
            middle = np.argwhere(chosen[box]).mean(axis=0) + np.multiply(corner, steps)
            levels.append((middle, bright_end(image[box][chosen[box]], noise), count))
    return (
        np.array([row[0] for row in levels]).reshape(-1, 3),
        np.array([row[1] for row in levels]),
        np.array([row[2] for row in levels], dtype=np.float64),
    )


def bright_end(values: NDArray[np.float32], noise: float, rounds: int = 60) -> float:
    """Return the `QUANTILE` of the noise-free `values` (Richardson-Lucy on the histogram)."""
    scale = float(np.quantile(values, 0.98))
    counts, _ = np.histogram(values / scale, bins=len(_BINS), range=(0.0, 1.6))
    spread = max(noise / scale, 0.01)
    kernel = np.exp(-0.5 * ((_BINS[:, None] - _BINS) / spread) ** 2)
    kernel /= kernel.sum(axis=0)
    guess = np.full(len(_BINS), counts.sum() / len(_BINS))
    for _ in range(rounds):
        guess *= kernel.T @ (counts / np.maximum(kernel @ guess, 1e-12))
    share = np.cumsum(guess) / guess.sum()
    return scale * float(np.interp(QUANTILE, share, _BINS + 0.005))


def _monomials(z: Real, y: Real, x: Real) -> list[Real | float]:
    return [1.0, z, y, x, z * z, y * y, x * x, z * y, z * x, y * x]


def _terms(z: Real, y: Real, x: Real) -> Real:
    return np.stack([np.broadcast_to(term, z.shape) for term in _monomials(z, y, x)], axis=1)


def _robust_surface(terms: Real, logs: Real, counts: Real, ridge: float = 3e-3) -> Real:
    """Return polynomial weights by robust least squares:
    blocks far off the surface (a cyst, an edge) lose weight.
    """
    penalty = ridge * counts.sum() * np.diag([0.0] + [1.0] * (terms.shape[1] - 1))
    pull = counts.copy()
    weights = np.zeros(terms.shape[1])
    for _ in range(6):
        weights = np.linalg.solve(
            (terms * pull[:, None]).T @ terms + penalty, (terms * pull[:, None]).T @ logs
        )
        residuals = logs - terms @ weights
        pull = counts / (1.0 + (residuals / 0.08) ** 2)
    return weights
