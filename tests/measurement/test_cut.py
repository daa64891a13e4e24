"""The threshold knows where was scanned, what is averaged, and how many values there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.measurement.cut import choose_cut, find_values, merge_values
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import flatten
from srrd_ray.measurement.volume import measure_volume
from srrd_ray.morphometry.field import scanned_field
from tests.stages.bones import grey_bone, write_zarr

SHAPE = (40, 44, 48)


def disc() -> NDArray[np.bool_]:
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    inside = (y - 21.5) ** 2 + (x - 23.5) ** 2 <= 19**2
    return np.broadcast_to(inside, SHAPE)


def region() -> NDArray[np.uint8]:
    roi = np.zeros(SHAPE, np.uint8)
    roi[5:35, 14:30, 13:37] = 1
    return roi


@pytest.mark.parametrize(
    ("padding", "roi"), [(0, "none"), (-1000, "none"), (-32768, "inside"), (32767, "disc")]
)
def test_padding_changes_nothing_in_one_piece_and_in_blocks(tmp_path: Path, padding: int, roi: str) -> None:
    grey = np.where(disc(), grey_bone(SHAPE), padding).astype(np.int16)
    image = write_zarr(tmp_path / "bone.ome.zarr", grey)
    zeros = write_zarr(tmp_path / "zeros.ome.zarr", np.where(disc(), grey, 0).astype(np.int16))
    masks = {"none": None, "inside": region(), "disc": disc().astype(np.uint8)}
    mask = None if masks[roi] is None else write_zarr(tmp_path / "roi.ome.zarr", np.asarray(masks[roi]))
    whole = measure_image(image, roi=mask)
    found = measure_volume(image, tmp_path / "maps", roi=mask, edge=32, structure=False)
    blocks = flatten(found.measures, found.binarization, found.notes)
    for name in ("threshold", "BV/TV", "n_voxels", "method", "notes"):
        assert blocks[name] == whole[name]
    for name in ("Tb.Th", "Tb.Sp"):
        assert blocks[name] == pytest.approx(whole[name], rel=1e-13)
    known = measure_image(zeros, roi=mask)
    assert (known["threshold"], known["BV/TV"]) == (whole["threshold"], whole["BV/TV"])


def test_padding_on_one_side_is_not_scanned() -> None:
    grey = grey_bone(SHAPE).astype(np.int16)
    grey[:, :6] = -1000
    field = scanned_field(grey)
    assert field is not None
    assert not field[:, :6].any()
    assert field[:, 6:].all()


def test_marrow_of_one_value_is_no_padding() -> None:
    image = np.full((10, 20, 20), 7.0)
    image[2:8, 5:15, 5:15] = 100.0
    assert scanned_field(image) is None
    image[3:5, 6:9, 6:9] = np.linspace(8.0, 99.0, 18).reshape(2, 3, 3)
    assert scanned_field(image) is None
    image[image == 7.0] = -60.0
    assert scanned_field(image) is not None


def test_a_region_that_was_not_scanned_is_refused_or_flagged(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", np.where(disc(), grey_bone(SHAPE), 0).astype(np.int16))
    corner, partly = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    corner[:, :4, :4] = 1
    partly[:, :30, :30] = 1
    for edge in (0, 32):
        for values, shown in ((corner, False), (partly, True)):
            mask = write_zarr(tmp_path / f"roi{edge}{shown}.ome.zarr", values)

            def notes(mask: Path = mask, edge: int = edge) -> str:
                if not edge:
                    return str(measure_image(image, roi=mask)["notes"])
                found = measure_volume(image, tmp_path / mask.name[:6], roi=mask, edge=edge, structure=False)
                return str(flatten(found.measures, found.binarization, found.notes)["notes"])

            if shown:
                assert "FLAG region-not-scanned" in notes()
            else:
                with pytest.raises(InputError, match="region-not-scanned"):
                    notes()


@pytest.mark.parametrize("high", [1, 255])
def test_an_image_of_two_values_is_not_smoothed_and_that_is_said(tmp_path: Path, high: int) -> None:
    bone = grey_bone(SHAPE) > 130
    image = write_zarr(tmp_path / "bone.ome.zarr", (bone * high).astype(np.uint8))
    whole = measure_image(image)
    found = measure_volume(image, tmp_path / "maps", edge=32, structure=False)
    assert whole["BV/TV"] == found.measures.bvtv == pytest.approx(bone.mean())
    assert "FIX image-binary: two values alone" in str(whole["notes"])
    assert whole["notes"] == flatten(found.measures, found.binarization, found.notes)["notes"]


def test_of_two_values_without_a_zero_the_upper_one_is_bone(tmp_path: Path) -> None:
    bone = grey_bone(SHAPE) > 130
    image = write_zarr(tmp_path / "bone.ome.zarr", (bone + 1).astype(np.uint8))
    whole = measure_image(image)
    assert whole["BV/TV"] == pytest.approx(bone.mean())
    assert whole["threshold"] == 1.5
    with pytest.raises(InputError, match="image-not-binary"):
        measure_image(image, Recipe(threshold="binary"))


def test_a_grey_image_called_binary_is_flagged() -> None:
    cut, notes = choose_cut("binary", find_values(np.array([0, 3, 200])))
    assert cut.binary
    assert [note.code for note in notes] == ["image-not-binary"]


def test_the_values_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    for values in (2, 3, 9):
        for _ in range(20):
            image = rng.integers(-1, values - 1, (6, 2, 2))
            parts = [find_values(part, -1.0) for part in np.split(image, 3)]
            assert merge_values(parts) == find_values(image, -1.0)
