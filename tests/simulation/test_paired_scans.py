from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from srrd_ray.core.volume import Volume
from srrd_ray.simulation import mr
from srrd_ray.simulation.paired_scans import CT, PIXEL_MM, PairedScan, simulate_paired_scans

SMALL = ((62.0, 64.0), (14.0, 16.0), (26.0, 28.0))
scans_of = partial(simulate_paired_scans, sequences=2, field_mm=SMALL)


@pytest.fixture(scope="module")
def scans() -> list[PairedScan]:
    return list(scans_of(2, 3))


def test_a_knee_is_seen_by_different_sequences_and_by_one_ct(scans: list[PairedScan]) -> None:
    first, second = scans
    assert first.sequence != second.sequence
    assert first.ct is not second.ct
    np.testing.assert_array_equal(first.ct.array, second.ct.array)
    assert {one.sequence for one in scans} <= set(mr.PROTOCOLS)
    for one in scans:
        assert PIXEL_MM[0] <= one.mr.geometry.spacing_mm[1] <= PIXEL_MM[1]


def test_the_ct_sees_all_that_the_mr_sees(scans: list[PairedScan]) -> None:
    for one in scans:
        index = one.ct.geometry.lps_to_index(one.mr.geometry.corners_lps())
        last = np.array(one.ct.geometry.shape) - 1
        assert (index > -1.0).all()
        assert (index < last + 1.0).all()


def test_mr_and_ct_lie_on_each_other(scans: list[PairedScan]) -> None:
    """Compact bone, which the CT shows bright, is dark in every MR; 2 mm beside it is not."""
    for one in scans:
        hu = one.ct.resample_onto(one.mr.geometry).array
        signal = one.mr.array / np.percentile(one.mr.array, 90)
        compact = hu > 600
        assert compact.sum() > 300
        beside = np.roll(compact, round(2.0 / one.mr.geometry.spacing_mm[1]), axis=1) & (hu < 400)
        assert signal[compact].mean() < 0.8 * signal[beside].mean(), one.sequence


def test_the_ct_is_what_can_be_predicted_without_noise(scans: list[PairedScan]) -> None:
    ct, bones = scans[0].ct, scans[0].bones
    assert CT.noise_hu == 0.0
    assert ct.geometry == bones.geometry
    assert isinstance(ct, Volume)
    assert set(np.unique(bones.array)) >= {0, 1, 2}
    deep_muscle = ct.array[(ct.array > 40) & (ct.array < 60)]
    assert deep_muscle.size > 1000
    assert ct.array[bones.array == 1].mean() > ct.array[bones.array == 0].mean() + 100


@pytest.mark.slow
def test_the_same_knee_gives_the_same_scans(scans: list[PairedScan]) -> None:
    for one, again in zip(scans, scans_of(2, 3), strict=True):
        assert one.sequence == again.sequence
        np.testing.assert_array_equal(one.mr.array, again.mr.array)
        np.testing.assert_array_equal(one.ct.array, again.ct.array)
    (other, _) = scans_of(3, 3)
    assert other.ct.geometry != scans[0].ct.geometry
