from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.bones import BoneName
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.pairs import AlignedPair, make_pair, make_pair_in_place
from tests.registration import phantoms

CONFIG = CycleGanConfig(slice_mm=1.5)
POSE = phantoms.rigid((7, 2, -3), (12, -5, 3))
BOTH: dict[BoneName, np.ndarray] = {"femur": POSE, "tibia": POSE}


def signal(hu: np.ndarray) -> np.ndarray:
    """Bright marrow, dark bone and soft tissue."""
    return np.where(hu > 150, np.clip(1.0 - (hu + 50.0) / 1600.0, 0.05, None), 0.05).astype(np.float32) * 80


def pair(poses: dict[BoneName, np.ndarray], ct: Volume[np.float32] | None = None) -> AlignedPair:
    still, labels = phantoms.knee()
    moved = phantoms.moved(still, POSE, noise_hu=0.0)
    mr = Volume(array=signal(moved.array), geometry=moved.geometry)
    return make_pair(mr, ct or still, labels, poses, CONFIG)


@pytest.fixture(scope="module")
def both() -> AlignedPair:
    return pair(BOTH)


def test_slices_of_mr_and_ct_lie_on_each_other(both: AlignedPair) -> None:
    sure = both.weight == 1
    assert sure.mean() > 0.3
    assert np.corrcoef(both.mr[both.bone], both.hu[both.bone])[0, 1] < -0.7, "bright marrow is dark in CT"
    shifted = np.roll(both.hu, 3, axis=1)
    assert np.corrcoef(both.mr[sure], shifted[sure])[0, 1] > np.corrcoef(both.mr[sure], both.hu[sure])[0, 1]


def test_bone_is_believed_and_what_the_ct_did_not_see_is_not(both: AlignedPair) -> None:
    assert (both.weight[both.bone] == 1).all()
    assert both.weight.min() == 0.0
    assert (both.hu[both.weight == 0] == 0).all()
    assert np.isfinite(both.hu).all()


def test_soft_tissue_that_slid_is_believed_less_than_that_which_lies_where_it_did(both: AlignedPair) -> None:
    still, labels = phantoms.knee()
    odd = still.array.copy()
    place = (slice(26, 32), slice(None), slice(10, 16))  # part of the joint space is fat in the CT alone
    odd[place] = np.where(labels.array[place] == 0, -100.0, odd[place])
    found = pair(BOTH, Volume(array=odd.astype(np.float32), geometry=still.geometry))
    soft = (both.weight > 0) & (both.weight < 1)
    slid = soft & (found.hu < -60)
    assert slid.sum() > 20
    assert found.weight[slid].mean() < 0.7 * both.weight[slid].mean()


def test_with_one_bone_aligned_nothing_far_from_it_is_believed() -> None:
    found = pair({"tibia": POSE})
    assert set(np.unique(found.weight)) <= {0.0, 1.0}
    assert 0 < found.weight.mean() < pair(BOTH).weight.mean()


def test_slices_in_place_believe_all_that_both_images_see() -> None:
    still, labels = phantoms.knee()
    ct = phantoms.moved(still, POSE, noise_hu=0.0)
    mr = Volume(array=signal(ct.array), geometry=ct.geometry)
    found = make_pair_in_place(mr, ct, labels, CONFIG)
    assert found.weight.mean() > 0.95
    sure = (found.weight == 1) & (found.hu > 150)
    rolled = np.roll(found.hu, 2, axis=1)
    assert np.corrcoef(found.mr[sure], found.hu[sure])[0, 1] < -0.5
    assert np.corrcoef(found.mr[sure], rolled[sure])[0, 1] > -0.3
    assert 0.05 < found.bone.mean() < 0.95


def test_beside_an_oblique_mr_nothing_is_believed() -> None:
    """Its slices lie in a box along the axes: the corners of the box show the edge of the MR, drawn on."""
    still, labels = phantoms.knee()
    affine = phantoms.rigid((0, 0, 30), (0, 0, 0)) @ phantoms.GRID.affine
    turned = Geometry.from_affine(phantoms.GRID.shape, affine)
    mr = Volume(array=signal(still.resample_onto(turned, fill=-100.0).array), geometry=turned)
    wide = np.pad(still.array, 60, mode="edge")
    seen = Volume(array=wide, geometry=phantoms.GRID.crop((-60, -60, -60), wide.shape))
    for found in (
        make_pair_in_place(mr, seen, labels, CONFIG),
        make_pair(mr, seen, labels, {"femur": np.eye(4), "tibia": np.eye(4)}, CONFIG),
    ):
        middle, corner = found.weight[found.weight.shape[0] // 2], found.weight[0]
        assert middle.mean() > 0.5
        assert corner[:, 0].max() == 0.0
