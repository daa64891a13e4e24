import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from srrd_ray.simulation.measured import measure_line_spread, measure_mtf, measure_noise_power, measure_width

SIGMA = 0.4


@pytest.fixture
def distance() -> NDArray[np.float64]:
    """Distances from an edge at a slant over a grid of 0.4 mm."""
    y, x = np.meshgrid(np.arange(-40, 41) * 0.4, np.arange(-20, 21) * 0.4, indexing="ij")
    return np.asarray(x * np.cos(0.1) + y * np.sin(0.1))


@pytest.fixture
def blurred(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 + 500 * special.ndtr(distance / SIGMA))


def test_a_gaussian_blur_has_its_transfer(
    distance: NDArray[np.float64], blurred: NDArray[np.float64]
) -> None:
    found = measure_mtf(blurred, distance)
    for frequency in (0.2, 0.4, 0.6):
        assert found.at(frequency) == pytest.approx(np.exp(-2 * (np.pi * SIGMA * frequency) ** 2), abs=0.02)


def test_a_gaussian_blur_has_its_width(distance: NDArray[np.float64], blurred: NDArray[np.float64]) -> None:
    assert measure_width(blurred, distance) == pytest.approx(2.3548 * SIGMA, rel=0.03)


def test_a_falling_edge_is_measured_as_a_rising_one(
    distance: NDArray[np.float64], blurred: NDArray[np.float64]
) -> None:
    np.testing.assert_allclose(measure_mtf(-blurred, distance).y, measure_mtf(blurred, distance).y, atol=1e-9)
    assert measure_line_spread(-blurred, distance).y.max() > 0


def test_white_noise_has_the_same_power_everywhere_and_its_integral_is_the_variance() -> None:
    noise = np.random.default_rng(0).normal(10, 30, (40, 64, 64))
    found = measure_noise_power(noise, (0.5, 0.5))
    assert found.y[1:].std() < 0.05 * found.y.mean()
    assert found.y[1:].mean() * (1 / 0.5) ** 2 == pytest.approx(30.0**2, rel=0.02)
