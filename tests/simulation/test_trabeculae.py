import numpy as np
import pytest

from srrd_ray.simulation.trabeculae import (
    FRACTIONS,
    ROD_WEIGHTS,
    SAMPLES_PER_WAVELENGTH,
    TILE_UNIT,
    random_tile,
    threshold_table,
    tile_map,
)


def test_the_two_fields_are_uncorrelated_with_unit_variance_and_no_mean() -> None:
    tile = random_tile(np.random.default_rng(0), 0.22, 64)[:-1, :-1, :-1].reshape(-1, 2) / TILE_UNIT
    np.testing.assert_allclose(tile.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(tile.std(axis=0), 1, atol=0.05)
    assert abs(float((tile[:, 0] * tile[:, 1]).mean())) < 0.05


def test_the_tile_repeats_without_a_seam() -> None:
    tile = random_tile(np.random.default_rng(0), 0.22, 48)
    np.testing.assert_array_equal(tile[-1], tile[0])
    np.testing.assert_array_equal(tile[:, :, -1], tile[:, :, 0])


def test_the_spectrum_is_a_ring_at_the_wavelength() -> None:
    nodes = 60
    field = random_tile(np.random.default_rng(1), 0.22, nodes)[:-1, :-1, :-1, 0]
    power = np.abs(np.fft.fftn(field)) ** 2
    cycles = np.fft.fftfreq(nodes, 1 / nodes)
    radius = np.sqrt(cycles[:, None, None] ** 2 + cycles[None, :, None] ** 2 + cycles[None, None, :] ** 2)
    assert (power * radius).sum() / power.sum() == pytest.approx(nodes / SAMPLES_PER_WAVELENGTH, rel=0.15)


@pytest.mark.parametrize("rod", [0.0, 0.4, 1.0])
def test_the_threshold_gives_the_fraction_it_is_tabulated_for(rod: float) -> None:
    normal = np.random.default_rng(2).standard_normal((2, 400_000))
    root = np.hypot(normal[0], rod * normal[1])
    column = int(np.argmin(np.abs(ROD_WEIGHTS - rod)))
    for fraction in (0.1, 0.25, 0.5):
        row = int(np.argmin(np.abs(FRACTIONS - fraction)))
        assert (root < threshold_table()[row, column]).mean() == pytest.approx(fraction, abs=0.004)


def test_the_map_keeps_the_mean_wavelength_whatever_the_stretch() -> None:
    for stretch in (1.0, 1.6):
        linear = tile_map(np.random.default_rng(3), 0.9, stretch, 15.0)[:, :3]
        assert abs(np.linalg.det(linear)) ** (1 / 3) == pytest.approx(SAMPLES_PER_WAVELENGTH / 0.9)
