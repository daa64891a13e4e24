"""Whole synthetic CT volumes from a trained generator, refused where they cannot be CT (fault 51)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.slices import scaled_mr, unscale_hu

AIR_HU, OVERSHOOT_HU = -1024.0, 200.0
"""The least that a CT holds, and how far under it a network may draw air."""


def synthesize(
    generator: nn.Module, mr: Volume[Scalar], config: CycleGanConfig, limits: CycleGanConfig | None = None
) -> Volume[np.float32]:
    """Return synthetic HU on the grid of `mr`.

    The generator sees sagittal slices at the working pixel, at least as close as the MR slices; what it makes
    is interpolated back. The result holds no detail finer than the working pixel.
    `limits` holds the bounds of plausibility where they are not those of `config`,
    with which the generator was trained.

    Raises
    ------
    InputError
        `synthesis-not-finite`, `synthesis-range`, `synthesis-bone` where the result cannot be a CT of a knee.
    """
    slices = scaled_mr(mr, config)
    made = unscale_hu(translate(generator, slices.array, config))
    made = np.where(made > AIR_HU - OVERSHOOT_HU, np.maximum(made, AIR_HU), made)
    require_plausible(made, limits or config)
    grid = slices.geometry
    wide = np.pad(made, 2, mode="edge")
    around = grid.crop((-2, -2, -2), (wide.shape[0], wide.shape[1], wide.shape[2]))
    return Volume(array=wide, geometry=around).resample_onto(mr.geometry)


def translate(
    generator: nn.Module, slices: NDArray[np.float32], config: CycleGanConfig
) -> NDArray[np.float32]:
    """Return what a generator makes of scaled slices, of the same shape and scaled too.

    Edges are replicated, so that borders see no zero padding.
    """
    unit = 2**config.downs
    margin = 2 * unit
    rows, columns = slices.shape[1:]
    after = [margin + (-n) % unit for n in (rows, columns)]
    wide = np.pad(slices, ((0, 0), (margin, after[0]), (margin, after[1])), mode="symmetric")
    generator.eval()
    device = next(generator.parameters()).device
    with torch.inference_mode():
        parts = [
            generator(torch.from_numpy(wide[start : start + 16, None]).to(device)).cpu().numpy()[:, 0]
            for start in range(0, len(wide), 16)
        ]
    made = np.concatenate(parts)[:, margin : margin + rows, margin : margin + columns]
    return np.asarray(made, dtype=np.float32)


def require_plausible(hu: NDArray[np.float32], config: CycleGanConfig) -> None:
    """Refuse what cannot be CT of a knee: not finite, HU out of range, an implausible amount of bone."""
    if not np.isfinite(hu).all():
        raise InputError(
            "synthesis-not-finite", "the synthetic CT holds NaN", todo="Train the synthesis again."
        )
    low, high = (float(v) for v in np.percentile(hu, [0.1, 99.9]))
    if low < config.hu_limits[0] or high > config.hu_limits[1]:
        raise InputError(
            "synthesis-range",
            "the synthetic CT leaves the range of a knee",
            got=f"{low:.0f} to {high:.0f} HU",
            expected=f"{config.hu_limits[0]:.0f} to {config.hu_limits[1]:.0f} HU",
            todo="This MR may differ from those of the training; exclude it, or train with its kind.",
        )
    share = float((hu > 150.0).mean())
    if not config.bone_share[0] <= share <= config.bone_share[1]:
        raise InputError(
            "synthesis-bone",
            "the synthetic CT holds an implausible amount of bone",
            got=f"{share:.0%} of the image",
            expected=f"{config.bone_share[0]:.0%} to {config.bone_share[1]:.0%}",
            todo="This MR may differ from those of the training; exclude it, or train with its kind.",
        )
