from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality, Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.both_knees import crop_to_side
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.masks import read_mask
from tests.imaging import makers

SHAPE = (20, 50, 150)


def legs(modality: Modality, *, flipped: bool = False, gap: bool = True) -> Volume[np.int16]:
    """Return a pair of knees 2 mm a voxel, bone of the left one (larger LPS x) brighter."""
    low, high = (-1000, 400) if modality == "ct" else (0, 400)
    values = np.full(SHAPE, low, np.int16)
    values[:, 10:40, 15:60] = high
    values[:, 10:40, 95 if gap else 62 : 140] = high + 200
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-150, -50, 0)
    if flipped:
        values = values[:, :, ::-1].copy()
        affine[0] = (-2.0, 0.0, 0.0, -150 + 2 * 149)
    return Volume(array=values, geometry=Geometry.from_affine(SHAPE, affine))


@pytest.mark.parametrize("modality", ["ct", "mr"])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(("side", "brightest"), [("L", 600), ("R", 400)])
def test_24_the_knee_of_the_side_is_kept_in_its_place(
    modality: Modality, flipped: bool, side: Side, brightest: int
) -> None:
    both = legs(modality, flipped=flipped)
    part, notes = crop_to_side(both, modality, side, "ct")
    assert part.array.max() == brightest
    assert [(note.severity, note.code) for note in notes] == [("FIX", "both-knees")]
    x = part.geometry.index_to_lps(np.argwhere(part.array == brightest))[:, 0]
    assert (x > 0).all() if side == "L" else (x < 0).all()
    np.testing.assert_array_equal(
        np.rint(both.at(part.geometry.index_to_lps([(3, 20, 5)]))), [part.array[3, 20, 5]]
    )


def test_24_knees_that_touch_or_have_no_side_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be separated"):
        crop_to_side(legs("ct", gap=False), "ct", "L", "ct")
    with pytest.raises(InputError, match="no side is given"):
        crop_to_side(legs("ct"), "ct", None, "ct")


def test_24_one_knee_in_a_wide_image_is_left_alone() -> None:
    values = legs("ct").array.copy()
    values[:, :, 70:] = -1000
    image = Volume(array=values, geometry=legs("ct").geometry)
    assert crop_to_side(image, "ct", "R", "ct") == (image, ())


def test_24_a_mask_over_both_knees_is_cut_with_its_image(tmp_path: Path) -> None:
    both = legs("ct")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ both.geometry.affine
    ct = read_image(makers.nifti(tmp_path / "ct.nii", both.array.T, affine), "ct", side="L").volume
    mask = read_mask(
        makers.nifti(tmp_path / "m.nii", (both.array.T > 500).astype(np.uint8), affine), ct.geometry
    )
    np.testing.assert_array_equal(mask.array, ct.array > 500)
