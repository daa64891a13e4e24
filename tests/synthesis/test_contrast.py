from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from srrd_ray.synthesis.contrast import (
    SeenContrasts,
    contrast,
    crops,
    gather_contrasts,
    unlikeness,
)
from srrd_ray.synthesis.slices import Slices

KNEES = 12


def image(seed: int, dark: float = -0.8, noise: float = 0.05) -> Slices:
    """Bright bone with smooth edges in dark tissue, of some size and place."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 40, 40)), indexing="ij")
    x0, y0, z0 = rng.uniform(-0.2, 0.2, 3)
    inside = 1.0 / (1.0 + np.exp(20 * (np.sqrt((x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2) - 0.8)))
    made: Slices = (dark + (1.0 - dark) * inside + noise * rng.standard_normal(x.shape)).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def seen() -> SeenContrasts:
    rows = {}
    for seed in range(KNEES):
        rng = np.random.default_rng(seed)
        images = [image(seed, dark, rng.uniform(0.03, 0.1)) for dark in (-0.9, -0.5)]
        rows[f"knee-{seed}"] = [contrast(part) for one in images for part in crops(one, rng)]
    return gather_contrasts(rows)


def test_other_knees_and_other_fields_of_view_of_a_contrast_that_was_seen_are_ordinary(
    seen: SeenContrasts,
) -> None:
    new = [image(100 + seed, dark) for seed in range(10) for dark in (-0.9, -0.5)]
    new += [image(200 + seed)[6:20, 8:32, 8:32] for seed in range(10)]
    assert np.mean([unlikeness(seen, one) < 1.0 for one in new]) >= 0.9


@pytest.mark.parametrize("kind", ["noise", "blurred away", "dark all over"])
def test_a_contrast_that_was_never_seen_is_told(seen: SeenContrasts, kind: str) -> None:
    one = image(300)
    odd = {
        "noise": np.random.default_rng(0).uniform(-1, 2, one.shape).astype(np.float32),
        "blurred away": ndimage.gaussian_filter(one, 8.0),
        "dark all over": np.clip(one - 1.5, -1.0, None),
    }[kind]
    assert unlikeness(seen, odd) > 1.0


def test_crops_begin_with_the_whole_and_keep_no_less_than_they_say() -> None:
    whole, *parts = crops(image(0), np.random.default_rng(1))
    assert whole.shape == (24, 40, 40)
    assert parts
    assert all(p >= 0.4 * w - 1 for part in parts for p, w in zip(part.shape, whole.shape, strict=True))
