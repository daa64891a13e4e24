"""What a reader knows not to be scanned takes no part in a measurement, wherever it lies."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Knee
from srrd_ray.imaging.images import read_image
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import Flat, flatten
from srrd_ray.measurement.volume import measure_volume
from srrd_ray.storage import omezarr
from tests.imaging import makers
from tests.stages.bones import grey_bone, write_nifti, write_nrrd

Mask: TypeAlias = NDArray[np.bool_]

SHAPE = (20, 34, 38)
PADDING = 30000


def areas() -> dict[str, Mask]:
    """Return padding by the number of corners of a plane that it touches, and what is no convex field."""
    z, y, x = np.indices(SHAPE)
    ends = np.array([False] * 5 + [True] * 10 + [False] * 5)[:, None, None]
    return {
        "0, a bite": (y < 9) & (abs(x - 19) < 7),
        "0, not in the end planes": (x + y < 24) & ends,
        "1": x + y < 24,
        "1, oblique": x + y + z < 32,
        "2": y < 8,
        "3": (x + y < 16) | (x - y > 24) | (y - x > 22),
        "4": (y - 16.5) ** 2 + (x - 18.5) ** 2 > 16**2,
    }


def declare(value: int) -> makers.Edit:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.add_new("PixelPaddingValue", "SS", value)

    return edit


def series(folder: Path, values: NDArray[np.int16], padding: int | None = None) -> Path:
    grid = Geometry.axis_aligned(SHAPE, (0.05, 0.05, 0.05))
    edit = None if padding is None else declare(padding)
    makers.series(folder, geometry=grid, values=values, edit=edit)
    return folder


def keep(folder: Path, path: Path) -> Path:
    """Store a DICOM series as a run does."""
    image = read_image(folder)
    knee = Knee(participant="1", side="L")
    omezarr.write_volume(path, image.volume, knee=knee, image="ct", unit=image.unit, scanned=image.scanned)
    return path


def in_blocks(path: Path, root: Path, recipe: Recipe | None = None) -> Flat:
    found = measure_volume(path, root, edge=32, structure=False, recipe=recipe or Recipe())
    return flatten(found.measures, found.binarization, found.notes)


@pytest.mark.parametrize("where", areas())
def test_padding_anywhere_gives_what_the_scanned_region_gives(tmp_path: Path, where: str) -> None:
    padded, grey = areas()[where], grey_bone(SHAPE)
    image = series(tmp_path / "padded", np.where(padded, np.int16(PADDING), grey), PADDING)
    roi = write_nrrd(tmp_path / "roi.nrrd", (~padded).astype(np.uint8))
    found, region = measure_image(image), measure_image(image, roi=roi)
    for name in ("BV/TV", "Tb.Th", "Tb.Sp", "threshold", "n_voxels"):
        assert found[name] == region[name]
    bare = measure_image(series(tmp_path / "bare", grey), roi=roi)
    assert found["n_voxels"] == bare["n_voxels"]
    assert found["BV/TV"] == pytest.approx(bare["BV/TV"], rel=0.02)
    assert f"{np.count_nonzero(padded)} voxels of padding left out" in str(found["method"])

    stored = keep(image, tmp_path / "ct.ome.zarr")
    blocks = in_blocks(stored, tmp_path / "maps")
    again = measure_image(stored)
    for name in ("BV/TV", "threshold", "n_voxels", "method"):
        assert found[name] == again[name] == blocks[name]
    for name in ("Tb.Th", "Tb.Sp"):
        assert found[name] == pytest.approx(blocks[name], rel=1e-13)


def test_padding_that_nobody_declared_takes_no_part_either(tmp_path: Path) -> None:
    padded = areas()["1"]
    values = np.where(padded, np.int16(-3024), grey_bone(SHAPE))
    declared, silent = series(tmp_path / "a", values, -3024), series(tmp_path / "b", values)
    assert measure_image(declared) == measure_image(silent)


def test_zeros_in_marrow_are_bone_of_no_kind_whatever_is_declared(tmp_path: Path) -> None:
    grey = np.maximum(grey_bone(SHAPE, noise=25.0) - np.int16(40), 0).astype(np.int16)
    grey[:, [0, 0, -1, -1], [0, -1, 0, -1]] = 1
    silent = measure_image(series(tmp_path / "silent", grey))
    found = measure_image(series(tmp_path / "declared", grey, 0))
    assert np.count_nonzero(grey == 0) > 0.1 * grey.size
    assert found["BV/TV"] == pytest.approx(silent["BV/TV"], rel=0.01)
    assert "FLAG dicom-padding-inside" in str(found["notes"])


def test_padding_round_a_binary_image_is_not_bone(tmp_path: Path) -> None:
    padded = areas()["1"]
    bone = (grey_bone(SHAPE) > 130).astype(np.int16)
    image = series(tmp_path / "padded", np.where(padded, np.int16(PADDING), bone), PADDING)
    found = measure_image(image)
    assert found["BV/TV"] == pytest.approx(bone[~padded].mean())
    assert "FIX image-binary: two values alone, 0 and 1" in str(found["notes"])
    assert str(found["method"]).startswith(f"binary, {np.count_nonzero(padded)} voxels of padding left out")
    blocks = in_blocks(keep(image, tmp_path / "ct.ome.zarr"), tmp_path / "maps")
    assert (blocks["BV/TV"], blocks["method"]) == (found["BV/TV"], found["method"])


def test_a_cylinder_of_zeros_is_found_within_what_was_scanned(tmp_path: Path) -> None:
    padded, zeros = areas()["1"], areas()["4"]
    grey = np.where(zeros, 0, grey_bone(SHAPE)).astype(np.int16)
    image = series(tmp_path / "padded", np.where(padded, np.int16(PADDING), grey), PADDING)
    found = measure_image(image)
    assert found["n_voxels"] == np.count_nonzero(~padded & ~zeros)
    blocks = in_blocks(keep(image, tmp_path / "ct.ome.zarr"), tmp_path / "maps")
    for name in ("BV/TV", "threshold", "n_voxels", "method"):
        assert found[name] == blocks[name]


def test_voxels_that_are_no_numbers_were_not_scanned(tmp_path: Path) -> None:
    grey = grey_bone(SHAPE).astype(np.float32)
    empty = areas()["2"]
    grey[empty] = 0.0
    grey[:, :5] = np.nan  # refused next to tissue
    found = measure_image(write_nifti(tmp_path / "bone.nii.gz", grey))
    assert found["n_voxels"] == np.count_nonzero(~empty)
    assert f"{5 * 20 * 38} voxels of padding left out, zeros round the scanned field" in str(found["method"])
