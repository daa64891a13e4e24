from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.alignment import AlignedCt, align_ct
from tests.registration import phantoms

FEMUR = phantoms.rigid((4.0, 2.0, -3.0), (3.0, -2.0, 5.0))
TIBIA = phantoms.rigid((-6.0, 0.0, 2.0), (1.0, 2.0, 3.0))


@pytest.fixture(scope="module")
def knee() -> tuple[Volume[np.float32], Volume[np.uint8]]:
    return phantoms.knee()


@pytest.fixture(scope="module")
def bent(knee: tuple[Volume[np.float32], Volume[np.uint8]]) -> AlignedCt:
    ct, labels = knee
    return align_ct(ct, labels, {"femur": FEMUR, "tibia": TIBIA}, ct.geometry)


def test_at_the_identity_nothing_moves(knee: tuple[Volume[np.float32], Volume[np.uint8]]) -> None:
    ct, labels = knee
    found = align_ct(ct, labels, {"femur": np.eye(4), "tibia": np.eye(4)}, ct.geometry)
    np.testing.assert_allclose(found.hu.array, ct.array, atol=1e-2)
    np.testing.assert_array_equal(found.labels, labels.array)
    assert ((found.outside_mm < 0) == (found.labels > 0)).all()


@pytest.mark.parametrize(("pose", "label"), [(FEMUR, 1), (TIBIA, 2)])
def test_what_lies_in_a_bone_goes_with_its_pose(
    knee: tuple[Volume[np.float32], Volume[np.uint8]], bent: AlignedCt, pose: np.ndarray, label: int
) -> None:
    ct, _ = knee
    rigid = ct.resample_onto(ct.geometry, np.linalg.inv(pose), fill=np.nan).array
    deep = (bent.labels == label) & (bent.outside_mm < -2) & np.isfinite(rigid)
    assert deep.sum() > 5000
    assert np.median(np.abs(bent.hu.array - rigid)[deep]) < 1.0


def test_what_the_ct_did_not_see_is_not_a_number(
    knee: tuple[Volume[np.float32], Volume[np.uint8]], bent: AlignedCt
) -> None:
    ct, labels = knee
    assert np.isnan(bent.hu.array).any()
    wide = ct.geometry.crop((-10, 0, 0), (ct.geometry.shape[0] + 10, *ct.geometry.shape[1:]))
    found = align_ct(ct, labels, {"tibia": np.eye(4)}, wide)
    assert np.isnan(found.hu.array[:9]).all()
    assert found.labels[9].sum() > 0, "the shaft goes on below the image"


def test_a_bone_without_a_pose_follows_the_other(
    knee: tuple[Volume[np.float32], Volume[np.uint8]],
) -> None:
    ct, labels = knee
    found = align_ct(ct, labels, {"femur": FEMUR}, ct.geometry)
    rigid = ct.resample_onto(ct.geometry, np.linalg.inv(FEMUR), fill=np.nan).array
    np.testing.assert_allclose(found.hu.array, rigid, atol=0.5)
    assert set(np.unique(found.labels)) == {0, 1}


def test_without_any_labelled_bone_it_is_refused(
    knee: tuple[Volume[np.float32], Volume[np.uint8]],
) -> None:
    ct, labels = knee
    empty = Volume(array=np.zeros_like(labels.array), geometry=labels.geometry)
    with pytest.raises(InputError, match="bone-missing"):
        align_ct(ct, empty, {"femur": FEMUR}, ct.geometry)
