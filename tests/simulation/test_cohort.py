import numpy as np
import pytest

from srrd_ray.core.geometry import transform_points
from srrd_ray.simulation.cohort import KneeImages, sample_mr_session, simulate
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan

from .conftest import TINY


@pytest.mark.slow
def test_the_same_plan_gives_the_same_images(tiny: KneeImages, plan: SimulatedKnee) -> None:
    again = simulate(plan, TINY)
    np.testing.assert_array_equal(again.ct.array, tiny.ct.array)
    np.testing.assert_array_equal(again.mr.array, tiny.mr.array)
    assert again.cells == tiny.cells
    assert again.transforms == tiny.transforms


def test_marrow_is_bright_on_mr_and_a_joint_space_parts_the_bones_on_ct(tiny: KneeImages) -> None:
    ct, labels = tiny.ct.array, tiny.ct_labels.array
    soft = ct[labels == 0]
    assert ct[labels == 1].mean() > 200
    assert -150 < np.median(soft) < 150
    femur, tibia = (np.argwhere(labels == n) for n in (1, 2))
    assert femur[:, 0].min() < tibia[:, 0].max()  # the spines reach between the condyles
    assert femur[:, 0].mean() > tibia[:, 0].mean()


def test_mr_and_ct_agree_on_where_bone_is_through_the_true_transforms(tiny: KneeImages) -> None:
    labels = tiny.ct_labels
    inside = labels.geometry.index_to_lps(np.argwhere(labels.array == 2)[::50])
    at_mr = tiny.mr.at(transform_points(tiny.transforms["tibia"], inside), fill=np.nan)
    marrow = np.nanmedian(at_mr)
    gap = labels.geometry.index_to_lps(np.argwhere(labels.array == 0)[::50])
    assert marrow > 1.1 * np.nanmedian(
        tiny.mr.at(transform_points(tiny.transforms["tibia"], gap), fill=np.nan)
    )


def test_mr_is_sagittal_and_ct_axial(tiny: KneeImages) -> None:
    slices = np.array(tiny.mr.geometry.affine)[:3, 2]
    assert np.argmax(np.abs(slices)) == 0
    assert np.argmax(np.abs(np.array(tiny.ct.geometry.affine)[:3, 2])) == 2
    np.testing.assert_allclose(tiny.mr.geometry.spacing_mm, (0.75, 0.2188, 0.2188), rtol=1e-6)


def test_one_patient_in_ten_moves_during_the_mr_on_both_sides_or_on_none() -> None:
    plans = simulate_cohort_plan(900, 1)
    moving = {p.knee.participant for p in plans if sample_mr_session(p).motion}
    assert 0.06 < len(moving) / len({p.knee.participant for p in plans}) < 0.14
    assert not {p.knee.participant for p in plans if not sample_mr_session(p).motion} & moving


def test_gradients_err_by_three_per_mille_at_most_and_alike_in_a_hospital() -> None:
    found = {(p.hospital, sample_mr_session(p).scale) for p in simulate_cohort_plan(40, 1)}
    assert len(found) == len({hospital for hospital, _ in found})
    assert all(0 < abs(value - 1) <= 0.003 + 1e-12 for _, scale in found for value in scale)


def test_the_truth_names_all_that_disturbs_the_mr(tiny: KneeImages) -> None:
    named = {name for name in tiny.nuisance if name.startswith("mr_")}
    assert named == {
        "mr_sequence", "mr_snr", "mr_bias", "mr_gain", "mr_field_hz", "mr_fat_shift_px", "mr_motion_mm", "mr_motion_onset",
        "mr_motion_every", "mr_scale_x", "mr_scale_y", "mr_scale_z",
    }  # fmt: skip
