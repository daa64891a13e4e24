from __future__ import annotations

import pytest

from srrd_ray.simulation import school, shifted
from srrd_ray.simulation.patients import simulate_cohort_plan


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (shifted.CT.slice_mm, school.CT_SLICE_MM),
        (shifted.CT.pixel_mm, school.CT_PIXEL_MM),
        (shifted.CT.psf_mm, school.CT_PSF_MM),
        (shifted.CT.overshoot, school.CT_OVERSHOOT),
        (shifted.CT.noise_hu, school.CT_NOISE_HU),
        (shifted.CT.energy_kev, school.CT_KEV),
        (shifted.CT.cupping_hu, school.CT_CUPPING_HU),
        (shifted.BANDWIDTH, school.BANDWIDTH),
        (shifted.FLATNESS, school.FLATNESS),
        (shifted.STRETCH, (1.0, 2.2)),
    ],
)  # fmt: skip
def test_the_school_drew_nothing_of_it(value: float, drawn: tuple[float, float]) -> None:
    assert not drawn[0] <= value <= drawn[1]


def test_its_sequence_is_none_of_the_schools_and_shows_marrow_bright() -> None:
    assert shifted.MR.sequence not in {name for name, _ in school.SEQUENCES}
    assert shifted.MR.fat == "none"


def test_patients_are_the_plans_and_their_bone_has_another_texture() -> None:
    plan = simulate_cohort_plan(4, 9, "quick")[0]
    knee = shifted.sample_shifted_knee(plan)
    assert knee.plan is plan
    assert knee.micro is not None
    assert knee.micro.bandwidth == shifted.BANDWIDTH
    assert {region.stretch for bone in knee.micro.regions for region in bone} == {shifted.STRETCH}
    assert knee.scans.ct_protocol == shifted.CT
