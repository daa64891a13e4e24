from __future__ import annotations

from pathlib import Path

import ngff_zarr
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image as NgffImage

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.viewer_zarr import is_along_lps, write_for_viewers

SHAPE = (66, 12, 10)


def sagittal() -> Geometry:
    """A grid along LPS in another order and direction of axes."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 0.5, -0.75, 1.25, 1.0
    affine[:3, 3] = (-40.0, 12.5, 300.25)
    return Geometry.from_affine(SHAPE, affine)


def turned(degrees: float) -> Geometry:
    angle = np.radians(degrees)
    affine = sagittal().affine
    affine[:2, :3] = (
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ affine[:2, :3]
    )
    return Geometry.from_affine(SHAPE, affine)


def image(geometry: Geometry) -> Volume[np.int16]:
    """A value at each voxel that tells where it is."""
    place = geometry.index_to_lps(np.moveaxis(np.indices(geometry.shape), 0, -1))
    return Volume(array=np.rint(place @ [4.0, 5.0, 7.0]).astype(np.int16), geometry=geometry)


def test_each_voxel_is_where_it_was_for_two_other_readers(tmp_path: Path) -> None:
    volume = image(sagittal())
    path = write_for_viewers(tmp_path / "a.ome.zarr", volume, "ct", "image")
    seen = ngff_zarr.from_ngff_zarr(str(path)).images[0]
    index = np.moveaxis(np.indices(seen.data.shape), 0, -1)
    places = np.stack(
        [index[..., n] * seen.scale[axis] + seen.translation[axis] for n, axis in enumerate("zyx")], axis=-1
    )
    np.testing.assert_array_equal(np.rint(places[..., ::-1] @ [4.0, 5.0, 7.0]), np.asarray(seen.data))
    assert {axis: o.value.value for axis, o in seen.axes_orientations.items()} == {
        "x": "right-to-left", "y": "anterior-to-posterior", "z": "inferior-to-superior",
    }  # fmt: skip
    own = read_image(path).volume
    assert own.geometry.matches(volume.to_lps_order().geometry, 1e-6)
    np.testing.assert_array_equal(own.array, volume.in_lps_order())


def test_metadata_are_valid_and_coarse_levels_lie_on_the_fine_one(tmp_path: Path) -> None:
    path = write_for_viewers(tmp_path / "a.ome.zarr", image(sagittal()), "ct", "image")
    assert NgffImage.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales[0].datasets[1:]
    fine, coarse = ngff_zarr.from_ngff_zarr(str(path)).images[:2]
    for axis in "zyx":
        step = (coarse.scale[axis] - fine.scale[axis]) / 2
        assert coarse.translation[axis] == pytest.approx(fine.translation[axis] + step)


def test_ct_and_map_of_one_grid_lie_over_each_other_and_nothing_stays_nothing(tmp_path: Path) -> None:
    ct = image(sagittal())
    values = np.where(np.indices(SHAPE).sum(axis=0) % 7 < 3, 0.25, np.nan).astype(np.float32)
    one = write_for_viewers(tmp_path / "ct.ome.zarr", ct, "ct", "image")
    two = write_for_viewers(tmp_path / "map.ome.zarr", Volume(array=values, geometry=ct.geometry), "m", "map")
    first, second = (ngff_zarr.from_ngff_zarr(str(path)).images for path in (one, two))
    for a, b in zip(first, second, strict=True):
        assert (a.scale, a.translation) == (b.scale, b.translation)
    back = np.asarray(second[0].data)
    np.testing.assert_array_equal(back, Volume(array=values, geometry=ct.geometry).in_lps_order())
    coarse = np.asarray(second[1].data)
    assert set(np.unique(coarse[np.isfinite(coarse)])) == {np.float32(0.25)}, "of what there is alone"


def test_an_oblique_volume_is_resampled_to_a_grid_along_lps(tmp_path: Path) -> None:
    volume = image(turned(20))
    assert not is_along_lps(volume.geometry)
    own = read_image(write_for_viewers(tmp_path / "a.ome.zarr", volume, "ct", "image")).volume
    inside = own.array > volume.array.min()
    index = np.argwhere(inside)
    expected = own.geometry.index_to_lps(index) @ [4.0, 5.0, 7.0]
    assert (np.abs(own.array[inside] - expected) < 1.5).mean() > 0.9
    ball = sum((n - (length - 1) / 2) ** 2 for n, length in zip(np.indices(SHAPE), SHAPE, strict=True)) < 20
    labels = Volume(array=ball.astype(np.uint8), geometry=volume.geometry)
    back = read_image(write_for_viewers(tmp_path / "l.ome.zarr", labels, "bones", "labels")).volume
    assert set(np.unique(back.array)) == {0, 1}
    assert back.array.sum() == pytest.approx(ball.sum(), rel=0.05)


def test_a_grid_along_lps_but_for_rounding_is_not_resampled() -> None:
    assert is_along_lps(sagittal())
    assert is_along_lps(turned(0.01))


def test_same_voxels_give_same_bytes(tmp_path: Path) -> None:
    paths = [write_for_viewers(tmp_path / name, image(sagittal()), "ct", "image") for name in ("a", "b")]
    assert hash_file(paths[0]) == hash_file(paths[1])
