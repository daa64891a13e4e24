"""What of an image was scanned stays known: its hull, a value that is none of it, another grid."""

from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.scanned import fill_hulls, is_apart, resample_scanned


def test_a_disc_is_its_own_hull_and_a_hole_or_a_bite_is_filled() -> None:
    y, x = np.ogrid[:30, :40]
    disc = np.broadcast_to((y - 14.5) ** 2 + (x - 19.5) ** 2 <= 14**2, (3, 30, 40))
    assert np.array_equal(fill_hulls(disc), disc)
    holed = disc.copy()
    holed[1, 10:20, 15:25] = False
    holed[2, 12:18, 25:30] = False
    assert np.array_equal(fill_hulls(holed), disc)
    assert not fill_hulls(np.zeros((2, 5, 6), np.bool_)).any()


@pytest.mark.parametrize(
    ("padding", "image", "apart"),
    [
        ((-2000, -2000), (-1024, 3000), True),
        ((-2000, -1025), (-1024, 3000), False),
        ((65535, 65535), (0, 255), True),
        ((0, 0), (1, 255), False),
        ((0, 0), (255, 255), False),
    ],
)
def test_padding_is_apart_where_a_tenth_of_the_range_lies_between(
    padding: tuple[float, float], image: tuple[float, float], apart: bool
) -> None:
    assert is_apart(padding, *image) == apart


def test_on_another_grid_what_padding_touches_or_lies_outside_was_not_scanned() -> None:
    source = Geometry.axis_aligned((4, 5, 8), (1.0, 1.0, 1.0))
    scanned = np.ones(source.shape, np.bool_)
    scanned[:, :, 6:] = False
    grid = Geometry.axis_aligned((4, 5, 8), (1.0, 1.0, 1.0), (-0.5, 0.0, 0.0))
    known = resample_scanned(scanned, source, grid)
    assert known is not None
    assert np.array_equal(known[2, 2], [False, True, True, True, True, True, False, False])
    assert resample_scanned(None, source, source) is None
