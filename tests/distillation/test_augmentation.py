from __future__ import annotations

import numpy as np
import torch

from srrd_ray.distillation.augmentation import FLIPS, mirror, sample_views, show
from srrd_ray.distillation.config import Augmentation

CPU = torch.device("cpu")
IMAGES = torch.randn(12, 1, 4, 6, 8, generator=torch.Generator().manual_seed(0)).half()
MASKS = (IMAGES > 0).to(torch.uint8)
ROWS = np.array([3, 0, 7, 11, 5])
NUISANCE = Augmentation(offset=0.5, scale=0.2, noise=0.3)


def test_each_cube_is_mirrored_as_drawn_and_its_mask_with_it() -> None:
    views = sample_views(12, Augmentation(), seed=1, epoch=2)
    images, masks = show(IMAGES, MASKS, ROWS, views, CPU)
    assert len(set(views.flips[ROWS].tolist())) > 1
    for shown, mask, row in zip(images, masks, ROWS.tolist(), strict=True):
        flip = int(views.flips[row])
        assert torch.equal(shown, mirror(IMAGES[row : row + 1].float(), flip)[0])
        assert torch.equal(mask, mirror(MASKS[row : row + 1].float(), flip)[0])
    assert len(FLIPS) == 4


def test_a_cube_is_shown_alike_in_any_batch_of_an_epoch() -> None:
    views = sample_views(12, NUISANCE, seed=1, epoch=2)
    together, _ = show(IMAGES, MASKS, ROWS, views, CPU)
    alone = torch.cat([show(IMAGES, MASKS, ROWS[k : k + 1], views, CPU)[0] for k in range(len(ROWS))])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    other, _ = show(IMAGES, MASKS, ROWS, sample_views(12, NUISANCE, seed=1, epoch=3), CPU)
    assert not torch.equal(together, other)


def test_the_nuisance_has_the_size_that_was_asked_for() -> None:
    blank = torch.ones(600, 1, 4, 6, 8)
    views = sample_views(600, NUISANCE, seed=5, epoch=0)
    shown, _ = show(blank, blank, np.arange(600), views, CPU)
    levels, spreads = shown.mean(dim=(1, 2, 3, 4)), shown.flatten(1).std(dim=1)
    assert 0.45 < float(levels.std()) < 0.63
    assert 0.12 < float(spreads.mean()) < 0.18
    assert float(spreads.max()) < 0.35
