"""Where voxels are: every way there has its way back, and SimpleITK says the same of the same grid."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given
from hypothesis import strategies as st

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.hashing import hash_voxels
from srrd_ray.core.volume import Volume
from tests.grids import affines, geometries, shapes

indices = st.tuples(*[st.floats(-50, 50)] * 3)
starts = st.tuples(*[st.integers(-5, 5)] * 3)


@given(geometry=geometries(), index=indices)
def test_a_place_leads_back_to_its_index(geometry: Geometry, index: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(geometry.lps_to_index(geometry.index_to_lps(index)), index, atol=1e-8)


@given(geometry=geometries(), index=indices)
def test_simpleitk_finds_the_same_place(geometry: Geometry, index: tuple[float, float, float]) -> None:
    spacing = np.array(geometry.spacing_mm[::-1])
    image = sitk.Image([int(n) for n in geometry.shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(geometry.affine[:3, 3].tolist())
    image.SetDirection((geometry.affine[:3, :3] / spacing).ravel().tolist())
    there = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(geometry.index_to_lps(index), there, atol=1e-6)


@given(geometry=geometries(), start=starts, shape=shapes, index=indices)
def test_a_crop_leaves_every_voxel_where_it_was(
    geometry: Geometry, start: Shape, shape: Shape, index: tuple[float, float, float]
) -> None:
    part = geometry.crop(start, shape)
    assert part.shape == shape
    np.testing.assert_allclose(
        part.index_to_lps(index), geometry.index_to_lps(np.add(index, start)), atol=1e-8
    )


@given(geometry=geometries(), shape=shapes)
def test_another_number_of_voxels_fills_the_same_box(geometry: Geometry, shape: Shape) -> None:
    other = geometry.rescaled(shape)
    for edge in ((-0.5, -0.5, -0.5), None):
        mine, theirs = (g.index_to_lps(edge or np.array(g.shape) - 0.5) for g in (geometry, other))
        np.testing.assert_allclose(theirs, mine, atol=1e-8)
    assert other.voxel_mm3 * np.prod(shape) == pytest.approx(geometry.voxel_mm3 * np.prod(geometry.shape))


@given(geometry=geometries(), far=st.floats(0, 1))
def test_grids_match_where_no_corner_is_further_off_than_allowed(geometry: Geometry, far: float) -> None:
    affine = geometry.affine
    affine[0, 3] += far
    assert geometry.matches(Geometry.from_affine(geometry.shape, affine), tolerance_mm=far + 1e-9)
    assert not geometry.matches(Geometry.from_affine(geometry.shape, affine), tolerance_mm=far - 1e-6)


def _has_one_nearest_order(geometry: Geometry) -> bool:
    """Whether one order of the axes is nearest to LPS: turned by exactly 45 degrees an image has two."""
    steps = np.abs(geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0))
    *_, second, first = sorted(float(steps[range(3), order].sum()) for order in permutations(range(3)))
    return first - second > 1e-9


@given(
    geometry=geometries(),
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_image_has_one_hash_in_every_order_and_direction_of_its_axes(
    geometry: Geometry, axes: list[int], flips: tuple[bool, bool, bool], seed: int
) -> None:
    assume(_has_one_nearest_order(geometry))
    values = np.random.default_rng(seed).integers(0, 9, geometry.shape)
    affine = geometry.affine
    for axis, flip in enumerate(flips):
        if flip:
            values = np.flip(values, axis)
            affine[:3, 3] += affine[:3, 2 - axis] * (geometry.shape[axis] - 1)
            affine[:3, 2 - axis] *= -1
    affine[:3, :3] = affine[:3, [2 - axes[2 - column] for column in range(3)]]
    turned = values.transpose(axes)
    z, y, x = turned.shape
    again = Volume(array=turned, geometry=Geometry.from_affine((z, y, x), affine))
    first = Volume(array=np.random.default_rng(seed).integers(0, 9, geometry.shape), geometry=geometry)
    assert hash_voxels(again) == hash_voxels(first)


@given(affine=affines(), axis=st.integers(0, 2), value=st.sampled_from([0.0, np.nan, np.inf]))
def test_voxels_without_a_size_are_refused(
    affine: np.ndarray[tuple[int, ...], np.dtype[np.float64]], axis: int, value: float
) -> None:
    affine[:3, axis] = value
    with pytest.raises(InputError, match="affine-invalid"):
        Geometry.from_affine((4, 4, 4), affine)


@given(affine=affines(), part=st.floats(-3, 3))
def test_axes_in_one_plane_are_refused(
    affine: np.ndarray[tuple[int, ...], np.dtype[np.float64]], part: float
) -> None:
    affine[:3, 2] = affine[:3, 0] + part * affine[:3, 1]
    with pytest.raises(InputError, match=r"affine-invalid.*linearly dependent"):
        Geometry.from_affine((4, 4, 4), affine)
