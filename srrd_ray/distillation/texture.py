"""Texture statistics of a cube: mean, spread and how fast the signal changes with distance."""

from __future__ import annotations

import torch
from torch import Tensor

from srrd_ray.distillation.config import Lag


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the means (b, c) over space of `values` (b, c, z, y, x), weights (b, 1, z, y, x)."""
    total = weights.sum(dim=(2, 3, 4)).clamp_min(1e-6)
    return (values * weights).sum(dim=(2, 3, 4)) / total


def texture(image: Tensor, mask: Tensor, lags: tuple[Lag, ...]) -> Tensor:
    """Return masked mean, log SD, skewness and, for each (axis, lag in voxels),
    half the log of the variogram.

    The variogram (mean squared difference of voxels a lag apart, both in the mask) carries the scale of the
    texture: the ratio of two lags does not change with contrast. Shapes:
    `image` and `mask` (b, 1, z, y, x) -> (b, 3 + lags).
    """
    mean = masked_mean(image, mask)
    centred = image - mean[:, :, None, None, None]
    variance = masked_mean(centred**2, mask).clamp_min(1e-6)
    skew = masked_mean(centred**3, mask) / variance**1.5
    steps = [_variogram(image, mask, axis, lag).clamp_min(1e-6).log() / 2 for axis, lag in lags]
    return torch.cat([mean, variance.log() / 2, skew.clamp(-5, 5), *steps], dim=1)


def _variogram(image: Tensor, mask: Tensor, axis: int, lag: int) -> Tensor:
    count = image.shape[axis + 2] - lag
    near, far = image.narrow(axis + 2, 0, count), image.narrow(axis + 2, lag, count)
    both = mask.narrow(axis + 2, 0, count) * mask.narrow(axis + 2, lag, count)
    return masked_mean((near - far) ** 2, both)
