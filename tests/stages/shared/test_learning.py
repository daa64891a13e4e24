"""A cohort of any size is learnt from in the memory of one process: a larger one is drawn from."""

from __future__ import annotations

import json
from pathlib import Path

from srrd_ray.core.records import Knee
from srrd_ray.stages.shared.learning import Losses, read_losses, subsample

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


def test_losses_are_those_of_the_log_and_an_epoch_done_again_counts_once(tmp_path: Path) -> None:
    log = tmp_path / "epochs.jsonl"
    lines = [
        {"learner": "a", "epoch": 1, "epochs": 2, "loss": 3.0},
        {"learner": "a", "epoch": 2, "epochs": 2, "loss": 2.0},
        {"learner": "a", "epoch": 2, "epochs": 2, "loss": 1.5},
        {"learner": "b", "epoch": 1, "epochs": 1, "loss": 9.0, "other": 1.0},
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_losses(log) == Losses(
        learners={
            "a": ({"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 1.5}),
            "b": ({"epoch": 1.0, "loss": 9.0, "other": 1.0},),
        }
    )
