import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.simulation.patients import simulate_cohort_plan


def test_eighteen_knees_come_from_sixteen_patients_with_both_classes() -> None:
    plans = simulate_cohort_plan(18, 1)
    assert len(plans) == 18
    assert len({p.knee for p in plans}) == 18
    assert len({p.knee.participant for p in plans}) == 16
    diseased = len({p.knee.participant for p in plans if p.oa})
    assert 6 <= diseased <= 10


def test_the_plan_is_sorted_and_a_function_of_its_seed() -> None:
    assert simulate_cohort_plan(18, 1) == simulate_cohort_plan(18, 1)
    assert simulate_cohort_plan(18, 1) != simulate_cohort_plan(18, 2)
    knees = [p.knee for p in simulate_cohort_plan(18, 1)]
    assert knees == sorted(knees)


def test_both_knees_of_a_patient_share_the_patient() -> None:
    plans = simulate_cohort_plan(36, 3)
    by_patient: dict[str, set[tuple[float, str, int]]] = {}
    for p in plans:
        by_patient.setdefault(p.knee.participant, set()).add((p.age, p.sex, p.hospital))
    assert all(len(people) == 1 for people in by_patient.values())


def test_osteoarthritis_is_grade_two_or_more() -> None:
    assert all(p.oa == int(p.kl_grade >= 2) for p in simulate_cohort_plan(40, 4))


def test_a_cohort_without_room_for_both_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="cohort-size"):
        simulate_cohort_plan(1, 1)
