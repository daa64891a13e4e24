from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.morphometry.anisotropy import DIRECTIONS, anisotropy
from srrd_ray.morphometry.surface import surface
from tests.morphometry import shapes


def test_an_ellipsoid_of_known_axes_is_found_again() -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    values = np.array([0.010, 0.024, 0.047])
    tensor = axes @ np.diag(values) @ axes.T
    squared = np.einsum("ni,ij,nj->n", DIRECTIONS, tensor, DIRECTIONS)
    found = anisotropy(tuple(np.sqrt(squared)), 1.0)
    assert found is not None
    assert found.eigenvalues == pytest.approx(values)
    assert abs(float(np.dot(found.axes[0], axes[:, 0]))) == pytest.approx(1.0)


def test_da_follows_from_the_eigenvalues_as_bonej_publishes_them() -> None:
    tensor = np.diag(
        [0.010, 0.024, 0.047]
    )  # a cube of human bone on BoneJ's forum: DA 0.786, tDA 4.676 of these, rounded
    found = anisotropy(tuple(np.sqrt(np.einsum("ni,ij,nj->n", DIRECTIONS, tensor, DIRECTIONS))), 1.0)
    assert found is not None
    assert found.da == pytest.approx(0.786, abs=0.003)
    assert found.ratio == pytest.approx(np.sqrt(4.7), abs=0.001)


def test_intercepts_along_the_axes_are_those_that_lines_through_the_voxels_count() -> None:
    bone = shapes.gaussian_field((64, 64, 64), sigma=4.0, bvtv=0.3, seed=2)
    stretched = np.repeat(bone[:32], 2, axis=0)
    along = np.eye(3)
    mesh = (
        np.array(surface(stretched, np.ones_like(stretched), (1.0, 1.0, 1.0), along).orientation)
        / stretched.size
    )
    lines = [
        np.count_nonzero(np.diff(stretched.astype(np.int8), axis=axis)) / stretched.size for axis in range(3)
    ]
    assert mesh == pytest.approx(lines, rel=0.08)
    assert mesh[0] < 0.75 * mesh[1]


def test_a_region_without_surface_has_no_anisotropy() -> None:
    assert anisotropy(tuple(np.zeros(len(DIRECTIONS))), 1.0) is None
