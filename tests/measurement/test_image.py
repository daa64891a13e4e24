from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import to_text
from srrd_ray.morphometry.binarize import otsu_threshold, smooth_one_voxel
from srrd_ray.morphometry.field import scanned_field
from tests.morphometry import shapes
from tests.morphometry.shapes import DATA

KEYS = {
    "BV/TV", "Tb.Th", "Tb.Sp", "Tb.N", "Tb.Th.SD", "Tb.Sp.SD", "BS/BV", "Conn.D", "DA", "SMI", "spacing_mm", "n_voxels",
    "method",
}  # fmt: skip
SMALL = (20, 24, 28)


def write_nifti(
    path: Path, array: NDArray[np.generic], steps: tuple[float, float, float] = (0.05, 0.05, 0.05)
) -> Path:
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), np.diag([*steps[::-1], 1.0])), path)
    return path


@pytest.fixture(scope="module")
def plates_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mask = shapes.plates(0.4)
    return write_nifti(tmp_path_factory.mktemp("plates") / "plates.nii.gz", (mask * 200).astype(np.uint8))


def test_a_binary_image_gives_its_measures_under_the_symbols_of_the_field(plates_image: Path) -> None:
    found = measure_image(plates_image, Recipe(threshold="binary"))
    assert set(found) >= KEYS
    assert found["BV/TV"] == pytest.approx(0.25)
    assert found["Tb.Th"] == pytest.approx(0.4)
    assert found["Tb.Sp"] == pytest.approx(1.2)
    assert found["Tb.N"] == pytest.approx(0.625)
    assert found["spacing_mm"] == pytest.approx(0.05)
    assert json.loads(to_text(found)) == found


def test_a_grey_value_is_a_threshold_above_which_a_voxel_is_bone(tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ramp.nii", np.tile(np.arange(28, dtype=np.int16) + 1, (20, 24, 1)))
    assert measure_image(image, Recipe(threshold="7"))["BV/TV"] == pytest.approx(21 / 28)


def test_a_region_restricts_what_is_averaged(tmp_path: Path) -> None:
    bone = np.zeros(SMALL, np.uint8)
    bone[:10] = 1
    roi = np.zeros(SMALL, np.uint8)
    roi[:5] = 1
    image, mask = write_nifti(tmp_path / "bone.nii", bone), write_nifti(tmp_path / "roi.nii", roi)
    found = measure_image(image, Recipe(threshold="binary"), roi=mask)
    assert (found["BV/TV"], found["status"], found["n_voxels"]) == (1.0, "all-bone", 5 * 24 * 28)
    assert found["Tb.Sp"] is None


def test_a_region_and_a_bone_mask_are_both_kept_to(tmp_path: Path) -> None:
    image, masks = np.zeros((20, 20, 20), np.uint8), np.zeros((3, 20, 20, 20), np.uint8)
    image[:, ::2] = 1
    image[:10] = 1
    masks[0, :12], masks[1, 8:], masks[2, 12:] = 1, 1, 1
    paths = [tmp_path / name for name in ("image.nii.gz", "roi.nii.gz", "bone.nii.gz", "other.nii.gz")]
    for path, array in zip(paths, (image, *masks), strict=True):
        nib.save(nib.Nifti1Image(array.T, np.eye(4)), path)
    found = measure_image(paths[0], Recipe(threshold="binary"), roi=paths[1], bone_mask=paths[2])
    assert (found["n_voxels"], found["BV/TV"]) == (4 * 400, 0.75)
    with pytest.raises(InputError, match="no voxel in common"):
        measure_image(paths[0], Recipe(threshold="binary"), roi=paths[1], bone_mask=paths[3])


def test_a_region_on_another_grid_is_refused(tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "bone.nii", np.eye(20, dtype=np.uint8)[None].repeat(4, 0))
    mask = write_nifti(tmp_path / "roi.nii", np.ones((4, 20, 19), np.uint8))
    with pytest.raises(InputError, match="mask-grid"):
        measure_image(image, Recipe(threshold="binary"), roi=mask)


@pytest.mark.parametrize("threshold", ["otsu", "nan", ""])
def test_an_unknown_threshold_is_refused(plates_image: Path, threshold: str) -> None:
    with pytest.raises(ConfigError, match="threshold-invalid"):
        measure_image(plates_image, Recipe(threshold=threshold))


def test_maps_lie_where_the_image_lies(tmp_path: Path) -> None:
    mask = np.zeros(SMALL, np.uint8)
    mask[5:9, 4:20, 3:25] = 1
    image = write_nifti(tmp_path / "bone.nii", mask, (0.3, 0.2, 0.1))
    measure_image(image, Recipe(threshold="binary"), maps=tmp_path / "maps")
    values, header = nrrd.read(str(tmp_path / "maps" / "thickness.nrrd"))
    assert np.array_equal(values.transpose(2, 1, 0) > 0, mask > 0)
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space directions"], np.diag([-0.1, -0.2, 0.3]), atol=1e-6)
    spacing, _ = nrrd.read(str(tmp_path / "maps" / "spacing.nrrd"))
    assert np.array_equal(spacing.transpose(2, 1, 0) > 0, mask == 0)


def test_maps_lie_in_the_patient_where_an_oblique_image_lies_for_other_readers_too(tmp_path: Path) -> None:
    turned = sitk.GetImageFromArray(np.pad(np.ones((3, 4, 5), np.uint8), 3))
    turned.SetSpacing((0.1, 0.2, 0.3))
    turned.SetDirection((0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0))
    turned.SetOrigin((7.0, -8.0, 9.0))
    sitk.WriteImage(turned, str(tmp_path / "bone.nii"))
    measure_image(tmp_path / "bone.nii", Recipe(threshold="binary"), maps=tmp_path / "maps")
    found = sitk.ReadImage(str(tmp_path / "maps" / "thickness.nrrd"))
    for point in ((0, 0, 0), (10, 0, 0), (0, 9, 0), (0, 0, 8)):
        place = turned.TransformIndexToPhysicalPoint(point)
        np.testing.assert_allclose(found.TransformIndexToPhysicalPoint(point), place, atol=1e-5)
    assert np.array_equal(sitk.GetArrayFromImage(found) > 0, sitk.GetArrayFromImage(turned) > 0)


def test_zeros_round_a_scanned_cylinder_are_neither_bone_nor_marrow() -> None:
    y, x = np.ogrid[:40, :40]
    disc = (y - 19.5) ** 2 + (x - 19.5) ** 2 <= 19.5**2
    image = np.where(disc, 7, 0)[None].repeat(3, 0)
    image[1, 15:20, 15:20] = 0
    field = scanned_field(image)
    assert field is not None
    assert np.array_equal(field, disc[None].repeat(3, 0))
    assert scanned_field(np.ones(SMALL)) is None


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the real images are not here")
def test_the_tibia_has_its_published_otsu_thresholds_and_bone_volume() -> None:
    image = np.asarray(nib.load(DATA / "trabecular_tibia_microct.nii.gz").dataobj).transpose(2, 1, 0)
    smooth = smooth_one_voxel(image[:257])
    assert otsu_threshold(smooth) == pytest.approx(75.8765563570748, abs=1e-12)
    assert np.count_nonzero(smooth > 75.8765563570748) * 0.0195**3 == pytest.approx(20.40, abs=0.005)
    assert otsu_threshold(smooth_one_voxel(image)) == pytest.approx(73.892855537282, abs=1e-11)
    field = scanned_field(image[:257])
    assert field is not None
    assert np.count_nonzero(field) * 0.0195**3 == pytest.approx(97.39, rel=0.006)
