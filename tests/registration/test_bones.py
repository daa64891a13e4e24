from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.registration.bones import BoneConfig, segment_ct_bones, segment_knee
from tests.registration import phantoms


def real_ct() -> Volume[np.int16]:
    path = phantoms.REAL / "knee_ct_1mm.nii.gz"
    if not path.is_file():
        pytest.skip("knee_ct_1mm.nii.gz is not beside the repository")
    image = nib.load(path)
    array = np.asarray(image.dataobj).transpose(2, 1, 0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    whole = Volume(array=array.astype(np.int16), geometry=Geometry.from_affine(array.shape, affine))
    return whole.crop((50, 40, 10), (70, 100, 105))


@pytest.mark.parametrize("gap_mm", [2.0, 4.0])
def test_femur_and_tibia_are_found_and_kept_apart_though_the_field_of_view_cuts_them(gap_mm: float) -> None:
    ct, truth = phantoms.knee(gap_mm=gap_mm)
    found = segment_ct_bones(ct, "R")
    assert found.array.dtype == np.uint8
    assert found.geometry == ct.geometry
    for label in (1, 2):
        assert phantoms.dice(found.array == label, truth.array == label) > 0.93
    assert ((found.array == 1) & (truth.array == 2)).sum() < 0.02 * (truth.array == 2).sum()


def test_bones_darker_than_muscle_are_found_between_their_walls() -> None:
    ct, truth = phantoms.knee(inside_hu=30.0, soft_hu=-70.0)
    found = segment_ct_bones(ct, "R")
    for label in (1, 2):
        assert phantoms.dice(found.array == label, truth.array == label) > 0.93
    with pytest.raises(InputError, match="bone-not-found"):
        segment_ct_bones(ct, "R", BoneConfig(fatty_hu=100.0))


def test_bones_are_found_in_a_sagittal_grid_of_other_voxels() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((8, 3, -4), (20, -10, 5))
    image = phantoms.moved(ct, pose)
    truth = phantoms.moved_labels(labels, image, pose)
    found = segment_ct_bones(image, "R")
    for label in (1, 2):
        assert phantoms.dice(found.array == label, truth.array == label) > 0.9


def test_the_bones_of_a_real_knee_are_found_without_the_fibula() -> None:
    ct = real_ct()
    found = segment_ct_bones(ct, "R").array
    heights = [np.flatnonzero((found == label).any(axis=(1, 2))).mean() for label in (1, 2)]
    assert heights[0] > heights[1]
    z, y, x = (int(n) for n in ct.geometry.lps_to_index((150.0, 310.0, 447.0)).round())
    around = (slice(z - 8, z + 8), slice(y - 10, y + 10), slice(x - 10, x + 10))
    shaft = ct.array[around] > 500
    assert shaft.sum() > 100
    assert not found[around][shaft].any()


@pytest.mark.slow
def test_a_real_right_knee_called_left_is_refused_because_of_its_fibula() -> None:
    with pytest.raises(InputError, match="side-mismatch") as caught:
        segment_ct_bones(real_ct(), "L")
    assert caught.value.code == "side-mismatch"
    assert segment_knee(real_ct(), BoneConfig())[1] == {"R"}


def test_a_field_of_view_without_fibula_tells_no_side() -> None:
    labels, sides = segment_knee(phantoms.knee()[0], BoneConfig())
    assert sides == set()
    assert set(np.unique(labels.array)) == {0, 1, 2}


@pytest.mark.parametrize("value", [-1000.0, 40.0, 1200.0, float("nan")])
def test_an_image_without_two_bones_is_refused(value: float) -> None:
    ct, _ = phantoms.knee()
    with pytest.raises(InputError) as caught:
        segment_ct_bones(Volume(array=np.full_like(ct.array, value), geometry=ct.geometry), "R")
    assert caught.value.code == "bone-not-found"
    assert "field of view" in str(caught.value)
