from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.morphometry.resolve import (
    MorphometryConfig,
    box_corners,
    box_mask,
    conserving_level,
    super_resolve,
    trabecular_mask,
    window_around,
)

SPACING = (0.75, 0.25, 0.2)


def grid(shape: tuple[int, int, int] = (12, 30, 40)) -> Geometry:
    return Geometry.axis_aligned(shape, SPACING, np.array([5.0, -3.0, 10.0]))


def test_a_cubic_polynomial_is_kept_by_the_splines() -> None:
    source = grid()

    def wave(points: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c = ((points[..., i] - 8.0) / 5.0 for i in range(3))
        return np.asarray(a**3 - b**2 * a + c**3 - 0.5 * c)

    points = source.index_to_lps(np.moveaxis(np.indices(source.shape), 0, -1).astype(np.float64))
    fine = super_resolve(Volume(array=wave(points).astype(np.float32), geometry=source), 0.125)
    inner = tuple(slice(8, n - 8) for n in fine.array.shape)
    there = fine.geometry.index_to_lps(np.moveaxis(np.indices(fine.array.shape), 0, -1).astype(np.float64))
    np.testing.assert_allclose(fine.array[inner], wave(there)[inner], atol=2e-3)


def test_the_fine_grid_is_isotropic_and_covers_the_same_field_of_view() -> None:
    source = grid()
    fine = super_resolve(Volume(array=np.ones(source.shape, np.float32), geometry=source), 0.125).geometry
    assert fine.spacing_mm == pytest.approx((0.125,) * 3)
    corner = np.array([-0.5, -0.5, -0.5])
    assert fine.index_to_lps(corner) == pytest.approx(source.index_to_lps(corner))
    for n, m, s in zip(source.shape, fine.shape, SPACING, strict=True):
        assert 0 <= n * s - m * 0.125 < 0.125


def test_the_level_conserves_the_bone() -> None:
    fraction = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32) * 0.5
    roi = np.ones(fraction.shape, bool)
    above = fraction > conserving_level(fraction, roi)
    assert above.mean() == pytest.approx(fraction.mean(), abs=1e-3)


def test_no_bone_has_a_level_that_nothing_reaches() -> None:
    empty = np.zeros((4, 4, 4), np.float32)
    assert conserving_level(empty, np.ones(empty.shape, bool)) == np.inf


def test_compact_bone_and_its_rim_are_no_trabecular_bone() -> None:
    source = Geometry.axis_aligned((40, 40, 40), (0.25,) * 3, np.zeros(3))
    fraction = np.full(source.shape, 0.25, np.float32)
    fraction[:10] = 1.0
    inside = np.ones(source.shape, bool)
    kept = trabecular_mask(Volume(array=fraction, geometry=source), inside, MorphometryConfig())
    assert not kept[:10].any()
    assert kept[20:].all()
    assert trabecular_mask(Volume(array=fraction * 0.5, geometry=source), inside, MorphometryConfig()).all()


def test_boxes_side_by_side_share_no_voxel_and_leave_none_out() -> None:
    source = grid()
    middle = tuple(source.index_to_lps((np.array(source.shape) - 1) / 2).tolist())
    size = (3.0, 2.0, 1.6)
    left = (middle[0] - 0.8, middle[1], middle[2])
    right = (middle[0] + 0.8, middle[1], middle[2])
    whole = box_mask(source, np.eye(4), (middle[0], middle[1], middle[2]), (3.0, 2.0, 3.2))
    one, two = (box_mask(source, np.eye(4), center, size) for center in (left, right))
    assert not (one & two).any()
    assert np.array_equal(one | two, whole)


def test_a_window_holds_its_points_and_the_halo_within_the_image() -> None:
    source = grid()
    center = tuple(source.index_to_lps(np.array([6.0, 15.0, 20.0])).tolist())
    corners = box_corners((center[0], center[1], center[2]), (1.0, 1.0, 1.0), np.eye(4))
    start, shape = window_around(source, corners, 0.5)
    index = source.lps_to_index(corners)
    assert (index >= np.array(start)).all()
    assert (index <= np.array(start) + np.array(shape) - 1).all()
    assert all(a >= 0 and a + n <= m for a, n, m in zip(start, shape, source.shape, strict=True))


def test_a_box_turns_with_its_transform() -> None:
    turn = np.array([[0.0, -1, 0, 4], [1, 0, 0, 2], [0, 0, 1, -1], [0, 0, 0, 1]])
    corners = box_corners((1.0, 2.0, 3.0), (2.0, 4.0, 6.0), turn)
    assert np.ptp(corners, axis=0) == pytest.approx([4.0, 6.0, 2.0])
    assert corners.mean(axis=0) == pytest.approx([2.0, 3.0, 2.0])
