"""The sums over directions that the anisotropy is fitted to, against their slow twin."""

from __future__ import annotations

import numpy as np

from srrd_ray.morphometry.anisotropy import DIRECTIONS
from srrd_ray.morphometry.surface import SMOOTHING, iterate_slabs, merge_directions, sum_facing
from tests.morphometry import shapes


def test_united_area_vectors_face_where_the_single_ones_do() -> None:
    bone = shapes.gaussian_field((40, 40, 40), seed=2)
    (part,) = iterate_slabs(bone, np.ones_like(bone), (0.05, 0.1, 0.07), SMOOTHING)
    slow = np.abs(part.normal @ DIRECTIONS.T).T @ part.area
    np.testing.assert_allclose(
        sum_facing(merge_directions(part.area[:, None] * part.normal), DIRECTIONS), slow, rtol=3e-4
    )
