import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.simulation.trabeculae import (
    FRACTIONS,
    SAMPLES_PER_WAVELENGTH,
    TILE_UNIT,
    WINDOWS,
    fabric_of,
    mean_wave_number,
    random_tile,
    thickness_table,
    tile_maps,
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


@pytest.mark.parametrize("bandwidth", [0.12, 0.5])
def test_the_mean_slope_is_that_of_the_wavelength_whatever_the_disorder(bandwidth: float) -> None:
    nodes = 60
    field = random_tile(np.random.default_rng(1), bandwidth, nodes)[:-1, :-1, :-1, 0]
    power = np.abs(np.fft.fftn(field)) ** 2
    cycles = np.fft.fftfreq(nodes, 1 / nodes)
    square = cycles[:, None, None] ** 2 + cycles[None, :, None] ** 2 + cycles[None, None, :] ** 2
    mean = np.sqrt((power * square).sum() / power.sum())
    assert mean == pytest.approx(nodes / SAMPLES_PER_WAVELENGTH, rel=0.05)


def test_a_narrow_ring_has_the_wave_number_of_its_radius() -> None:
    assert mean_wave_number(0.01) == pytest.approx(1, abs=1e-3)
    assert mean_wave_number(0.5) > 1.1


def test_plates_are_the_thicker_the_more_bone_and_the_wider_their_windows() -> None:
    table = thickness_table()
    assert table.shape == (len(FRACTIONS), len(WINDOWS))
    assert (np.diff(table, axis=0) > 0).all()
    assert (np.diff(table[1:], axis=1) > 0).all()
    assert (table[0] == 0).all()


def maps_and_grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    maps = tile_maps(np.random.default_rng(3), 0.9, 1.6, 1.3, 15.0)
    grid = np.hstack([np.diag([0.1, 0.2, 0.3]), np.zeros((3, 1))])
    return maps[None], grid[None]


def test_the_maps_keep_the_mean_wavelength_whatever_the_stretch() -> None:
    maps, _ = maps_and_grid()
    first, second = (abs(np.linalg.det(one[:, :3])) ** (1 / 3) for one in maps[0])
    assert first == pytest.approx(SAMPLES_PER_WAVELENGTH / 0.9)
    assert second / first == pytest.approx(1.07)


def test_structures_are_longest_along_the_load_and_wider_in_plates_than_across() -> None:
    fabric = fabric_of(*maps_and_grid())
    across, within, along = fabric.nodes_per_mm[0, 0]
    assert across / along == pytest.approx(1.6 * 1.3, rel=1e-5)
    assert across / within == pytest.approx(1.3, rel=1e-5)


def test_the_fabric_turns_slopes_of_both_pairs_into_the_same_axes() -> None:
    maps, grid = maps_and_grid()
    fabric = fabric_of(maps, grid)
    step = np.array([0.3, -0.2, 0.5])
    along_fabric = fabric.mm_per_index[0] @ (step / [0.1, 0.2, 0.3])
    assert np.linalg.norm(along_fabric) == pytest.approx(np.linalg.norm(step), rel=1e-5)
    first, second = (one[:, :3] @ step for one in maps[0])
    np.testing.assert_allclose(first, fabric.nodes_per_mm[0, 0] * along_fabric, rtol=1e-4)
    np.testing.assert_allclose(second[[2, 0, 1]], fabric.nodes_per_mm[0, 1] * along_fabric, rtol=1e-4)


def test_the_two_pairs_of_fields_have_no_common_period() -> None:
    maps, _ = maps_and_grid()
    shift = np.linalg.solve(maps[0, 0, :, :3], [240.0, 0.0, 0.0])
    moved = maps[0, 1, :, :3] @ shift / 240.0
    assert np.abs(moved - np.rint(moved)).max() > 0.05
