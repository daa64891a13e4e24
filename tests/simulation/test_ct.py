import numpy as np
import pytest

from srrd_ray.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.ct import (
    PROTOCOLS,
    CtProtocol,
    CtSession,
    correlated_noise,
    frequencies,
    hu_table,
    mtf,
    noise_power,
    radial_frequency,
    slice_profile,
)

GRID = Geometry.aligned((40, 128, 128), (0.6, 0.4, 0.4))
SESSION = CtSession(mineral_density=1.0, marrow_hu=-50.0, noise_factor=1.0, seed=0)


@pytest.mark.parametrize("psf", [0.6, 1.0])
def test_the_kernel_has_the_mtf_of_its_psf(psf: float) -> None:
    assert mtf(np.array([0.44 / psf]), psf, 0.0)[0] == pytest.approx(0.5, abs=0.01)
    assert mtf(np.array([0.80 / psf]), psf, 0.0)[0] == pytest.approx(0.1, abs=0.01)


def test_edge_enhancement_keeps_the_mean_and_overshoots_an_edge() -> None:
    frequency = frequencies(512, 0.05)
    edge = np.repeat([0.0, 1.0], 256)
    image = np.fft.ifft(np.fft.fft(edge) * mtf(frequency, 0.65, 0.15)).real
    assert mtf(np.zeros(1), 0.65, 0.15)[0] == 1
    assert image.max() == pytest.approx(1.15, abs=0.02)


@pytest.mark.parametrize("thickness", [0.6, 1.0])
def test_the_slice_profile_is_as_wide_as_the_slice(thickness: float) -> None:
    step = 0.02
    profile = np.fft.fftshift(np.fft.ifft(slice_profile(frequencies(600, step), thickness)).real)
    width = (profile > profile.max() / 2).sum() * step
    assert width == pytest.approx(thickness, rel=0.1)


def test_noise_has_the_asked_deviation_and_no_mean() -> None:
    noise = correlated_noise(np.random.default_rng(0), GRID, PROTOCOLS[0], 50.0)
    assert noise.std() == pytest.approx(50.0, rel=0.03)
    assert abs(noise.mean()) < 1.0


def test_the_noise_power_spectrum_is_the_ramp_times_mtf_squared() -> None:
    protocol = PROTOCOLS[1]
    noise = correlated_noise(np.random.default_rng(1), GRID, protocol, 30.0)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    radius = radial_frequency((128, 128), (0.4, 0.4))
    bins = np.digitize(radius, np.linspace(0.1, 1.0, 10))
    measured = np.array([power[bins == b].mean() for b in range(1, 10)])
    expected = np.array([noise_power(radius, protocol)[bins == b].mean() for b in range(1, 10)])
    np.testing.assert_allclose(measured / measured.sum(), expected / expected.sum(), atol=0.03)


def test_neighbouring_slices_share_noise_and_distant_ones_do_not() -> None:
    noise = correlated_noise(np.random.default_rng(2), GRID, PROTOCOLS[0], 50.0)
    near = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    far = np.corrcoef(noise[:-6].ravel(), noise[6:].ravel())[0, 1]
    assert near > 0.15
    assert abs(far) < 0.05


def test_mineral_falls_with_energy_and_follows_its_density() -> None:
    def bone(kev: float, density: float) -> float:
        base = PROTOCOLS[0]
        protocol = CtProtocol(
            slice_mm=base.slice_mm,
            pixel_mm=base.pixel_mm,
            thickness_mm=base.thickness_mm,
            psf_mm=base.psf_mm,
            overshoot=base.overshoot,
            noise_hu=base.noise_hu,
            energy_kev=kev,
            offset_hu=0.0,
        )
        return hu_table(protocol, CtSession(mineral_density=density, marrow_hu=-50, noise_factor=1, seed=0))[1]

    assert bone(70, 1.0) == pytest.approx(1559)
    assert bone(60, 1.0) > bone(80, 1.0)
    assert bone(70, 1.1) == pytest.approx(1.1 * 1559)


def test_marrow_is_fatty_and_lesions_are_watery() -> None:
    table, _ = hu_table(PROTOCOLS[0], SESSION)
    assert table[tissue.MARROW + 5] == pytest.approx(-50)
    assert table[tissue.MARROW + 16 * 7] == pytest.approx(30)
    assert table[tissue.CARTILAGE] > table[tissue.MUSCLE] > table[tissue.FAT]
