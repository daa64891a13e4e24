from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.cohort import View
from srrd_ray.simulation.patients import simulate_cohort_plan
from srrd_ray.simulation.school import (
    CT_NOISE_HU,
    CT_PSF_MM,
    SEQUENCES,
    SHIFT_MM,
    SchoolKnee,
    image_school_knee,
    sample_pose_errors,
    sample_school_knee,
)

SMALL = View(ct_mm=(70.0, 24.0, 36.0), mr_mm=(66.0, 20.0, 30.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)


@pytest.fixture(scope="module")
def knees() -> list[SchoolKnee]:
    return [sample_school_knee(number, 3) for number in range(40)]


def test_a_knee_is_a_function_of_its_number_and_the_seed(knees: list[SchoolKnee]) -> None:
    assert sample_school_knee(5, 3) == knees[5]
    assert sample_school_knee(5, 4) != knees[5]
    assert len({knee.scans.ct_protocol for knee in knees}) == len(knees)


def test_no_patient_is_shared_with_a_cohort_of_any_seed(knees: list[SchoolKnee]) -> None:
    people = {knee.plan.knee.participant for knee in knees}
    seeds = {knee.plan.seed for knee in knees}
    for seed in (0, 1, 3, 7):
        cohort = simulate_cohort_plan(18, seed)
        assert not people & {plan.knee.participant for plan in cohort}
        assert not seeds & {plan.seed for plan in cohort}


def test_scans_reach_past_those_of_every_hospital_on_both_sides() -> None:
    for ends, known in (
        (CT_PSF_MM, [p.psf_mm for p in ct.PROTOCOLS]),
        (CT_NOISE_HU, [p.noise_hu for p in ct.PROTOCOLS]),
    ):
        assert ends[0] < min(known) < max(known) < ends[1]


def test_every_grade_and_every_sequence_with_bright_marrow_is_drawn(knees: list[SchoolKnee]) -> None:
    assert {knee.plan.kl_grade for knee in knees} == set(range(5))
    assert {knee.scans.mr_protocol.sequence for knee in knees} == {name for name, _ in SEQUENCES}
    assert all(mr.PROTOCOLS[name].fat == "none" for name, _ in SEQUENCES)


def test_a_pose_error_turns_about_the_joint() -> None:
    plan, joint = sample_school_knee(0, 3).plan, np.array([12.0, -150.0, 900.0])
    for error in sample_pose_errors(plan, joint):
        moved = error[:3, :3] @ joint + error[:3, 3]
        assert np.linalg.norm(moved - joint) < 5 * SHIFT_MM
        np.testing.assert_allclose(error[:3, :3] @ error[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.slow
def test_the_same_knee_gives_the_same_images_and_truth() -> None:
    first, again = (image_school_knee(sample_school_knee(1, 7), SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.ct.array, again.ct.array)
    np.testing.assert_array_equal(first.mr.array, again.mr.array)
    assert first.cells == again.cells
