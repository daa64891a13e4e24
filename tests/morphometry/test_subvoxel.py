from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry import local_thickness, measure
from srrd_ray.morphometry.thickness import Wall
from tests.morphometry import shapes
from tests.morphometry.shapes import Mask

Real = NDArray[np.float64]
SIZES = [4, 5, 7, 8, 12]
SHIFTS = [0.01, 0.15, 0.3, 0.5]
N = 36
WALLS: tuple[Wall, Wall] = ("voxel", "subvoxel")


def depth(shape: str, size: float, shift: float) -> Real:
    """Return the distance under the surface of a shape, in voxels, `shift` voxels off the middle of the grid."""
    z, y, x = (g - (N - 1) / 2 for g in np.ogrid[:N, :N, :N])
    ball: Real = np.sqrt((z - shift) ** 2 + (y - 0.3 * shift) ** 2 + x**2)
    away: dict[str, Real] = {
        "plate": np.abs(z - shift) + 0 * ball,
        "rod": np.hypot(y - shift, x - 0.3 * shift) + 0 * ball,
        "sphere": ball,
        "shell": np.abs(ball - 11.0),
    }
    return np.asarray(size / 2 - away[shape])


def grey_of(under: Real) -> Real:
    """Return what an ideal scanner sees of it, less one half: the share of each voxel that is inside."""
    return np.clip(under, -0.5, 0.5)


def bias(shape: str, size: float, shift: float) -> tuple[float, float]:
    """Return the error in voxels of the mean thickness by the voxel definition, and from the grey image."""
    grey = grey_of(depth(shape, size, shift))
    mask = grey > 0
    fine = local_thickness(mask, 1.0, surface="subvoxel", grey=grey)
    return float(local_thickness(mask, 1.0)[mask].mean()) - size, float(fine[mask].mean()) - size


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["rod", "sphere", "shell"])
def test_the_grey_image_halves_the_bias_of_round_shapes_at_least(shape: str, size: int) -> None:
    if shape == "shell" and size > 8:
        pytest.skip("thicker than the shell's own radius allows on this grid")
    pairs = np.array([bias(shape, size, shift) for shift in SHIFTS])
    voxel, fine = np.sqrt((pairs**2).mean(axis=0))
    assert fine <= 0.5 * voxel


@pytest.mark.parametrize("size", [5, 7, 9])
def test_odd_plates_have_no_bias(size: int) -> None:
    voxel, fine = bias("plate", size, 0.5)
    assert voxel == pytest.approx(1.0)
    assert fine == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("size", [4.3, 5.8, 7.25])
def test_plates_of_a_fraction_of_a_voxel_are_read_from_the_grey_image(size: float) -> None:
    assert bias("plate", size, 0.15)[1] == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("size", [5, 7, 9])
def test_a_smoothed_mask_reads_odd_plates_right(size: int) -> None:
    mask = grey_of(depth("plate", size, 0.5)) > 0
    assert local_thickness(mask, 1.0, surface="subvoxel")[mask].mean() == pytest.approx(size, abs=0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["rod", "sphere", "shell"])
def test_a_smoothed_mask_halves_the_bias_of_round_shapes_at_least(shape: str, size: int) -> None:
    if shape == "shell" and size > 7:
        pytest.skip("thicker than the shell's own radius allows on this grid")
    found = []
    for shift in SHIFTS:
        mask = grey_of(depth(shape, size, shift)) > 0
        maps = [local_thickness(mask, 1.0, surface=surface)[mask].mean() - size for surface in WALLS]
        found.append(maps)
    voxel, fine = np.sqrt((np.array(found) ** 2).mean(axis=0))
    assert fine <= 0.5 * voxel


def test_spacing_scales_each_axis() -> None:
    under = grey_of(depth("plate", 7, 0.5))
    found = local_thickness(under > 0, (0.1, 0.3, 0.2), surface="subvoxel", grey=under)
    assert found[under > 0].mean() == pytest.approx(0.7, abs=1e-6)


def test_an_open_border_is_no_wall_and_a_closed_one_is() -> None:
    mask = np.ones((6, 7, 8), bool)
    assert np.isinf(local_thickness(mask, 1.0, surface="subvoxel")).all()
    assert local_thickness(mask, 1.0, surface="subvoxel", border="closed").max() == pytest.approx(
        6.0, abs=0.6
    )


def test_measures_say_which_surface_they_use() -> None:
    grey = grey_of(depth("plate", 7, 0.5))[:, :12, :12]
    found = measure(grey > 0, None, 0.1, surface="subvoxel", grey=grey)
    assert (found.surface, measure(grey > 0, None, 0.1).surface) == ("subvoxel", "voxel")
    assert found.tb_th_mm == pytest.approx(0.7, abs=1e-6)
    assert found.tb_n_ridge_per_mm is None


def test_a_grey_image_of_another_shape_is_refused() -> None:
    mask: Mask = shapes.sphere(0.4, (16, 16, 16))
    with pytest.raises(InputError, match="grey-mismatch"):
        local_thickness(mask, 1.0, surface="subvoxel", grey=np.zeros((16, 16, 15)))


def test_the_definition_of_bonej_has_no_subvoxel_surface() -> None:
    with pytest.raises(InputError, match="surface-mode"):
        local_thickness(shapes.sphere(0.4, (16, 16, 16)), 1.0, surface="subvoxel", mode="bonej")
