from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry import local_thickness
from srrd_ray.morphometry.thickness import Border, Mode
from tests.morphometry import shapes
from tests.morphometry.shapes import ISO, THICK_SLICES, Mask, Spacing

FLAT = (32, 64, 64)
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(1, 11)] * 3)


def random_mask(seed: int, shape: tuple[int, int, int]) -> Mask:
    rng = np.random.default_rng(seed)
    noise = rng.random(shape)
    blurred = noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)
    return np.asarray(blurred > np.quantile(blurred, rng.random()))


@pytest.mark.parametrize(
    ("mask", "spacing_mm", "bvtv", "thickness_mm", "separation_mm"),
    [
        (shapes.sphere(1.2), ISO, 0.220703125, 2.3140340015, 2.7551161148),
        (shapes.sphere(1.2, FLAT, THICK_SLICES), THICK_SLICES, 0.2216796875, 2.2807433530, 2.7484142976),
        (shapes.plates(0.4), ISO, 0.25, 0.4, 1.2),
        (shapes.plates(0.4, FLAT, THICK_SLICES), THICK_SLICES, 0.25, 0.4, 1.2),
        (shapes.plates(0.35), ISO, 0.21875, 0.4, 1.276),
        (shapes.rods(0.6), ISO, 0.109375, 0.538516, 1.617562),
        (shapes.gaussian_field(), ISO, 0.200001, 0.387383, 0.827855),
    ],
    ids=["sphere", "sphere-anisotropic", "plates", "plates-anisotropic", "odd-plates", "rods", "field"],
)
def test_mean_thickness_and_spacing_equal_the_published_reference(
    mask: Mask, spacing_mm: Spacing, bvtv: float, thickness_mm: float, separation_mm: float
) -> None:
    assert mask.mean() == pytest.approx(bvtv, abs=5e-7)
    assert local_thickness(mask, spacing_mm)[mask].mean() == pytest.approx(thickness_mm, abs=6e-7)
    assert local_thickness(~mask, spacing_mm)[~mask].mean() == pytest.approx(separation_mm, abs=6e-7)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, shape=SHAPES)
def test_isotropic_maps_equal_the_slow_twin_bit_for_bit(seed: int, shape: tuple[int, int, int]) -> None:
    mask = random_mask(seed, shape)
    assert np.array_equal(local_thickness(mask, 0.05), shapes.slow_local_thickness(mask, ISO))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, shape=SHAPES, steps=st.tuples(*[st.floats(0.01, 3.0)] * 3))
def test_maps_of_any_spacing_equal_the_slow_twin(
    seed: int, shape: tuple[int, int, int], steps: Spacing
) -> None:
    mask = random_mask(seed, shape)
    fast, slow = local_thickness(mask, steps), shapes.slow_local_thickness(mask, steps)
    assert np.array_equal(np.isinf(fast), np.isinf(slow))
    np.testing.assert_allclose(fast[np.isfinite(fast)], slow[np.isfinite(slow)], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "steps", [(0.1, 0.05, 0.05), (0.75, 0.2188, 0.2188), (0.3, 0.3, 0.1), (0.05, 0.07, 0.07)]
)
def test_equal_distances_by_different_sums_are_ties(steps: Spacing) -> None:
    mask = shapes.gaussian_field((12, 16, 20), sigma=1.5, bvtv=0.5, seed=3)
    np.testing.assert_allclose(
        local_thickness(mask, steps), shapes.slow_local_thickness(mask, steps), atol=1e-9
    )


@pytest.mark.parametrize(
    "steps", [(0.05, 0.05, 0.05 * (1 + 1e-6)), (0.0500001, 0.05, 0.05), (0.05, 0.0499999, 0.05)]
)
def test_voxels_that_are_cubes_but_for_rounding_are_cubes(steps: Spacing) -> None:
    mask = shapes.gaussian_field((12, 16, 20), sigma=1.5, bvtv=0.5, seed=3)
    assert np.array_equal(local_thickness(mask, steps), local_thickness(mask, 0.05))
    bonej = local_thickness(mask, steps, mode="bonej")
    assert np.array_equal(bonej, local_thickness(mask, 0.05, mode="bonej"))


def test_a_voxel_that_differs_by_a_thousandth_is_no_cube() -> None:
    mask = shapes.gaussian_field((12, 16, 20), sigma=1.5, bvtv=0.5, seed=3)
    steps = (0.05, 0.05, 0.05005)
    np.testing.assert_allclose(
        local_thickness(mask, steps), shapes.slow_local_thickness(mask, steps), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("spacing_mm", [ISO, (0.1, 0.05, 0.07)])
@pytest.mark.parametrize("threads", [2, 3, 64])
def test_the_number_of_threads_changes_no_bit(threads: int, spacing_mm: Spacing) -> None:
    mask = shapes.gaussian_field((20, 24, 70), seed=5)
    one, many = (local_thickness(mask, spacing_mm, threads=n) for n in (1, threads))
    assert np.array_equal(one, many)


def test_turning_the_volume_turns_the_map() -> None:
    mask = shapes.gaussian_field((16, 20, 72), seed=9)
    turned = local_thickness(mask.transpose(2, 0, 1), (0.3, 0.1, 0.2))
    np.testing.assert_allclose(turned.transpose(1, 2, 0), local_thickness(mask, (0.1, 0.2, 0.3)), atol=1e-12)


def test_closed_border_is_a_wall_of_one_voxel() -> None:
    mask = shapes.gaussian_field((20, 20, 20), seed=2)
    padded = local_thickness(np.pad(mask, 1), 0.05)[1:-1, 1:-1, 1:-1]
    assert np.array_equal(local_thickness(mask, 0.05, border="closed"), padded)


def test_a_phase_without_a_wall_is_infinitely_thick_under_an_open_border() -> None:
    assert np.isinf(local_thickness(np.ones((3, 4, 5), bool), 0.1)).all()
    assert local_thickness(np.ones((3, 3, 3), bool), 0.1, border="closed").max() == pytest.approx(0.4)


def test_an_empty_phase_is_zero_everywhere() -> None:
    assert not local_thickness(np.zeros((3, 4, 5)), 0.1).any()


def test_one_voxel_is_two_voxels_thick() -> None:
    mask = np.zeros((3, 3, 3))
    mask[1, 1, 1] = 255
    assert local_thickness(mask, 0.1)[1, 1, 1] == 0.2


def test_float32_is_the_rounded_float64_map() -> None:
    mask = shapes.gaussian_field((16, 16, 16))
    full: NDArray[np.float64] = local_thickness(mask, 0.05)
    assert local_thickness(mask, 0.05, dtype=np.float32).dtype == np.float32
    assert np.array_equal(local_thickness(mask, 0.05, dtype=np.float32), full.astype(np.float32))


@pytest.mark.parametrize("steps", [0.0, -1.0, np.nan, (1.0, 1.0), (1.0, np.inf, 1.0)])
def test_a_spacing_that_is_not_positive_is_refused(steps: float | tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="spacing-invalid"):
        local_thickness(np.ones((2, 2, 2)), steps)


@pytest.mark.parametrize("mask", [np.ones((2, 2)), np.ones((0, 2, 2)), np.full((2, 2, 2), np.nan)])
def test_what_is_no_mask_is_refused(mask: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="mask-invalid"):
        local_thickness(mask, 1.0)


@pytest.mark.parametrize(
    ("mask", "mean_mm"),
    [(shapes.sphere(1.2), 2.315), (shapes.rods(0.6), 0.539), (shapes.gaussian_field(), 0.399)],
)
def test_bonej_mode_reads_what_bonej_reads(mask: Mask, mean_mm: float) -> None:
    assert local_thickness(mask, 0.05, mode="bonej")[mask].mean() == pytest.approx(mean_mm, abs=6e-4)


@pytest.mark.parametrize("beyond", [True, False])
@pytest.mark.parametrize(("border", "mode"), [("open", "exact"), ("closed", "exact"), ("open", "bonej")])
@pytest.mark.parametrize("steps", [0.1, (0.1, 0.05, 0.07)])
def test_the_edge_of_the_scanned_field_is_as_the_edge_of_an_image(
    beyond: bool, border: Border, mode: Mode, steps: float | Spacing
) -> None:
    mask = shapes.gaussian_field((20, 20, 20), seed=6)
    window = (slice(3, 17), slice(4, 18), slice(2, 20))
    field = np.zeros_like(mask)
    field[window] = True
    found = local_thickness(np.where(field, mask, beyond), steps, border=border, mode=mode, field=field)
    assert np.array_equal(found[window], local_thickness(mask[window], steps, border=border, mode=mode))
    assert not found[~field].any()


def test_plates_that_a_cylinder_cuts_are_as_thick_at_its_edge() -> None:
    mask = shapes.plates(0.4)
    y, x = np.ogrid[:64, :64]
    field = np.broadcast_to((y - 31.5) ** 2 + (x - 31.5) ** 2 <= 30**2, mask.shape)
    for phase in (mask, ~mask):
        whole, cut = local_thickness(phase, 0.05), local_thickness(phase, 0.05, field=field)
        assert np.array_equal(cut, np.where(field, whole, 0))


def test_importing_it_leaves_the_slow_libraries_alone() -> None:
    code = "import sys, srrd_ray.morphometry; print([m for m in sys.modules if m in sys.argv[1:]])"
    slow = ["scipy.stats", "scipy.interpolate", "scipy.spatial", "pandas", "pydantic", "torch", "ray"]
    found = subprocess.run(
        [sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"
