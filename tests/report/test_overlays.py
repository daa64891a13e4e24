from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.core.bones import CUT_OFF, BoneName
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.volume import Volume
from srrd_ray.report import overlays
from srrd_ray.report.overlays import CT_WINDOW, KneeImages
from srrd_ray.report.style import png_bytes, styled

SHIFT = np.array([4.0, -3.0, 5.0])


def knee(*, rotated: bool = False) -> KneeImages:
    """Two balls of bone, and an MR in which everything lies `SHIFT` away."""
    grid = Geometry.axis_aligned((30, 20, 40), (1.0, 1.0, 1.0), (-20.0, -10.0, -15.0))
    if rotated:
        grid = Geometry.from_affine(
            (30, 20, 40), grid.affine @ np.diag([1, -1, 1, 1.0]) + np.outer([0, 19, 0, 0], [0, 0, 0, 1])
        )
    x, y, z = np.moveaxis(grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    labels = np.where(x**2 + y**2 + (z - 7) ** 2 < 36, 1, 0) + np.where(x**2 + y**2 + (z + 8) ** 2 < 36, 2, 0)
    ct = Volume(array=np.where(labels > 0, 800, -50).astype(np.int16), geometry=grid)
    affine = grid.affine
    affine[:3, 3] += SHIFT
    moved = Volume(array=(labels > 0).astype(np.float32), geometry=Geometry.from_affine(grid.shape, affine))
    pose = np.eye(4)
    pose[:3, 3] = SHIFT
    poses: dict[BoneName, np.ndarray] = {"femur": pose, "tibia": pose}
    return KneeImages(
        side="R", ct=ct, bones=Volume(array=labels.astype(np.uint8), geometry=grid), mr=moved, poses=poses
    )


@pytest.mark.parametrize("rotated", [False, True])
def test_the_right_transform_lays_mr_on_ct(rotated: bool) -> None:
    images = knee(rotated=rotated)
    assert images.mr is not None
    grid = overlays.plane(images, "coronal")
    ct, labels = (
        overlays._as_plane(images.ct.resample_onto(grid, order=0)),
        overlays._as_plane(images.bones.resample_onto(grid, order=0)),
    )
    mr = overlays._resample_through(images, images.mr, grid, labels)
    inside = np.isfinite(mr)
    assert inside.mean() > 0.9
    assert ((mr > 0.5) == (ct > 0))[inside].mean() > 0.97


def test_slices_pass_through_the_bones_and_the_medial_side() -> None:
    images = knee()
    coronal, sagittal = (overlays.plane(images, view) for view in overlays.PLANES)
    assert coronal.shape[1] == 1
    assert coronal.corners_lps()[0, 1] == pytest.approx(0, abs=1)
    assert sagittal.shape[2] == 1
    assert sagittal.corners_lps()[0, 0] > 1


def test_tiles_come_from_ct_and_mr_in_turn() -> None:
    size = round(overlays.TILE_MM / overlays.PIXEL_MM)
    ct, mr = (
        np.full((2 * size, 2 * size), CT_WINDOW[1], np.float32),
        np.zeros((2 * size, 2 * size), np.float32),
    )
    tiles = overlays._checkerboard(ct, mr, (0.0, 1.0))
    assert tiles[::size, ::size].tolist() == [[1, 0], [0, 1]]


def test_pictures_repeat_their_bytes_and_survive_a_missing_mr_or_bone() -> None:
    whole = knee()
    without = KneeImages(side="L", ct=whole.ct, bones=whole.bones, mr=None, poses={})
    empty = Volume(array=np.zeros_like(whole.bones.array), geometry=whole.bones.geometry)
    bare = KneeImages(side="L", ct=whole.ct, bones=empty, mr=whole.mr, poses=whole.poses)
    with styled():
        assert png_bytes(overlays.registration(whole), 40) == png_bytes(overlays.registration(whole), 40)
        for images in (without, bare):
            assert png_bytes(overlays.registration(images), 40).startswith(b"\x89PNG")


def test_maps_show_where_the_values_are() -> None:
    images = knee()
    values = np.full(images.ct.array.shape, np.nan, np.float32)
    values[:, 12, :] = 0.3
    grid = overlays._fullest(images, Volume(array=values, geometry=images.ct.geometry), "coronal")
    assert grid.corners_lps()[0, 1] == pytest.approx(2.0, abs=0.6)
    maps = dict.fromkeys(PARAMETERS, Volume(array=values, geometry=images.ct.geometry))
    with styled():
        figure = overlays.parameter_maps(images, maps, dict.fromkeys(PARAMETERS, (0.0, 1.0)))
    assert "Tb.Th (mm)" in [axes.get_xlabel() for axes in figure.axes]


def test_a_slice_shows_what_was_cut_off_of_a_bone_of_the_ct_and_of_the_mr() -> None:
    images = knee()
    cut = images.bones.array.copy()
    cut[20:24, 2:4, 30:34] = CUT_OFF + 1
    of_ct = replace(images, bones=Volume(array=cut, geometry=images.bones.geometry))
    assert images.mr is not None
    of_mr = replace(images, mr_bones=Volume(array=cut, geometry=images.mr.geometry))
    middle = images.bones.geometry.index_to_lps((21.5, 2.5, 31.5))
    with styled():
        plain = png_bytes(overlays.registration(images))
        for one in (of_ct, of_mr):
            assert overlays.plane(one, "coronal").corners_lps()[0, 1] == pytest.approx(middle[1], abs=0.5)
            assert overlays.plane(one, "sagittal").corners_lps()[0, 0] == pytest.approx(middle[0], abs=0.5)
            assert png_bytes(overlays.registration(one)) != plain


def test_maps_of_a_low_field_of_view_leave_no_empty_space() -> None:
    images = knee()
    start, shape = (10, 0, 0), (10, 20, 40)
    low = replace(images, ct=images.ct.crop(start, shape), bones=images.bones.crop(start, shape))
    values = np.where(low.bones.array > 0, 0.5, np.nan).astype(np.float32)
    maps = dict.fromkeys(PARAMETERS, Volume(array=values, geometry=low.ct.geometry))
    with styled():
        figure = overlays.parameter_maps(low, maps, dict.fromkeys(PARAMETERS, (0.0, 1.0)))
        figure.draw_without_rendering()
    assert figure.get_tightbbox().height > 0.88 * figure.get_figheight()
