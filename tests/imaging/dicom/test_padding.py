"""Padding is told from real voxels of its value, and the image says where it was scanned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Side
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.source import ReadRules, SourceImage
from tests.imaging import makers
from tests.imaging.test_both_knees import legs


def declare(value: int, limit: int | None = None) -> makers.Edit:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.add_new("PixelPaddingValue", "SS", value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", "SS", limit)

    return edit


def wedge(shape: tuple[int, int, int] = makers.SHAPE) -> NDArray[np.bool_]:
    _, y, x = np.indices(shape)
    return np.asarray(y + x < 9)


def inside(image: SourceImage) -> list[str]:
    return [note.message for note in image.notes if note.code == "dicom-padding-inside"]


def read(folder: Path, values: NDArray[np.int16], edit: makers.Edit | None) -> SourceImage:
    makers.series(folder, values=values, edit=edit)
    return read_image(folder)


@pytest.mark.parametrize("declared", [True, False])
def test_a_wedge_of_padding_was_not_scanned(tmp_path: Path, declared: bool) -> None:
    values = np.where(wedge(), np.int16(-2000), makers.voxels(makers.grid()))
    image = read(tmp_path / "ct", values, declare(-2000) if declared else None)
    assert image.scanned is not None
    np.testing.assert_array_equal(image.scanned, ~wedge())
    assert (image.volume.array[wedge()] == -1000).all()
    assert inside(image) == []


def test_a_range_of_values_is_padding(tmp_path: Path) -> None:
    values = np.where(wedge(), np.int16(-3000), makers.voxels(makers.grid()))
    values[:, 0, 0] = -2500
    image = read(tmp_path / "ct", values, declare(-2000, -3000))
    assert image.scanned is not None
    np.testing.assert_array_equal(image.scanned, ~wedge())


def test_an_image_without_padding_has_no_mask(tmp_path: Path) -> None:
    assert read(tmp_path / "ct", makers.voxels(makers.grid()), declare(-2000)).scanned is None


def test_a_value_apart_from_the_image_is_padding_also_between_scanned_voxels(tmp_path: Path) -> None:
    values = makers.voxels(makers.grid())
    values[:, :8, :10] = -2000
    image = read(tmp_path / "ct", values, declare(-2000))
    assert image.scanned is not None
    np.testing.assert_array_equal(image.scanned, values != -2000)
    assert inside(image)[0].endswith("left out, no other value is near")


@pytest.mark.parametrize("least", [1, 400])
def test_zeros_between_scanned_voxels_are_values_and_that_is_flagged(tmp_path: Path, least: int) -> None:
    values = makers.voxels(makers.grid())
    values += np.int16(least) - values.min()
    values[:, 6:9, 7:12] = 0
    values[:, 0, :3] = values[:, 1, 0] = 0
    image = read(tmp_path / "ct", values, declare(0))
    assert image.scanned is not None
    assert np.count_nonzero(~image.scanned) == 12 * 4
    assert (image.volume.array[:, 6:9, 7:12] == 0).all()
    assert (image.volume.array[:, 0, :3] == -1000).all()
    assert inside(image) == [
        f"{12 * 15} voxels of the padding value lie between scanned ones: taken as scanned, with their values"
    ]


def test_a_tilted_stack_was_not_scanned_outside_its_slices(tmp_path: Path) -> None:
    affine = makers.grid().affine
    affine[1, 2] = 0.3
    tilted = Geometry.from_affine(makers.SHAPE, affine)
    makers.series(
        tmp_path / "mr", kind=makers.MR, geometry=tilted, values=makers.voxels(tilted) + np.int16(900)
    )
    image = read_image(tmp_path / "mr")
    assert image.scanned is not None
    assert image.scanned.shape == image.volume.array.shape
    assert image.scanned.mean() == pytest.approx(np.prod(makers.SHAPE) / image.scanned.size, abs=0.1)
    assert (image.volume.array[~image.scanned] == 0).all()
    assert (image.volume.array[image.scanned] > 0).all()


def test_slices_made_between_padded_ones_are_padded(tmp_path: Path) -> None:
    values = np.where(wedge(), np.int16(-2000), makers.voxels(makers.grid()))
    files = makers.series(tmp_path / "ct", values=values, edit=declare(-2000))
    files[5].unlink()
    image = read_image(tmp_path / "ct", rules=ReadRules(irregular_spacing="resample"))
    assert image.scanned is not None
    np.testing.assert_array_equal(image.scanned, ~wedge())


@pytest.mark.parametrize(("side", "columns"), [("L", slice(-5, None)), ("R", slice(3))])
def test_of_two_knees_the_mask_is_cut_as_the_image(tmp_path: Path, side: Side, columns: slice) -> None:
    both = legs("ct")
    stored = both.array.copy()
    stored[:, :, :3] = stored[:, :, -5:] = -2000
    makers.series(tmp_path / "ct", geometry=both.geometry, values=stored, edit=declare(-2000))
    image = read_image(tmp_path / "ct", "ct", side=side, rules=ReadRules(not_a_knee="flag"))
    expected = np.ones(image.volume.array.shape, np.bool_)
    expected[:, :, columns] = False
    assert image.scanned is not None
    np.testing.assert_array_equal(image.scanned, expected)
