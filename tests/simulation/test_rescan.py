from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from srrd_ray.core.geometry import transform_points
from srrd_ray.simulation import ct
from srrd_ray.simulation.cohort import PosedKnee, image_grids, pose_knee, sample_acquisition
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan
from srrd_ray.simulation.pose import FEMUR, TIBIA
from srrd_ray.simulation.rescan import (
    CtVisit,
    Visit,
    ct_session_of,
    hospital_of,
    sample_rescanned,
    scan_visit,
)
from srrd_ray.simulation.school import sample_school_knee

from .conftest import TINY

VISITS: tuple[Visit, ...] = get_args(Visit)


@pytest.fixture(scope="module")
def knee() -> tuple[SimulatedKnee, PosedKnee]:
    plan = sample_rescanned(0, 3)
    return plan, pose_knee(plan, TINY.extent)


@pytest.fixture(scope="module")
def visits(knee: tuple[SimulatedKnee, PosedKnee]) -> dict[Visit, CtVisit]:
    return {visit: scan_visit(*knee, TINY, visit) for visit in VISITS}


def test_nobody_is_of_a_cohort_or_a_school() -> None:
    plans = [sample_rescanned(n, 7) for n in range(10)]
    cohort, school = simulate_cohort_plan(18, 7), [sample_school_knee(n, 7).plan for n in range(10)]
    assert not {p.seed for p in plans} & {p.seed for p in (*cohort, *school)}
    assert len({p.knee.participant for p in plans}) == 10


def test_the_first_visit_is_the_ct_that_the_knee_has_in_a_cohort(
    knee: tuple[SimulatedKnee, PosedKnee], visits: dict[Visit, CtVisit]
) -> None:
    plan, posed = knee
    scans, session = sample_acquisition(plan), posed.sessions["ct"]
    grid = image_grids(plan, TINY, posed.sessions, scans)["ct"]
    image = ct.acquire(posed.scene, session.bone_from_world(), grid, scans.ct_protocol, scans.ct_session)
    np.testing.assert_array_equal(visits["first"].image.array, image.array)
    assert set(np.unique(visits["first"].bones.array)) >= {1, 2}


def test_bones_are_rigid_between_visits_and_lie_otherwise(visits: dict[Visit, CtVisit]) -> None:
    points = np.random.default_rng(0).normal(0, 20, (8, 3))
    for bone in (FEMUR, TIBIA):
        placed = [transform_points(v.session.world_from_bone[bone], points) for v in visits.values()]
        for other in placed[1:]:
            assert np.linalg.norm(other - placed[0], axis=1).min() > 1
            np.testing.assert_allclose(np.linalg.norm(other - other[0], axis=1),
                                       np.linalg.norm(placed[0] - placed[0][0], axis=1))  # fmt: skip


def test_a_visit_on_the_same_day_has_the_same_scanner_and_new_noise() -> None:
    plan = sample_rescanned(4, 1)
    first, again = ct_session_of(plan, "first"), ct_session_of(plan, "repositioned")
    assert (again.seed, again.noise_factor) != (first.seed, first.noise_factor)
    assert replace(again, seed=first.seed, noise_factor=first.noise_factor) == first
    assert hospital_of(plan, "repositioned") == hospital_of(plan, "another day") == plan.hospital


def test_bone_and_marrow_are_those_of_the_patient_on_every_visit() -> None:
    plan = sample_rescanned(4, 1)
    sessions = [ct_session_of(plan, visit) for visit in VISITS]
    assert len({(s.mineral_density, s.marrow_hu) for s in sessions}) == 1
    assert len({s.drift_hu for s in sessions}) == len({s.blur for s in sessions}) == 3


def test_another_scanner_is_never_the_first_and_may_be_any_other() -> None:
    pairs = {
        (p.hospital, hospital_of(p, "another scanner")) for p in (sample_rescanned(n, 1) for n in range(200))
    }
    assert len(pairs) == 12
    assert all(here != there for here, there in pairs)
