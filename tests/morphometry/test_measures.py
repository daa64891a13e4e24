from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core import serial
from srrd_ray.core.errors import InputError
from srrd_ray.morphometry import BoneMeasures, local_thickness, measure
from srrd_ray.morphometry.anisotropy import DIRECTIONS, anisotropy
from srrd_ray.morphometry.maps import bone_maps, region_measures
from srrd_ray.morphometry.surface import surface
from tests.morphometry import shapes
from tests.morphometry.shapes import Mask

N = 64


def rod(diameter: float) -> Mask:
    y, x = np.ogrid[:N, :N]
    return np.broadcast_to((y - 31.5) ** 2 + (x - 31.5) ** 2 <= (diameter / 2) ** 2, (N, N, N)).copy()


def plate(thickness: int) -> Mask:
    mask = np.zeros((N, N, N), bool)
    mask[20 : 20 + thickness] = True
    return mask


def box_frame() -> Mask:
    """The twelve edges of a cube, clear of the border."""
    mask = np.zeros((40, 40, 40), bool)
    ends = np.zeros((3, 40, 40, 40), bool)
    for axis in range(3):
        for at in (8, 30):
            np.moveaxis(ends[axis], axis, 0)[at : at + 2] = True
    mask[8:32, 8:32, 8:32] = ends.sum(0)[8:32, 8:32, 8:32] >= 2
    return mask


def test_a_plate_has_smi_0_and_a_rod_3_and_a_sphere_4() -> None:
    assert measure(plate(12), None, 1.0).smi == pytest.approx(0.0, abs=0.05)
    assert measure(rod(24), None, 1.0).smi == pytest.approx(3.0, abs=0.03)
    assert measure(shapes.sphere(1.2), None, 0.05).smi == pytest.approx(4.0, abs=0.01)


def test_a_box_frame_has_five_handles() -> None:
    found = measure(box_frame(), None, 0.5)
    assert found.euler == found.euler_corrected == -4
    assert found.conn_d_per_mm3 == pytest.approx(5 / (40**3 * 0.125))


@pytest.mark.parametrize(
    ("mask", "euler"),
    [(shapes.sphere(1.2), 1), (shapes.plates(0.4), 2), (shapes.rods(0.6), 4), (shapes.gaussian_field(), 13)],
)
def test_euler_numbers_are_those_of_the_reference(mask: Mask, euler: int) -> None:
    assert measure(mask, None, 0.05).euler == euler


def test_corrected_euler_numbers_of_parts_add_up_to_that_of_the_whole() -> None:
    mask = shapes.gaussian_field((24, 24, 24), seed=4)
    left = np.zeros_like(mask)
    left[:, :11] = True
    parts = [measure(mask, roi, 1.0).euler_corrected or 0.0 for roi in (left, ~left)]
    assert sum(parts) == pytest.approx(measure(mask, None, 1.0).euler_corrected)


def test_anisotropy_is_1_for_plates() -> None:
    assert measure(plate(12), None, 1.0).da == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_anisotropy_is_0_for_noise() -> None:
    noise = np.random.default_rng(0).random((96, 96, 96)) > 0.5
    found = anisotropy(surface(noise, np.ones_like(noise), (1.0, 1.0, 1.0), DIRECTIONS).orientation, 1.0)
    assert found is not None
    assert found.da == pytest.approx(0.0, abs=0.01)


def test_the_longest_intercepts_of_rods_run_along_them() -> None:
    axes = measure(shapes.rods(0.6), None, 0.05).da_axes
    assert axes is not None
    assert np.abs(axes[0]) == pytest.approx([1, 0, 0], abs=1e-6)


def test_the_image_border_is_no_bone_surface() -> None:
    found = measure(plate(12), None, 0.1)
    assert found.bs_mm2 == pytest.approx(2 * 6.3**2)
    assert found.bs_bv_per_mm == pytest.approx(2 * 6.3**2 / (1.2 * 6.4**2))


def test_the_three_tb_n_follow_their_names() -> None:
    found = measure(shapes.plates(0.4), None, 0.05)
    assert found.tb_n_per_mm == pytest.approx(0.25 / 0.4)
    assert found.tb_n_spacing_per_mm == pytest.approx(1 / 1.6)
    assert found.tb_n_ridge_per_mm == pytest.approx(1 / 1.5)


def test_a_region_restricts_averaging_and_is_no_wall() -> None:
    mask = shapes.gaussian_field((32, 32, 32), seed=8)
    maps = bone_maps(mask, 0.1)
    roi = np.zeros_like(mask)
    roi[5:20, 7:19, 9:30] = True
    found = region_measures(maps, roi)
    assert found.thickness is not None
    assert found.thickness.mean == pytest.approx(maps.thickness_mm[roi & mask].mean(dtype=np.float64))
    assert found.bvtv == mask[roi].mean()


@pytest.mark.parametrize(
    ("bone", "roi", "status", "bvtv"),
    [(0, None, "no-bone", 0.0), (1, None, "all-bone", 1.0), (1, 0, "empty-roi", None)],
)
def test_degenerate_input_has_a_status_and_no_nan(
    bone: int, roi: int | None, status: str, bvtv: float | None
) -> None:
    region = None if roi is None else np.full((4, 5, 6), roi)
    found = measure(np.full((4, 5, 6), bone), region, 0.1)
    assert (found.status, found.bvtv, found.tb_th_mm, found.tb_sp_mm) == (status, bvtv, None, None)
    assert serial.from_json(BoneMeasures, serial.to_json(found)) == found


def test_one_bone_voxel_is_measured() -> None:
    mask = np.zeros((5, 5, 5))
    mask[2, 2, 2] = 1
    found = measure(mask, None, 0.1)
    assert (found.status, found.euler) == ("ok", 1)
    assert found.tb_th_mm == pytest.approx(0.2)


def test_a_region_on_another_grid_is_refused() -> None:
    with pytest.raises(InputError, match="roi-mismatch"):
        measure(np.ones((3, 3, 3)), np.ones((3, 3, 4)), 0.1)


def test_every_length_scales_with_the_voxel() -> None:
    mask = shapes.gaussian_field((24, 24, 24), seed=1)
    one, two = measure(mask, None, 0.1), measure(mask, None, 0.2)
    for name, power in (
        ("tb_th_mm", 1),
        ("tb_sp_mm", 1),
        ("tb_n_per_mm", -1),
        ("bs_mm2", 2),
        ("conn_d_per_mm3", -3),
        ("smi", 0),
    ):
        assert getattr(two, name) == pytest.approx(getattr(one, name) * 2.0**power, rel=1e-6), name


def test_a_window_of_the_maps_is_a_region_of_the_volume() -> None:
    maps = bone_maps(shapes.gaussian_field((24, 30, 36), sigma=2.0, bvtv=0.3, seed=2), 0.05)
    window = (slice(4, 20), slice(7, 29), slice(0, 16))
    region = np.zeros(maps.bone.shape, dtype=np.bool_)
    region[window] = True
    assert region_measures(maps.crop(window)) == region_measures(maps, region)


def test_bone_that_leaves_the_scanned_field_is_measured_as_at_the_edge_of_an_image() -> None:
    bone = shapes.gaussian_field((24, 30, 36), sigma=2.0, bvtv=0.3, seed=2)
    window = (slice(2, 20), slice(4, 26), slice(5, 33))
    field = np.zeros_like(bone)
    field[window] = True
    cut, alone = measure(bone & field, field, 0.05, field=field), measure(bone[window], None, 0.05)
    for name in ("bvtv", "tb_th_mm", "tb_sp_mm", "tb_n_ridge_per_mm"):
        assert getattr(cut, name) == getattr(alone, name), name
    partly = region_measures(bone_maps(bone & field, 0.05, field=field))
    assert partly.n_voxels == bone.size
    assert partly.separation == region_measures(bone_maps(bone[window], 0.05)).separation


def test_the_edge_of_one_bone_is_a_wall_for_bone_and_none_for_marrow() -> None:
    bone = shapes.gaussian_field((24, 30, 36), sigma=2.0, bvtv=0.3, seed=2)
    inside = np.zeros_like(bone)
    inside[2:20, 4:26, 5:33] = True
    maps = bone_maps(bone & inside, 0.05, inside=inside)
    assert np.array_equal(maps.thickness_mm, local_thickness(bone & inside, 0.05, dtype=np.float32))
    marrow = local_thickness(~(bone & inside), 0.05, field=inside, dtype=np.float32)
    assert np.array_equal(maps.separation_mm, marrow)


def test_a_masked_array_hides_what_is_outside_and_a_region_has_one_label() -> None:
    bone = np.zeros((8, 8, 8), np.uint8)
    bone[2:5] = 1
    hidden = np.ma.masked_array(bone + 1, mask=bone == 0)  # all values differ from zero
    assert measure(hidden, None, 0.05).bvtv == measure(bone, None, 0.05).bvtv
    roi = np.zeros(bone.shape)
    roi[1:4] = 1
    region = np.ma.masked_array(np.ones(bone.shape), mask=roi == 0)
    assert measure(bone, region, 0.05).n_voxels == roi.sum()
    for wrong in (roi + 1, roi * 2 - 1, np.where(roi, 1.0, np.nan)):
        with pytest.raises(InputError, match="mask-values"):
            measure(bone, wrong, 0.05)
        with pytest.raises(InputError, match="mask-invalid"):
            measure(wrong, None, 0.05)
