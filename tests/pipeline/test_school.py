from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from srrd_ray.core.errors import ClusterError, InputError
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.training import Training
from srrd_ray.pipeline.school import SchoolRequest, hold_school
from srrd_ray.simulation.school import SchoolKnee, number_of
from srrd_ray.stages.shared.school_model import read_school
from tests.distillation.toys import toy
from tests.stages.small_run import drive
from tests.stages.small_school import SCHOOL, write_toy_cubes


@dataclass
class ToyCubes:
    """Writes toy cubes in place of simulated ones; `broken` knees cannot be made."""

    broken: tuple[int, ...] = ()
    made: list[int] = field(default_factory=list)

    def __call__(self, path: Path, knee: SchoolKnee) -> int:
        number = number_of(knee.plan.knee.participant)
        if number in self.broken:
            raise InputError("patches-none", "no cube has both truth and MR")
        self.made.append(number)
        write_toy_cubes(path, knee.plan.knee.participant, toy(8, seed=number))
        return 8


def fit(training: Training, log: Callable[[str], None]) -> Path:
    drive(training.learners(), training.weights)
    log("trained")
    return training.weights


def request(folder: Path, knees: int = 6) -> SchoolRequest:
    return SchoolRequest(out=folder / "out", work=folder / "work", school=replace(SCHOOL, knees=knees))


def test_a_school_is_held_and_the_same_command_again_makes_no_cube_anew(tmp_path: Path) -> None:
    cubes = ToyCubes()
    folder = hold_school(request(tmp_path), PlainLoop(), fit, cubes)
    assert sorted(cubes.made) == list(range(10))
    first = read_school(str(folder))
    assert (first.knees, first.judged_by) == (6, 4)
    more = ToyCubes()
    grown = hold_school(request(tmp_path, knees=8), PlainLoop(), fit, more)
    assert more.made == [10, 11]
    assert read_school(str(grown)).knees == 8


def test_knees_that_judge_are_never_learnt_from(tmp_path: Path) -> None:
    seen: list[str] = []

    def spy(training: Training, log: Callable[[str], None]) -> Path:
        seen.extend(learner.name for learner in training.learners())
        return fit(training, log)

    folder = hold_school(request(tmp_path), PlainLoop(), spy, ToyCubes())
    assert seen == ["reader-mr", "reader-ct"]
    card = read_school(str(folder))
    assert card.cubes == 8 * card.knees == 48


def test_a_school_that_lost_too_many_knees_stops_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"\[school-small\].*8 of 10"):
        hold_school(request(tmp_path), PlainLoop(), fit, ToyCubes(broken=(3, 7)))
    assert not (tmp_path / "out").exists()
    one_lost = hold_school(request(tmp_path), PlainLoop(), fit, ToyCubes(broken=(7,)))
    assert read_school(str(one_lost)).knees == 5
