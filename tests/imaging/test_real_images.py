"""Every real image beside the repository, read as what it is, and refused as what it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality
from srrd_ray.imaging.images import read_header, read_image
from srrd_ray.imaging.masks import read_mask
from srrd_ray.imaging.source import SourceImage

Outcome = tuple[tuple[int, int, int], tuple[float, float, float], tuple[int, int], tuple[str, ...]]
MESE_MM = (4.0, 0.625, 0.625)
TRABECULAR = tuple(f"trabecular_vertebra_binary_{n}.nrrd" for n in (1, 2, 3))
NO_IMAGES = {"README.md", "anatomy", "tables"}
"""What lies beside the images: numbers measured on people, and their shapes."""
READ: dict[tuple[str, Modality | None], Outcome] = {
    ("knee_ct_1mm.nii.gz", "ct"): ((120, 180, 137), (1.0, 1.0, 1.0), (-1024, 1775), ()),
    ("knee_mr_dess.nii.gz", "mr"): ((80, 512, 512), (1.5, 0.3125, 0.3125), (0, 15470), ()),
    ("knee_mr_mese.nii.gz", "mr"): ((24, 256, 256), MESE_MM, (0, 8961), ()),
    ("knee_mr_mese_dicom", "mr"): ((24, 256, 256), MESE_MM, (0, 8961), ("dicom-jitter",)),
    ("trabecular_tibia_microct.nii.gz", None): ((495, 257, 257), (0.0195, 0.0195, 0.0195), (0, 255), ()),
    ("trabecular_shrew_binary.nrrd", None): (
        (115, 114, 114),
        (0.0041, 0.0041, 0.0041),
        (0, 255),
        ("image-no-orientation",),
    ),
    **{
        (name, None): ((300, 300, 300), (1.0, 1.0, 1.0), (0, 1), ("spacing-absent", "image-no-orientation"))
        for name in TRABECULAR
    },
}
"""Name and modality -> shape, spacing in mm, least and largest value, notes."""
REFUSED: dict[tuple[str, Modality], str] = {
    ("knee_ct_1mm.nii.gz", "mr"): "wrong-modality",
    ("knee_mr_dess.nii.gz", "ct"): "wrong-modality",
    ("knee_mr_mese.nii.gz", "ct"): "wrong-modality",
    ("knee_mr_mese_dicom", "ct"): "wrong-modality",
    ("trabecular_tibia_microct.nii.gz", "ct"): "not-a-knee",
    ("trabecular_tibia_microct.nii.gz", "mr"): "not-a-knee",
    **{(name, "ct"): "image-no-orientation" for name in ("trabecular_shrew_binary.nrrd", *TRABECULAR)},
    **{(name, "mr"): "image-no-orientation" for name in ("trabecular_shrew_binary.nrrd", *TRABECULAR)},
}


def seen(image: SourceImage) -> tuple[tuple[int, ...], tuple[int, int], tuple[str, ...]]:
    values = image.volume.array
    return values.shape, (int(values.min()), int(values.max())), tuple(note.code for note in image.notes)


@pytest.mark.parametrize(("name", "modality"), READ)
def test_a_real_image_is_read_with_its_shape_spacing_and_values(
    real_data: Path, name: str, modality: Modality | None
) -> None:
    shape, spacing, limits, notes = READ[name, modality]
    image = read_image(real_data / name, modality)
    assert seen(image) == (shape, limits, notes)
    assert image.volume.geometry.spacing_mm == pytest.approx(spacing, rel=1e-5)
    assert image.volume.array.dtype == np.int16
    assert read_header(real_data / name, modality).geometry == image.volume.geometry


@pytest.mark.parametrize(("name", "modality"), REFUSED)
def test_a_real_image_is_refused_as_what_it_is_not(real_data: Path, name: str, modality: Modality) -> None:
    with pytest.raises(InputError) as caught:
        read_image(real_data / name, modality)
    assert caught.value.code == REFUSED[name, modality]
    assert str(real_data) not in str(caught.value)


@pytest.mark.parametrize("name", ["trabecular_shrew_binary.nrrd", TRABECULAR[0]])
def test_a_real_binary_image_is_read_as_a_mask(real_data: Path, name: str) -> None:
    mask = read_mask(real_data / name)
    np.testing.assert_array_equal(mask.array, read_image(real_data / name).volume.array > 0)


def test_every_real_image_has_its_outcome_here(real_data: Path) -> None:
    there = {path.name for path in real_data.iterdir()} - NO_IMAGES
    assert there == {name for name, _ in READ} == {name for name, _ in REFUSED}


def test_the_real_dicom_series_keeps_its_technique_and_nothing_of_its_people(real_data: Path) -> None:
    technique = read_image(real_data / "knee_mr_mese_dicom", "mr").technique
    assert technique["MagneticFieldStrength"] == "3"
    assert technique["Manufacturer"] == "GE"
    assert not [
        key
        for key in technique
        if key.startswith(("Patient", "Study", "Institution")) and key != "PatientPosition"
    ]


def test_the_real_dicom_series_lies_exactly_where_its_nifti_twin_lies(real_data: Path) -> None:
    dicom = read_image(real_data / "knee_mr_mese_dicom", "mr").volume
    twin = read_image(real_data / "knee_mr_mese.nii.gz", "mr").volume
    first, last = twin.geometry.index_to_lps([(0, 0, 0), (23, 255, 255)])
    np.testing.assert_allclose(
        dicom.geometry.index_to_lps([(23, 0, 0), (0, 255, 255)]), [first, last], atol=1e-3
    )
    np.testing.assert_array_equal(dicom.array, twin.array[::-1])
