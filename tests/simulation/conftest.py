from dataclasses import replace

import pytest

from srrd_ray.simulation.cohort import KneeImages, View, simulate
from srrd_ray.simulation.patients import SimulatedKnee, simulate_cohort_plan

TINY = View(ct_mm=(66.0, 14.0, 24.0), mr_mm=(60.0, 9.0, 18.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)


@pytest.fixture(scope="session")
def plan() -> SimulatedKnee:
    left = next(p for p in simulate_cohort_plan(18, 5) if p.knee.side == "L")
    return replace(left, kl_grade=1, oa=0)


@pytest.fixture(scope="session")
def tiny(plan: SimulatedKnee) -> KneeImages:
    return simulate(plan, TINY)
