from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.morphometry import bricks
from srrd_ray.morphometry.distance import squared_distance_mm, squared_distance_voxels
from srrd_ray.morphometry.painting import paint_mm, paint_voxels
from tests.morphometry import shapes
from tests.morphometry.shapes import Mask, Spacing

SHAPES = [(40, 44, 70), (33, 18, 131), (9, 64, 65)]


def painted(mask: Mask, spacing_mm: Spacing | None, *, beyond: bool, threads: int = 1) -> shapes.Map:
    if spacing_mm is None:
        voxels = squared_distance_voxels(mask)
        paint_voxels(voxels, beyond=beyond, threads=threads)
        return voxels.astype(np.float64)
    squared = squared_distance_mm(mask, spacing_mm)
    paint_mm(squared, spacing_mm, beyond=beyond, threads=threads)
    return squared


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("spacing_mm", [None, (0.1, 0.07, 0.05)])
@pytest.mark.parametrize("shape", SHAPES)
def test_bricks_and_rows_paint_the_same(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], spacing_mm: Spacing | None, beyond: bool
) -> None:
    mask = ~shapes.gaussian_field(shape, sigma=2.0, seed=3)
    found = []
    for fewest in (1, 20, 10**9):
        monkeypatch.setattr(bricks, "FEWEST", fewest)
        found += [painted(mask, spacing_mm, beyond=beyond, threads=threads) for threads in (1, 3)]
    for one in found[1:]:
        assert np.array_equal(one, found[0])


@pytest.mark.parametrize("spacing_mm", [None, (0.1, 0.07, 0.05)])
def test_balls_reach_beyond_the_phase_by_just_their_rim(spacing_mm: Spacing | None) -> None:
    mask = shapes.gaussian_field((24, 25, 30), sigma=2.0, seed=1)
    inside, over = (painted(mask, spacing_mm, beyond=beyond) for beyond in (False, True))
    assert np.array_equal(inside[mask], over[mask])
    assert (inside[~mask] == 0).all()
    assert (over[~mask] > 0).any()
