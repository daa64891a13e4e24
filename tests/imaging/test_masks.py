"""A mask is zero and one other value, or a named label, on the lattice of its image in whatever order of axes."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from nibabel.orientations import apply_orientation, inv_ornt_aff
from numpy.typing import NDArray

from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.imaging.images import read_header, read_image
from srrd_ray.imaging.masks import doubt_mask, read_mask
from tests.stages.bones import write_zarr

SHAPE = (9, 10, 11)
OBLIQUE = np.array([[0.016, -0.012, 0, 3], [0.012, 0.016, 0, -40], [0, 0, 0.02, 7], [0, 0, 0, 1]])
TURNS = [
    list(zip(axes, signs, strict=True))
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]


def write(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64] = OBLIQUE) -> Path:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def blob() -> NDArray[np.uint8]:
    values = np.zeros(SHAPE, np.uint8)
    values[1:4, 5:7, 3:10] = 1
    return values


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_mask_in_another_order_of_axes_is_turned_and_no_voxel_moves(
    tmp_path: Path, turn: list[tuple[int, int]]
) -> None:
    image = read_image(write(tmp_path / "image.nii", np.arange(990, dtype=np.int16).reshape(SHAPE))).volume
    ornt = np.array(turn)
    turned = write(tmp_path / "roi.nii", apply_orientation(blob(), ornt), OBLIQUE @ inv_ornt_aff(ornt, SHAPE))
    np.testing.assert_array_equal(read_mask(turned, image.geometry).array, blob().transpose(2, 1, 0) != 0)


def test_a_mask_half_a_voxel_or_four_degrees_off_is_refused(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "image.nii", np.arange(990, dtype=np.int16).reshape(SHAPE))).volume
    half, degree = OBLIQUE.copy(), OBLIQUE.copy()
    half[:3, 3] += 0.5 * OBLIQUE[:3, 0]
    turn = np.radians(4.0)
    degree[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]] @ OBLIQUE[
        :3, :3
    ]
    for affine in (half, degree):
        with pytest.raises(InputError, match="mask-grid"):
            read_mask(write(tmp_path / "roi.nii", blob(), affine), image.geometry)


@pytest.mark.parametrize("inside", [1, 255, -1])
def test_zero_and_one_other_value_are_a_mask(tmp_path: Path, inside: int) -> None:
    mask = read_mask(write(tmp_path / "roi.nii", blob().astype(np.int16) * inside)).array
    assert mask.sum() == blob().sum()


@pytest.mark.parametrize(
    "values",
    [
        blob() + 1,
        blob().astype(np.float32) * 2 - 1,
        blob() + (np.arange(11) == 0).astype(np.uint8) * 7,
        np.where(blob(), 1.0, np.nan),
    ],
    ids=["1/2", "-1/1", "0/1/7", "NaN/1"],
)
def test_any_other_values_are_refused_with_what_to_do(tmp_path: Path, values: NDArray[np.generic]) -> None:
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    with pytest.raises(
        InputError, match=r"mask-values.*labels \[.*expected 0 and one other.*(--roi-label|to 0)"
    ):
        read_mask(write(tmp_path / "roi.nii", values))


def test_a_label_that_is_named_is_taken_or_refused_with_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "roi.nii", blob() + 1)
    assert read_mask(path, only=2).array.sum() == blob().sum()
    assert read_mask(path, bone="femur").array.sum() == (blob() == 0).sum()
    with pytest.raises(InputError, match=r"mask-label.*got 3, expected one of \[1, 2\]"):
        read_mask(path, only=3)


def test_a_label_of_a_bone_is_not_asked_of_a_mask_of_one(tmp_path: Path) -> None:
    assert read_mask(write(tmp_path / "roi.nii", blob() * 255), bone="femur").array.sum() == blob().sum()


@pytest.mark.parametrize(
    ("labels", "bone"),
    [((5, 6), "tibia"), ((1, 2, 3), "femur"), ((2, 6), "tibia"), ((1, 4), "femur"), ((2,), "femur")],
    ids=str,
)
def test_a_mask_numbered_otherwise_is_refused_with_its_labels_until_one_is_named(
    tmp_path: Path, labels: tuple[int, ...], bone: BoneName
) -> None:
    values = np.zeros(SHAPE, np.uint8)
    for place, label in enumerate(labels):
        values[place] = label
    path = write(tmp_path / "labels.nii", values)
    shown = ", ".join(map(str, (0, *labels)))
    with pytest.raises(InputError, match=rf"mask-label.*{bone}.*labels \[{shown}\].*--bone-label"):
        read_mask(path, bone=bone)
    chosen = read_mask(path, bone=bone, only=labels[-1]).array
    assert chosen.sum() == (values == labels[-1]).sum()


def test_a_mask_of_both_bones_gives_each_its_own(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[0], values[1:3] = 1, 2
    path = write(tmp_path / "bones.nii", values)
    assert read_mask(path, bone="femur").array.sum() == (values == 1).sum()
    assert read_mask(path, bone="tibia").array.sum() == (values == 2).sum()
    path = write(tmp_path / "tibia.nii", (values == 2).astype(np.uint8))
    assert read_mask(path, bone="tibia").array.sum() == (values == 2).sum()


def test_chunks_of_a_mask_that_are_not_there_are_said_of_it_and_no_spacing_is(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "roi.ome.zarr", np.ones((32, 32, 64), np.uint8))
    bare = read_header(path).notes  # of an image that has no orientation either
    assert doubt_mask(path, of_image=bare) == ()
    (path / "0" / "c" / "0" / "0" / "1").unlink()
    (note,) = doubt_mask(path, of_image=bare)
    assert (note.severity, note.code) == ("FLAG", "zarr-chunks-missing")
    assert note.message.startswith("mask roi.ome.zarr: 1 of 2 chunks are not there and are read as 0")


def test_a_mask_of_probabilities_is_not_asked_for_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "roi.nii", np.linspace(0, 1, 990, dtype=np.float32).reshape(SHAPE))
    with pytest.raises(InputError, match=r"mask-values.*set a threshold first"):
        read_mask(path)


@pytest.mark.parametrize("only", [None, 500])
def test_a_grey_image_given_as_a_mask_is_no_label_map(tmp_path: Path, only: int | None) -> None:
    path = write(tmp_path / "roi.nii", np.arange(990, dtype=np.int16).reshape(SHAPE))
    with pytest.raises(InputError, match=r"mask-values.*These are no labels but values"):
        read_mask(path, only=only)


def test_a_mask_without_a_voxel_size_is_not_to_be_resampled(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "image.nii", np.arange(990, dtype=np.int16).reshape(SHAPE))).volume
    tifffile.imwrite(tmp_path / "roi.tif", blob().T)
    with pytest.raises(
        InputError, match=r"mask-grid.*the mask has no voxel size.*Save it with the voxel size"
    ):
        read_mask(tmp_path / "roi.tif", image.geometry)


def test_a_mask_without_an_orientation_is_doubted_unless_its_image_has_none(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "roi.tif", blob().T, imagej=True, resolution=(50, 50), metadata={"unit": "mm"}
    )
    told, bare = (
        {note.code for note in doubt_mask(tmp_path / "roi.tif", of_image=notes)}
        for notes in ((), read_image(tmp_path / "roi.tif").notes)
    )
    assert told - bare == {"image-no-orientation"}
    placed = read_image(write(tmp_path / "image.nii", np.arange(990, dtype=np.int16).reshape(SHAPE))).volume
    with pytest.raises(InputError, match=r"mask-grid.*the mask has no place and orientation.*Save it with"):
        read_mask(tmp_path / "roi.tif", placed.geometry)


def test_grids_that_differ_in_direction_alone_are_told_apart(tmp_path: Path) -> None:
    straight = np.diag([0.02, 0.02, 0.02, 1.0])
    like = read_image(
        write(tmp_path / "a.nii", np.arange(990, dtype=np.int16).reshape(SHAPE), straight)
    ).volume
    turned = straight.copy()
    turned[:2, :2] = 0.02 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    with pytest.raises(InputError, match="mask-grid") as caught:
        read_mask(write(tmp_path / "roi.nii", blob(), turned), like.geometry)
    assert caught.value.got != caught.value.expected
