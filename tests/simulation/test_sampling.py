import numpy as np
import pytest
from scipy import special

from srrd_ray.simulation.sampling import fourier_crop, padded_length


@pytest.mark.parametrize(("kept", "factor"), [(16, 2), (17, 2), (16, 3), (15, 4)])
def test_sampling_in_k_space_preserves_the_mean(kept: int, factor: int) -> None:
    fine = np.random.default_rng(0).random((3, kept * factor)).astype(np.complex64)
    np.testing.assert_allclose(fourier_crop(fine, 1, factor).mean(axis=1), fine.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("kept", "factor"), [(16, 2), (17, 3), (15, 4)])
def test_a_band_limited_wave_is_sampled_at_the_middle_of_each_voxel(kept: int, factor: int) -> None:
    fine_x = (np.arange(kept * factor) + 0.5) / factor
    coarse_x = np.arange(kept) + 0.5
    wave = np.cos(2 * np.pi * 3 * fine_x / kept + 0.4).astype(np.complex64)
    expected = np.cos(2 * np.pi * 3 * coarse_x / kept + 0.4)
    np.testing.assert_allclose(fourier_crop(wave, 0, factor).real, expected, atol=1e-5)


def test_real_input_stays_real() -> None:
    fine = np.random.default_rng(1).random(48).astype(np.complex64)
    assert np.abs(fourier_crop(fine, 0, 3).imag).max() < 1e-6


def test_a_box_rings_beyond_its_edge_as_gibbs_says() -> None:
    fine = np.zeros(400, np.complex64)
    fine[100:300] = 1
    beyond = (
        0.5 + special.sici(1.5 * np.pi)[0] / np.pi
    )  # one and a half voxels inside an edge between two voxels
    assert fourier_crop(fine, 0, 4).real.max() == pytest.approx(beyond, abs=0.003)


def test_a_padded_length_leaves_room_on_both_sides_alike() -> None:
    for count in (33, 100, 211):
        length = padded_length(count, 4)
        assert length >= count + 8
        assert (length - count) % 2 == 0
