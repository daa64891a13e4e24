import numpy as np
import pytest

from srrd_ray.simulation.motion import Motion, add_motion, moved_lines

PIXEL = (0.25, 0.25)


def points(shape: tuple[int, int, int] = (2, 64, 48)) -> np.ndarray[tuple[int, ...], np.dtype[np.complex64]]:
    image = np.zeros(shape, np.complex64)
    image[:, 20, 15] = 1
    return image


@pytest.mark.parametrize("shape", [(2, 64, 48), (2, 63, 47)])
def test_the_mean_of_the_image_is_that_of_the_knee_at_rest(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.complex64)
    moved = add_motion(image, PIXEL, Motion(shift_mm=(0.6, -0.4), onset=0.7, every=5))
    np.testing.assert_allclose(moved.mean(axis=(1, 2)), image.mean(axis=(1, 2)), rtol=1e-4)


def test_a_knee_that_lies_still_is_left_as_it_is() -> None:
    image = np.random.default_rng(1).random((2, 32, 32)).astype(np.complex64)
    np.testing.assert_allclose(add_motion(image, PIXEL, Motion(shift_mm=(1.0, 1.0))), image, atol=1e-5)


def test_a_late_motion_changes_the_lines_after_it_alone() -> None:
    late = moved_lines(100, Motion(shift_mm=(1, 0), onset=0.8))
    assert late.sum() == 20
    assert not late[np.abs(np.fft.fftfreq(100)) < 0.29].any()


def test_a_periodic_motion_ghosts_along_the_phase_axis_at_a_part_of_the_field_of_view() -> None:
    ghosted = np.abs(add_motion(points(), PIXEL, Motion(shift_mm=(0.0, 1.0), every=4)))[0]
    ghosted[18:23] = 0  # what the knee itself, at rest or moved, leaves in its rows
    rows = np.flatnonzero(ghosted.max(axis=1) > 0.6 * ghosted.max())
    assert set(rows) == {(20 + 16 * n) % 64 for n in (1, 2, 3)}


def test_the_first_pose_stays_the_brightest() -> None:
    moved = np.abs(add_motion(points(), PIXEL, Motion(shift_mm=(0.7, 0.5), onset=0.65)))
    assert np.unravel_index(moved[0].argmax(), moved[0].shape) == (20, 15)
