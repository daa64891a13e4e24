"""Predictions of the teacher without measured values:
the six halves of a cube, each read in MR under its own mask.

A measured value belongs to a whole cube.
The teacher also reads each half of it, so that the student has seven times as many (noisier) examples of how
CT goes with bone: knowledge that the labels alone do not hold.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from srrd_ray.distillation.bins import mean_and_sd
from srrd_ray.distillation.networks import PatchRegressor, ridge

HALVES: tuple[tuple[int, int], ...] = tuple((axis, side) for axis in (2, 3, 4) for side in (0, 1))
CHUNK = 64
"""Cubes that are read at a time."""


def half_masks(mask: Tensor) -> list[Tensor]:
    """Return `mask` (n, 1, z, y, x) cut to each of its six halves: lower and upper SI, AP, ML."""
    return [_half(mask, which) for which in HALVES]


def _half(mask: Tensor, which: tuple[int, int]) -> Tensor:
    axis, side = which
    half, size = mask.clone(), mask.shape[axis] // 2
    half.narrow(axis, size * (1 - side), size).zero_()
    return half


@torch.no_grad()
def read_halves(teacher: PatchRegressor, images: Tensor, masks: Tensor) -> Tensor:
    """Return the teacher's means (half, n, parameter) for raw cubes (n, 1, z, y, x), on the CPU."""
    device = next(teacher.parameters()).device
    readings = []
    for image, mask in zip(images.split(CHUNK), masks.split(CHUNK), strict=True):
        shown, inside = image.to(device).float(), mask.to(device).float()
        logits = torch.stack([teacher(shown, half).logits for half in half_masks(inside)])
        readings.append(mean_and_sd(logits.softmax(dim=-1))[0].cpu())
    return torch.cat(readings, dim=1)


@torch.no_grad()
def start_guided(
    network: PatchRegressor, cubes: tuple[Tensor, Tensor], targets: Tensor, guide: tuple[Tensor, float]
) -> None:
    """Start the head of a fitted student at a ridge regression of labels
    and of the teacher's readings of halves.

    Parameters
    ----------
    network
        After `fit_constants`.
    cubes
        Raw images and masks (n, 1, z, y, x).
    targets
        (n, parameter): measured in whole cubes.
    guide
        The readings (half, n, parameter), and their weight λ in 0..1 against 1 - λ for the labels;
        0 changes nothing.
    """
    images, masks = cubes
    readings, weight = guide
    if weight <= 0:
        return
    head = network.head
    shares = [1 - weight] + [weight / len(HALVES)] * len(HALVES)
    statistics = [
        (network.statistics_of(images, masks, cut) - network.texture_mean) / network.texture_sd
        for cut in (None, *(partial(_half, which=which) for which in HALVES))
    ]
    wanted = [(values - head.middle) / head.unit for values in (targets, *readings)]
    scales = [(share * len(shares)) ** 0.5 for share in shares]
    rows = torch.cat([scale * x.clamp(-5, 5) for scale, x in zip(scales, statistics, strict=True)])
    values = torch.cat([scale * y for scale, y in zip(scales, wanted, strict=True)])
    head.centre.weight[:, : rows.shape[1]] = ridge(rows, values).T
