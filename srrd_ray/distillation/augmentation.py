"""Augmentation of training cubes: mirror images, and intensity shifts as between scanners and hospitals."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srrd_ray.core.hashing import seed_from
from srrd_ray.distillation.config import Augmentation

FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (4,), (3, 4))


def mirror(cubes: Tensor, flip: int) -> Tensor:
    """Return cubes (b, c, z, y, x) mirrored along the axes of `FLIPS[flip]` (AP, ML, both or none)."""
    return torch.flip(cubes, FLIPS[flip]) if FLIPS[flip] else cubes


def sample_flips(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """Return which of the mirror images each cube shows in an epoch."""
    return np.random.default_rng(seed_from(seed, "flip", epoch)).integers(len(FLIPS), size=count)


def augment(images: Tensor, rows: NDArray[np.intp], how: Augmentation, *, seed: int, epoch: int) -> Tensor:
    """Return `images` (b, 1, z, y, x) with the nuisance of this epoch;
    it depends on `seed`, `epoch` and the row alone.
    """
    out = []
    for image, row in zip(images, rows, strict=True):
        generator = torch.Generator().manual_seed(seed_from(seed, "nuisance", epoch, int(row)))
        offset, scale = torch.randn(2, generator=generator).tolist()
        sd = how.noise * float(torch.rand((), generator=generator))
        noise = torch.randn(image.shape, generator=generator) if sd else torch.zeros(())
        out.append(image * (1 + how.scale * scale) + how.offset * offset + sd * noise)
    return torch.stack(out)
