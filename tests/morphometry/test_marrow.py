from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.morphometry import mr_bone_fraction
from srrd_ray.morphometry.marrow import marrow_reference, noise_sd
from tests.morphometry import shapes

SPACING = (0.75, 0.21875, 0.21875)
SHAPE = (24, 96, 96)
Image = NDArray[np.float32]


def knee(
    *, gain: float = 300.0, bias: float = 0.0, noise: float = 0.05
) -> tuple[Image, shapes.Mask, shapes.Map, shapes.Map]:
    """Bright marrow with dark trabeculae in a dim surround: image, bone, bone fraction, marrow level."""
    fine = shapes.gaussian_field((96, 96, 96), sigma=2.2, bvtv=0.18, seed=4).astype(np.float64)
    fraction = fine.reshape(24, 4, 96, 96).mean(axis=1)
    fraction = ndimage.gaussian_filter(fraction, (0, 0.6, 0.6))
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 12:-12, 12:-12] = True
    z, y, x = (
        np.linspace(-1, 1, n).reshape(s)
        for n, s in zip(SHAPE, [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True)
    )
    level = gain * np.exp(bias * (0.6 * x - 0.4 * y + 0.2 * z))
    signal = np.where(inside, level * (1 - fraction), 0.3 * level)
    rng = np.random.default_rng(1)
    real, imaginary = (noise * gain * rng.standard_normal(SHAPE) for _ in range(2))
    return np.hypot(signal + real, imaginary).astype(np.float32), inside, fraction, level


@pytest.mark.parametrize("gain", [3.0, 300.0])
@pytest.mark.parametrize("bias", [0.0, 0.12])
def test_the_mean_bone_fraction_is_right_whatever_gain_and_bias_field(gain: float, bias: float) -> None:
    image, inside, fraction, _ = knee(gain=gain, bias=bias)
    found = mr_bone_fraction(image, inside, SPACING)
    assert found[inside].mean() == pytest.approx(fraction[inside].mean(), abs=0.03)
    assert not found[~inside].any()


def test_the_marrow_level_follows_the_bias_field() -> None:
    image, inside, _, level = knee(bias=0.12)
    found = marrow_reference(image, inside, SPACING).level
    ratio = found[inside] / level[inside]
    assert ratio.std() / ratio.mean() < 0.04


@pytest.mark.parametrize("noise", [0.03, 0.08])
def test_the_noise_is_measured_on_the_image(noise: float) -> None:
    image = knee(noise=noise)[0]
    assert noise_sd(image, SPACING) == pytest.approx(300 * noise, rel=0.2)


def test_fractions_below_zero_are_kept_so_that_means_are_unbiased() -> None:
    image, inside, _, _ = knee(noise=0.08)
    assert mr_bone_fraction(image, inside, SPACING)[inside].min() < 0


def test_a_bone_too_small_for_a_reference_says_so() -> None:
    image, inside, _, _ = knee()
    inside[:, 24:] = False
    with pytest.raises(NotEstimableError, match="marrow-unknown"):
        mr_bone_fraction(image, inside, SPACING)
