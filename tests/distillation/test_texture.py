from __future__ import annotations

import numpy as np
import pytest
import torch

from srrd_ray.distillation.texture import masked_mean, texture

GENERATOR = torch.Generator().manual_seed(0)
NOISE = torch.randn(2, 1, 24, 24, 24, generator=GENERATOR)
ALL = torch.ones_like(NOISE)


def test_white_noise_has_a_flat_variogram_of_twice_its_variance() -> None:
    seen = texture(3 * NOISE + 10, ALL, ((0, 1), (1, 2), (2, 4)))
    torch.testing.assert_close(seen[:, 0], torch.full((2,), 10.0), atol=0.1, rtol=0)
    torch.testing.assert_close(seen[:, 1], torch.full((2,), float(np.log(3))), atol=0.03, rtol=0)
    torch.testing.assert_close(
        seen[:, 3:], torch.full((2, 3), float(np.log(3) + np.log(2) / 2)), atol=0.04, rtol=0
    )


def test_a_wave_of_period_eight_differs_most_at_half_its_period_along_its_own_axis() -> None:
    wave = torch.sin(2 * torch.pi * torch.arange(24) / 8).expand(1, 1, 24, 24, 24)
    seen = texture(wave, ALL[:1], ((2, 1), (2, 4), (2, 8), (1, 4)))[0, 3:]
    assert float(seen[1]) == pytest.approx(np.log(4 * 0.5) / 2, abs=0.01)
    assert seen[1] > seen[0] > seen[2]
    assert float(seen[3]) == pytest.approx(np.log(1e-6) / 2, abs=1e-3)


def test_voxels_outside_the_mask_never_count() -> None:
    mask = ALL.clone()
    mask[:, :, 12:] = 0
    spoiled = torch.where(mask > 0, NOISE, torch.full_like(NOISE, 1e4))
    torch.testing.assert_close(
        texture(spoiled, mask, ((0, 1), (1, 2))), texture(NOISE * mask, mask, ((0, 1), (1, 2)))
    )


def test_a_masked_mean_is_the_mean_of_what_is_inside() -> None:
    mask = (NOISE > 0).float()
    torch.testing.assert_close(masked_mean(NOISE, mask)[0, 0], NOISE[0][NOISE[0] > 0].mean())
