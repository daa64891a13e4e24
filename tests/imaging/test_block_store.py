from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging import block_store
from srrd_ray.imaging.images import read_image
from tests.stages.bones import grey_bone, write_zarr

SHAPE = (40, 44, 48)
GRID = Geometry.axis_aligned(SHAPE, (0.1, 0.05, 0.07))
EVERYTHING = (slice(0, 40), slice(0, 44), slice(0, 48))


def test_a_window_of_any_image_has_the_values_of_the_whole(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone(SHAPE))
    window = (slice(3, 37), slice(0, 44), slice(17, 18))
    assert np.array_equal(block_store.read_grey(image, window), read_image(image).volume.array[window])


def test_blocks_come_back_and_the_store_is_an_image_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.zarr"
    block_store.create_store(path, GRID, "<f4", (32, 32, 32), "thickness")
    values = np.random.default_rng(0).random((8, 12, 16)).astype(np.float32)
    corner = (slice(32, 40), slice(32, 44), slice(32, 48))
    shard = block_store.write_block(path, corner, values)
    assert shard.is_file()
    assert np.array_equal(block_store.read_block(path, corner), values)
    assert not block_store.read_block(path, (slice(0, 32),) * 3).any()
    assert read_image(path).volume.geometry.spacing_mm == pytest.approx((0.1, 0.05, 0.07))


def test_a_block_that_is_not_one_whole_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.zarr"
    block_store.create_store(path, GRID, "<f4", (32, 32, 32), "thickness")
    for window in ((slice(0, 32), slice(0, 32), slice(0, 31)), (slice(16, 40), slice(0, 32), slice(0, 32))):
        with pytest.raises(StoreError, match="block-unaligned"):
            block_store.write_block(path, window, np.zeros([w.stop - w.start for w in window], np.float32))


def test_creating_a_store_again_keeps_what_is_in_it_unless_its_form_is_another(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.zarr"
    block_store.create_store(path, GRID, "<f4", (32, 32, 32), "thickness")
    block_store.write_block(path, (slice(0, 32),) * 3, np.ones((32, 32, 32), np.float32))
    block_store.create_store(path, GRID, "<f4", (32, 32, 32), "thickness")
    assert block_store.read_block(path, EVERYTHING).sum() == 32**3
    block_store.create_store(path, GRID, "<i4", (32, 32, 32), "thickness")
    assert not block_store.read_block(path, EVERYTHING).any()


def test_a_flipped_byte_is_noticed_and_changes_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.zarr"
    block_store.create_store(path, GRID, "<f4", (64, 64, 64), "thickness")
    shard = block_store.write_block(
        path, EVERYTHING, np.random.default_rng(0).random(SHAPE).astype(np.float32)
    )
    before = block_store.hash_listing(path)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    assert block_store.hash_listing(path) != before
    with pytest.raises(StoreError, match="store-torn"):
        block_store.read_block(path, EVERYTHING)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    values = np.ones(SHAPE, np.float32)
    values[1, 2, 3] = np.inf
    with pytest.raises(InputError, match="voxels-not-finite"):
        block_store.read_grey(write_zarr(tmp_path / "bone.ome.zarr", values), EVERYTHING)
