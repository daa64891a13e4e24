"""A user's own bones are read from any format, numbering and grid, and never taken for others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.bone_masks import GivenBones, find_mask, read_bone_masks
from srrd_ray.imaging.nifti_writer import write_nifti
from tests.imaging.dicom.test_seg import make_series, segmentation
from tests.imaging.makers import grid

LIKE = grid()
Labels = NDArray[np.uint8]


def bones(femur: int = 1, tibia: int = 2, geometry: Geometry = LIKE) -> Labels:
    """A femur over a tibia, each a box."""
    labels = np.zeros(geometry.shape, np.uint8)
    z = geometry.shape[0] // 2
    labels[z + 1 :, 4:12, 3:17], labels[: z - 1, 5:11, 4:15] = femur, tibia
    return labels


def write(path: Path, labels: Labels, geometry: Geometry = LIKE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, Volume(array=labels, geometry=geometry))
        return path
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin([float(v) for v in geometry.affine[:3, 3]])
    sitk.WriteImage(image, str(path))
    return path


def read(path: Path, *, side: str | None = None, **labels: int) -> GivenBones:
    return read_bone_masks(path, LIKE, side, labels)  # type: ignore[arg-type]  # names of bones, L or R


def named_nifti(path: Path) -> Path:
    """As TotalSegmentator writes several labels: their names in the extended header."""
    write(path, bones(femur=3, tibia=1))
    image = nib.load(path)
    xml = "<CaretExtension><VolumeInformation Index='0'><LabelTable>"
    for label, name in ((1, "tibia"), (2, "patella"), (3, "femur_left")):
        xml += f'<Label Key="{label}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[{name}]]></Label>\n'
    xml += "</LabelTable></VolumeInformation></CaretExtension>"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    return path


def slicer(path: Path) -> Path:
    image = sitk.ReadImage(str(write(path.with_name("plain.nrrd"), bones(femur=7, tibia=5))))
    for n, (label, name) in enumerate(((5, "Left Tibia"), (7, "Left Femur"))):
        image.SetMetaData(f"Segment{n}_Name", name)
        image.SetMetaData(f"Segment{n}_LabelValue", str(label))
        image.SetMetaData(f"Segment{n}_Layer", "0")
    sitk.WriteImage(image, str(path))
    return path


def predicted(path: Path) -> Path:
    """As nnU-Net leaves a prediction."""
    write(path, bones(femur=1, tibia=3))
    about = {"labels": {"background": 0, "femur": 1, "femoral_cartilage": 2, "tibia": 3}}
    (path.parent / "dataset.json").write_text(json.dumps(about))
    return path


def separate(path: Path) -> Path:
    """As TotalSegmentator writes each class: a file for every one, most of them empty."""
    for name, label in (("femur_left", 1), ("tibia", 2)):
        write(path / f"{name}.nii.gz", (bones() == label).astype(np.uint8))
    for name in ("femur_right", "spleen"):
        write(path / f"{name}.nii.gz", np.zeros(LIKE.shape, np.uint8))
    return path


def dicom_seg(path: Path) -> Path:
    folder = make_series(path.with_name("ct"), LIKE)
    masks = np.stack([bones() == 2, bones() == 1], axis=-1)
    return segmentation(folder, path, masks, labels=("Tibia", "Femur"))


MADE: list[tuple[str, Callable[[Path], Path], str | None]] = [
    ("bones.nii.gz", lambda path: write(path, bones()), None),
    ("bones.mha", lambda path: write(path, bones()), None),
    ("bones.nrrd", lambda path: write(path, bones()), None),
    ("ts.nii.gz", named_nifti, "L"),
    ("knee.seg.nrrd", slicer, "L"),
    ("knee.nii.gz", predicted, None),
    ("segmentations", separate, "L"),
    ("seg.dcm", dicom_seg, None),
]


@pytest.mark.parametrize(("name", "make", "side"), MADE, ids=[name for name, _, _ in MADE])
def test_bones_are_known_by_the_names_that_programs_write(
    tmp_path: Path, name: str, make: Callable[[Path], Path], side: str | None
) -> None:
    found = read(make(tmp_path / name))
    np.testing.assert_array_equal(found.labels.array, bones())
    assert found.labels.geometry == LIKE
    assert found.side == side
    assert [(note.severity, note.code) for note in found.notes] == [("INFO", "mask-given")]


def test_the_user_names_labels_that_nothing_else_does(tmp_path: Path) -> None:
    path = write(tmp_path / "m.nii.gz", bones(femur=9, tibia=4))
    with pytest.raises(InputError, match=r"\[mask-label\].*labels 4, 9.*--bone-label femur=1"):
        read(path)
    np.testing.assert_array_equal(read(path, femur=9, tibia=4).labels.array, bones())
    with pytest.raises(InputError, match=r"\[mask-label\].*expected femur=8 in it"):
        read(path, femur=8, tibia=4)


def test_a_label_that_the_user_names_is_taken_whatever_its_name(tmp_path: Path) -> None:
    found = read(named_nifti(tmp_path / "ts.nii.gz"), side="R", femur=3, tibia=1)
    np.testing.assert_array_equal(found.labels.array, bones())


@pytest.mark.parametrize("present", [(1, 2, 3), (1,), (2,), (88, 89)])
def test_numbers_that_may_mean_anything_are_refused(tmp_path: Path, present: tuple[int, ...]) -> None:
    labels = np.zeros(LIKE.shape, np.uint8)
    labels[: len(present), 4:8, 4:8] = np.array(present, np.uint8)[:, None, None]
    with pytest.raises(InputError, match="mask-label"):
        read(write(tmp_path / "m.nii.gz", labels))


def test_one_bone_in_a_file_named_after_it_is_read_and_the_other_said_to_be_absent(tmp_path: Path) -> None:
    path = write(
        tmp_path / "sub-1_side-R_desc-tibia_mask.nii.gz", np.where(bones() == 2, 255, 0).astype(np.uint8)
    )
    found = read(path)
    np.testing.assert_array_equal(found.labels.array, bones(femur=0))
    assert found.side == "R"
    assert ("FLAG", "mask-empty") in [(note.severity, note.code) for note in found.notes]


def test_another_grid_of_the_same_space_gives_the_nearest_voxels_and_says_so(tmp_path: Path) -> None:
    coarse = LIKE.rescaled((6, 8, 10))
    found = read(write(tmp_path / "m.nii.gz", bones(geometry=coarse), coarse))
    index = np.moveaxis(np.indices(LIKE.shape), 0, -1)
    there = np.rint(coarse.lps_to_index(LIKE.index_to_lps(index)) - 1e-9).astype(int)
    np.testing.assert_array_equal(
        found.labels.array, bones(geometry=coarse)[tuple(np.moveaxis(there, -1, 0))]
    )
    assert ("FIX", "mask-resampled") in [(note.severity, note.code) for note in found.notes]


def test_a_mask_of_another_place_is_refused(tmp_path: Path) -> None:
    far = grid(first=(500.0, 12.5, 300.25))
    with pytest.raises(InputError, match=r"\[mask-empty\].*shape"):
        read(write(tmp_path / "m.nii.gz", bones(), far))


def test_sides_are_chosen_by_name_and_contradictions_refused(tmp_path: Path) -> None:
    left = bones(femur=1, tibia=2)
    write(tmp_path / "two" / "femur_left.nii.gz", np.where(left == 1, 1, 0).astype(np.uint8))
    write(tmp_path / "two" / "femur_right.nii.gz", np.roll(left == 1, 1, axis=1).astype(np.uint8))
    write(tmp_path / "two" / "tibia.nii.gz", (left == 2).astype(np.uint8))
    with pytest.raises(InputError, match=r"\[side-unknown\].*--side"):
        read(tmp_path / "two")
    found = read(tmp_path / "two", side="L")
    np.testing.assert_array_equal(found.labels.array, left)
    assert "mask-side" in [note.code for note in found.notes]
    (tmp_path / "two" / "femur_right.nii.gz").unlink()
    with pytest.raises(InputError, match=r"\[side-mismatch\].*femur of the mask.*right knee"):
        read(tmp_path / "two", side="R")


def test_bones_that_overlap_or_stand_on_their_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bone-order"):
        read(write(tmp_path / "m.nii.gz", np.flip(bones(), 0).copy()))
    write(tmp_path / "both" / "femur.nii.gz", (bones() > 0).astype(np.uint8))
    write(tmp_path / "both" / "tibia.nii.gz", (bones() == 2).astype(np.uint8))
    with pytest.raises(InputError, match="mask-overlap"):
        read(tmp_path / "both")


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    shares = (bones() / 3).astype(np.float32)
    write_nifti(tmp_path / "femur.nii.gz", Volume(array=shares, geometry=LIKE))
    with pytest.raises(InputError, match="mask-values"):
        read(tmp_path / "femur.nii.gz")
    with pytest.raises(InputError, match="mask-missing"):
        read(tmp_path / "absent.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="mask-missing"):
        read(tmp_path / "empty")


def test_the_mask_of_an_image_of_a_folder_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "a" / "knee2").mkdir(parents=True)
    for name in ("a/knee1.nrrd", "knee3.nii.gz"):
        (tmp_path / name).touch()
    for image, mask in (
        ("a/knee1.nii.gz", "a/knee1.nrrd"),
        ("a/knee2.mha", "a/knee2"),
        ("knee3_0000.nii.gz", "knee3.nii.gz"),
    ):
        assert find_mask(tmp_path, Path(image)) == tmp_path / mask
    assert not find_mask(tmp_path, Path("knee4.nii.gz")).exists()
