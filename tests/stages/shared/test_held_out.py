from __future__ import annotations

from srrd_ray.core.records import Knee
from srrd_ray.stages.shared.held_out import MOST, held_out_patients

KNEES = [Knee(participant=f"{n:03}", side=side) for n in range(30) for side in ("L", "R")]


def test_a_share_of_patients_is_held_out_whatever_the_order_of_their_knees() -> None:
    found = held_out_patients(KNEES, 0.2, 7)
    assert len(found) == 6
    assert found == held_out_patients(KNEES[::-1], 0.2, 7)
    assert found != held_out_patients(KNEES, 0.2, 8)


def test_another_patient_changes_who_is_held_out_by_one_at_most() -> None:
    before, after = (set(held_out_patients(knees, 0.2, 7)) for knees in (KNEES, KNEES[:-2]))
    assert len(before ^ after) <= 2


def test_of_few_patients_one_is_held_out_of_two_none_and_never_more_than_the_most() -> None:
    assert len(held_out_patients(KNEES[:6], 0.2, 7)) == 1
    assert held_out_patients(KNEES[:4], 0.2, 7) == ()
    many = [Knee(participant=f"{n:04}", side="L") for n in range(500)]
    assert len(held_out_patients(many, 0.2, 7)) == MOST
