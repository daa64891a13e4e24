"""Guard rails: what is doubtful is said, what would mean nothing is refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.measurement.doubts import Doubt
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe, given_spacing
from srrd_ray.measurement.result import to_text
from tests.stages.bones import grey_bone
from tests.test_cli import code_of

SHAPE = (40, 44, 48)


def write(path: Path, values: NDArray[np.generic], step: float, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(values.transpose(2, 1, 0), np.diag([step, step, step, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def knee() -> NDArray[np.int16]:
    """Return a leg in air, in HU, as a clinical CT shows it."""
    z, y, x = np.indices((30, 60, 60))
    noise = np.random.default_rng(1).normal(0, 10, z.shape)
    leg = (y - 30) ** 2 + (x - 30) ** 2 < 25**2
    return np.asarray(np.where(leg, 50, -1000) + noise, np.int16)


def test_a_clinical_scan_without_its_kind_is_refused_with_the_options(tmp_path: Path) -> None:
    image = write(tmp_path / "ct.nii.gz", knee(), 1.0)
    with pytest.raises(ConfigError, match=r"source-unstated.*60 mm.*--from ct --bone.*--from mr"):
        measure_image(image)
    for recipe in (Recipe(source="bone"), Recipe(threshold="200")):
        found = str(measure_image(image, recipe)["notes"])
        assert "FLAG voxels-coarse: voxels of 1 mm do not resolve trabeculae" in found


def test_a_unit_that_is_not_said_comes_first_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spatial unit unknown, taken as millimetres; so this looks like"):
        measure_image(write(tmp_path / "um.nii", knee(), 20.0, "unknown"))


def test_a_thickness_that_no_trabeculae_have_is_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "leg.nii.gz", knee(), 0.25)
    with pytest.raises(InputError, match=r"thickness-implausible.*mm in a field of view of 15 mm"):
        measure_image(image)
    assert "FLAG thickness-large" in str(measure_image(image, Recipe(source="bone"))["notes"])


@pytest.mark.parametrize(("width", "flagged"), [(1, True), (2, True), (4, False)])
def test_a_thickness_of_less_than_three_voxels_is_flagged(tmp_path: Path, width: int, flagged: bool) -> None:
    bone = np.zeros(SHAPE, np.uint8)
    for z in range(width):
        bone[z::10] = 1
    notes = str(measure_image(write(tmp_path / "a.nii", bone, 0.05), Recipe(threshold="binary"))["notes"])
    assert ("FLAG thickness-small" in notes) == flagged


def test_what_the_reader_flags_is_said_in_the_json_and_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write(tmp_path / "a.nii", grey_bone(SHAPE), 0.05, "unknown")
    assert code_of("measure", str(image)) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    flag = "FLAG nifti-units: spatial unit unknown, taken as millimetres"
    assert flag in found["notes"]
    assert f"srrd: a.nii: {flag}\n" in shown.err
    assert "Tb.Th mm," in found["units"]
    assert found["software"].startswith("SRRD-Ray ")


@pytest.mark.parametrize(
    ("text", "steps"), [("0.02", (0.02, 0.02, 0.02)), ("0.04,0.02,0.03", (0.04, 0.02, 0.03))]
)
def test_a_voxel_size_that_is_given_replaces_that_of_the_file(
    tmp_path: Path, text: str, steps: tuple[float, float, float]
) -> None:
    bone = (grey_bone(SHAPE) > 130).astype(np.uint8)
    image = write(tmp_path / "a.nii", bone, 1.0, "unknown")
    right = nib.Nifti1Image(bone.transpose(2, 1, 0), np.diag([*steps[::-1], 1.0]))
    right.header.set_xyzt_units("mm")
    nib.save(right, tmp_path / "b.nii")
    found = measure_image(image, Recipe(threshold="binary", spacing=text), roi=image)
    expected = measure_image(tmp_path / "b.nii", Recipe(threshold="binary"), roi=tmp_path / "b.nii")
    for name in ("Tb.Th", "Tb.Sp", "BS", "Conn.D", "spacing_mm"):
        assert found[name] == expected[name]
    assert "FIX spacing-given" in str(found["notes"])
    assert "nifti-units" not in str(found["notes"])
    assert (
        measure_image(image, Recipe(threshold="binary", spacing=text), roi=tmp_path / "b.nii")["status"]
        == "all-bone"
    )
    to_text(found)


@pytest.mark.parametrize("text", ["", "0", "-1", "0.1,0.2", "a", "nan", "inf", "50", "0,05"])
def test_a_voxel_size_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"spacing-invalid.*at most 10,.*have a point; 50 µm is 0\.05"):
        given_spacing(text)


def test_a_label_of_a_region_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bone = (grey_bone(SHAPE) > 130).astype(np.uint8)
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:20], labels[20:30] = 1, 2
    image, mask = write(tmp_path / "a.nii", bone, 0.05), write(tmp_path / "roi.nii", labels, 0.05)
    assert code_of("measure", str(image), "--roi", str(mask)) == 1
    assert "mask-values" in capsys.readouterr().err
    assert code_of("measure", str(image), "--roi", str(mask), "--roi-label", "2") == 0
    assert json.loads(capsys.readouterr().out)["n_voxels"] == (labels == 2).sum()
    assert code_of("measure", str(image), "--roi-label", "2") == 2


@pytest.mark.parametrize(
    ("columns", "said"), [((0, 1, 2), ""), ((1, 2, 0), "x, z, y"), ((0, 2, 1), "y, z, x")]
)
def test_stored_axes_that_are_not_the_patients_are_told(columns: tuple[int, int, int], said: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0.02 * np.eye(3)[:, columns]
    grid = Geometry.from_affine((8, 8, 8), affine)
    notes = Doubt(where="a", grid=grid, recipe=Recipe(), guessed=True, notes=()).image()
    assert [note.code for note in notes] == ["axes-stored"] * bool(said)
    assert all(f"the patient's {said}:" in note.message for note in notes)


def test_voxels_finer_than_any_scanners_are_doubted() -> None:
    grid = Geometry.axis_aligned((8, 8, 8), (2e-5, 2e-5, 2e-5))
    (note,) = Doubt(where="a", grid=grid, recipe=Recipe(), guessed=True, notes=()).image()
    assert (note.severity, note.code) == ("FLAG", "voxels-fine")
