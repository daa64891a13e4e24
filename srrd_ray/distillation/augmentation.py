"""Augmentation of training cubes: mirror images, and intensity shifts as between scanners and hospitals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srrd_ray.core.hashing import seed_from
from srrd_ray.distillation.config import Augmentation

FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (4,), (3, 4))
BANK = 1 << 21
"""Normal numbers that the noise of all cubes is cut from, each at a place of its own."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Views:
    """How each cube of a training set is shown in one epoch; arrays (n,).

    Parameters
    ----------
    flips
        Which of the mirror images (`FLIPS`).
    gain, offset
        A factor, and what is added after it.
    noise, noise_at
        SD of the white noise, and where it is cut from the bank; null where there is none.
    """

    flips: NDArray[np.int64]
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    noise: NDArray[np.float32] | None
    noise_at: NDArray[np.int64] | None


def sample_views(count: int, how: Augmentation, *, seed: int, epoch: int) -> Views:
    """Return how `count` cubes are shown; it depends on `seed`, `epoch` and the row alone."""
    flips = np.random.default_rng(seed_from(seed, "flip", epoch)).integers(len(FLIPS), size=count)
    rng = np.random.default_rng(seed_from(seed, "nuisance", epoch))
    gain, offset = rng.standard_normal((2, count), dtype=np.float32)
    noisy = how.noise > 0
    return Views(
        flips=flips,
        gain=1 + np.float32(how.scale) * gain,
        offset=np.float32(how.offset) * offset,
        noise=np.float32(how.noise) * rng.random(count, dtype=np.float32) if noisy else None,
        noise_at=rng.integers(BANK, size=count) if noisy else None,
    )


def show(
    images: Tensor, masks: Tensor, rows: NDArray[np.intp], views: Views, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return raw cubes and masks (b, 1, z, y, x) of `rows` as `views` says, on `device`; one pass a batch."""
    at = torch.from_numpy(rows).to(images.device)
    chosen, inside = images[at].to(device).float(), masks[at].to(device).float()
    flips = _column(views.flips, rows, device)
    chosen, inside = _mirrored(chosen, flips), _mirrored(inside, flips)
    chosen = chosen * _column(views.gain, rows, device) + _column(views.offset, rows, device)
    if views.noise is not None and views.noise_at is not None:
        size = prod(chosen.shape[1:])
        places = torch.from_numpy(views.noise_at[rows]).to(device)[:, None] + torch.arange(
            size, device=device
        )
        noise = _bank(device)[places % BANK].view_as(chosen)
        chosen = chosen + _column(views.noise, rows, device) * noise
    return chosen, inside


def mirror(cubes: Tensor, flip: int) -> Tensor:
    """Return cubes (b, c, z, y, x) mirrored along the axes of `FLIPS[flip]` (AP, ML, both or none)."""
    return torch.flip(cubes, FLIPS[flip]) if FLIPS[flip] else cubes


def _mirrored(cubes: Tensor, flips: Tensor) -> Tensor:
    """Return each cube mirrored as its own number in `flips` says: bit 0 is AP, bit 1 is ML."""
    for bit, axis in ((1, 3), (2, 4)):
        cubes = torch.where((flips & bit).bool(), cubes.flip(axis), cubes)
    return cubes


def _column(values: NDArray[np.generic], rows: NDArray[np.intp], device: torch.device) -> Tensor:
    return torch.from_numpy(values[rows]).to(device)[:, None, None, None, None]


@lru_cache(maxsize=2)
def _bank(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(BANK, generator=generator).to(device)
