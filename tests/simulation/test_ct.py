from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.ct import (
    PROTOCOLS,
    SOFT_HU,
    CtProtocol,
    CtSession,
    acquire,
    acquire_noiseless,
    frequencies,
    hu_table,
    kernel_name,
    mtf,
    noise_power,
    radial_frequency,
    sample_noise,
    slice_profile,
    tube_kv,
)
from srrd_ray.simulation.measured import measure_mtf, measure_noise_power, measure_width
from srrd_ray.simulation.phantoms import BONE_OF, SOFT_OF, body_scene, edge_scene, identity_poses

GRID = Geometry.axis_aligned((40, 128, 128), (0.6, 0.4, 0.4))
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
    noise = sample_noise(np.random.default_rng(0), GRID, PROTOCOLS[0], 50.0)
    assert noise.std() == pytest.approx(50.0, rel=0.03)
    assert abs(noise.mean()) < 1.0


def test_the_noise_power_spectrum_is_the_ramp_times_mtf_squared() -> None:
    protocol = PROTOCOLS[1]
    noise = sample_noise(np.random.default_rng(1), GRID, protocol, 30.0)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    radius = radial_frequency((128, 128), (0.4, 0.4))
    bins = np.digitize(radius, np.linspace(0.1, 1.0, 10))
    measured = np.array([power[bins == b].mean() for b in range(1, 10)])
    expected = np.array([noise_power(radius, protocol)[bins == b].mean() for b in range(1, 10)])
    np.testing.assert_allclose(measured / measured.sum(), expected / expected.sum(), atol=0.03)


def test_neighbouring_slices_share_noise_and_distant_ones_do_not() -> None:
    noise = sample_noise(np.random.default_rng(2), GRID, PROTOCOLS[0], 50.0)
    near = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    far = np.corrcoef(noise[:-6].ravel(), noise[6:].ravel())[0, 1]
    assert near > 0.15
    assert abs(far) < 0.05


@pytest.mark.parametrize(("kev", "hu"), [(60, 1936), (65, 1723), (70, 1559), (75, 1431), (80, 1330)])
def test_mineral_has_the_hu_of_the_beam_and_follows_its_density(kev: float, hu: float) -> None:
    protocol = replace(PROTOCOLS[0], energy_kev=kev)
    assert hu_table(protocol, SESSION)[1] == pytest.approx(hu)
    assert hu_table(protocol, replace(SESSION, mineral_density=1.1))[1] == pytest.approx(1.1 * hu)


def test_marrow_is_fatty_and_lesions_are_watery() -> None:
    table, _ = hu_table(PROTOCOLS[0], SESSION)
    assert table[tissue.MARROW + 5] == pytest.approx(-50)
    assert table[tissue.MARROW + 16 * 7] == pytest.approx(30)
    assert table[tissue.CARTILAGE] > table[tissue.MUSCLE] > table[tissue.FAT]


def grid_of(protocol: CtProtocol, shape: tuple[int, int, int]) -> Geometry:
    """Return a grid of the protocol's voxels round the origin."""
    spacing = np.array((protocol.slice_mm, protocol.pixel_mm, protocol.pixel_mm))
    return Geometry.axis_aligned(shape, spacing, -(spacing * (np.array(shape) - 1) / 2)[::-1])


def across(
    protocol: CtProtocol, normal: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the noiseless image of an edge of compact bone, and the distance of every voxel from it."""
    grid = grid_of(protocol, (24, 64, 64))
    image = acquire_noiseless(
        edge_scene(normal), identity_poses(), grid, protocol, hu_table(protocol, SESSION)
    )
    place = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    return image, np.asarray(place @ (np.array(normal) / np.linalg.norm(normal)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_transfer_measured_on_an_edge_is_that_of_the_kernel(protocol: CtProtocol) -> None:
    image, distance = across(protocol, (1.0, 0.12, 0.0))
    found = measure_mtf(image, distance)
    for frequency in (0.2, 0.35, 0.5, 0.7):
        expected = float(mtf(np.array([frequency]), protocol.psf_mm, protocol.overshoot)[0])
        assert found.at(frequency) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slice_measured_on_a_slanted_edge_is_as_thick_as_it_should_be(protocol: CtProtocol) -> None:
    image, distance = across(replace(protocol, overshoot=0.0), (0.0, 0.08, 1.0))
    assert measure_width(image, distance, 0.2) == pytest.approx(protocol.thickness_mm, rel=0.1)
    found, asked = measure_mtf(image, distance), np.array([0.3, 0.5, 0.8])
    np.testing.assert_allclose(
        [found.at(f) for f in asked], slice_profile(asked, protocol.thickness_mm), atol=0.03
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_noise_measured_in_an_acquired_body_has_its_deviation_and_its_peak(protocol: CtProtocol) -> None:
    grid = grid_of(protocol, (60, 96, 96))
    image = acquire(body_scene(tissue.MUSCLE), identity_poses(), grid, protocol, SESSION).array
    assert image.std() == pytest.approx(protocol.noise_hu, rel=0.04)
    found = measure_noise_power(image, (protocol.pixel_mm, protocol.pixel_mm))
    fine = np.linspace(0.01, 1.0, 500)
    peak = fine[noise_power(fine, protocol).argmax()]
    smooth = np.convolve(found.y, np.ones(3) / 3, "same")
    assert found.x[smooth.argmax()] == pytest.approx(peak, abs=0.09)
    expected = noise_power(found.x, protocol)
    np.testing.assert_allclose(found.y / found.y.sum(), expected / expected.sum(), atol=0.012)


@pytest.mark.parametrize(
    "label", [*(n for n in (*BONE_OF, *SOFT_OF) if n in SOFT_HU), tissue.FAT, tissue.MARROW]
)
def test_the_middle_of_a_large_body_has_the_hu_of_its_tissue(label: int) -> None:
    protocol = replace(PROTOCOLS[0], noise_hu=0.0)
    image = acquire(
        body_scene(label), identity_poses(), grid_of(protocol, (10, 24, 24)), protocol, SESSION
    ).array
    soft, mineral = hu_table(protocol, SESSION)
    expected = 0.93 * mineral + 0.07 * soft[label] if label == tissue.COMPACT else soft[label]
    assert image[3:-3, 8:-8, 8:-8].mean() == pytest.approx(expected + protocol.offset_hu, abs=2)


def test_trabecular_bone_has_the_hu_of_its_volume_fraction() -> None:
    protocol = replace(PROTOCOLS[0], noise_hu=0.0, offset_hu=0.0)
    image = acquire(
        body_scene(tissue.MARROW, 0.25), identity_poses(), grid_of(protocol, (24, 40, 40)), protocol, SESSION
    ).array
    mineral = hu_table(protocol, SESSION)[1]
    assert image.mean() == pytest.approx(0.25 * mineral - 0.75 * 50, rel=0.12)


def test_noise_of_two_seeds_has_nothing_in_common() -> None:
    one, two = (sample_noise(np.random.default_rng(seed), GRID, PROTOCOLS[0], 50.0) for seed in (1, 2))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.02


def test_kernels_and_voltages_have_the_names_that_headers_use() -> None:
    assert {kernel_name(replace(PROTOCOLS[0], overshoot=c)) for c in (0.0, 0.08, 0.15)} == {
        "STANDARD",
        "DETAIL",
        "BONE",
    }
    assert [tube_kv(replace(PROTOCOLS[0], energy_kev=kev)) for kev in (62, 70, 77)] == [100, 120, 140]


def test_beam_hardening_takes_its_hu_off_inside_wide_dense_bone_and_none_off_far_from_it() -> None:
    protocol = replace(PROTOCOLS[1], noise_hu=0.0)
    grid = grid_of(protocol, (8, 24, 220))
    plain, cupped = (
        acquire(
            edge_scene((1.0, 0.0, 0.0)), identity_poses(), grid, replace(protocol, cupping_hu=hu), SESSION
        ).array.astype(np.float64)
        for hu in (0.0, 20.0)
    )
    lost = (plain - cupped)[3:-3, 6:-6].mean(axis=(0, 1))
    assert lost[25] == pytest.approx(20.0, abs=1.5)
    assert lost[-25] == pytest.approx(0.0, abs=1.0)
    assert lost[110] == pytest.approx(10.0, abs=3.0)


def test_one_hospital_in_four_leaves_some_beam_hardening() -> None:
    assert sorted(protocol.cupping_hu > 0 for protocol in PROTOCOLS) == [False, False, False, True]
