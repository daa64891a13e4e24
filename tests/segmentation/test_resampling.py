from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.segmentation.resampling import axis_weights, resample


@pytest.mark.parametrize(
    ("count", "made", "step", "first"),
    [(20, 5, 4.0, 1.5), (20, 60, 1 / 3, -1 / 3), (9, 9, 1.0, 0.0), (30, 11, 2.7, 0.4)],
)
def test_weights_sum_to_one_and_a_ramp_keeps_its_place(
    count: int, made: int, step: float, first: float
) -> None:
    weights = axis_weights(count, made, step, first)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    at = first + step * np.arange(made)
    inner = (at > step) & (at < count - 1 - step)
    assert inner.any()
    assert np.allclose(
        (weights @ np.arange(count, dtype=np.float32))[inner], at[inner], atol=0.26 if step == 2.7 else 1e-4
    )


def test_a_lattice_on_itself_changes_nothing() -> None:
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    assert np.array_equal(resample(array, array.shape, (1, 1, 1), (0, 0, 0)), array)


def test_fine_noise_does_not_alias_into_a_coarse_lattice() -> None:
    array = np.tile(np.array([1.0, -1.0], np.float32), 32)[None, None, :] * np.ones((4, 4, 1), np.float32)
    made = resample(array, (4, 4, 16), (1, 1, 4), (0, 0, 1.5))
    assert np.abs(made[..., 1:-1]).max() < 1e-6
