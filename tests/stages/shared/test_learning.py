"""A cohort of any size is learnt from in the memory of one process: a larger one is drawn from."""

from __future__ import annotations

from srrd_ray.core.records import Knee
from srrd_ray.stages.shared.learning import subsample

KNEES = tuple(Knee(participant=f"{number:03d}", side="L") for number in range(40))


def test_a_cohort_that_fits_is_learnt_from_whole() -> None:
    assert subsample(KNEES, 40, 1) == KNEES


def test_a_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    drawn = subsample(KNEES, 10, 1)
    assert len(drawn) == 10
    assert drawn == tuple(sorted(drawn))
    assert set(subsample(KNEES[::-1], 10, 1)) == set(drawn)
    assert subsample(KNEES, 10, 2) != drawn


def test_a_larger_draw_holds_the_smaller_one() -> None:
    assert set(subsample(KNEES, 10, 1)) < set(subsample(KNEES, 20, 1))
