"""Ray Tune searches: ASHA stops bad settings, the best one wins, and the same search gives the same answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from ray.tune import registry as tune_registry

from srrd_ray.cluster.tuning import resumed_scores, search, search_all
from srrd_ray.core.errors import StoreError, TrainingError
from srrd_ray.execution.config import ClusterConfig, TuneConfig
from srrd_ray.execution.training import Search, Trial, winner

pytestmark = [pytest.mark.training, pytest.mark.slow]

SETTINGS = (0.5, 0.1, 0.9, 0.2)


def climb(setting: float) -> Iterator[float]:
    yield from (setting * (epoch + 1) for epoch in range(5))


def fall_over(setting: float) -> Iterator[float]:
    raise TrainingError("loss-not-finite", "the loss is not finite", got=str(setting))
    yield 0.0


def climb_and_die_once(marker: Path, setting: float) -> Iterator[float]:
    for epoch, score in enumerate(climb(setting)):
        if setting == SETTINGS[0] and epoch == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield score


Trials: TypeAlias = tuple[Trial[float], ...]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """Two searches side by side, the second of them alone, and the first with a worker that was killed."""

    together: tuple[Trials, ...]
    alone: Trials
    hit: Trials
    died: bool
    kept: list[str]
    """The names under which Tune kept the functions of the last two."""


@pytest.fixture(scope="module")
def searched(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    root, kept, register = tmp_path_factory.mktemp("searched"), [], tune_registry.register_trainable

    def noted(name: str, trainable: Callable[..., object], warn: bool = True) -> None:
        kept.append(name)
        register(name, trainable, warn)

    def plan(
        name: str, settings: tuple[float, ...], run: Callable[[float], Iterator[float]]
    ) -> Search[float]:
        return Search(name=name, settings=settings, run=run, epochs=5, storage=root)

    both = [plan("s0", SETTINGS, climb), plan("s1", SETTINGS[1:], climb)]
    together = tuple(trials for _, trials in search_all(both, TuneConfig(trials=4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.tune.experiment.experiment.register_trainable", noted)
        alone = search(plan("alone", SETTINGS[1:], climb), TuneConfig())
        hit = search(plan("hit", SETTINGS, partial(climb_and_die_once, root / "died")), TuneConfig())
    return Searched(together=together, alone=alone, hit=hit, died=(root / "died").exists(), kept=kept)


def test_asha_stops_the_worst_and_the_best_setting_wins(searched: Searched) -> None:
    trials = searched.together[0]
    assert [t.setting for t in trials] == list(SETTINGS)
    assert winner(trials).setting == 0.9
    assert winner(trials).scores[-1] == pytest.approx(4.5)
    assert trials[1].stopped
    assert len(trials[1].scores) < 5
    assert not trials[0].stopped


def test_a_killed_trial_is_tried_again_and_changes_nothing(searched: Searched) -> None:
    assert searched.died
    assert searched.hit == searched.together[0]


def test_searches_side_by_side_give_what_each_gives_alone(searched: Searched) -> None:
    assert searched.together[1] == searched.alone
    assert len(searched.together[0]) == len(SETTINGS)


def noting(folder: Path, setting: float) -> Iterator[float]:
    """Note that a setting is learnt."""
    (folder / str(setting)).touch()
    yield from climb(setting)


def interrupted(storage: Path, run: Callable[[float], Iterator[float]]) -> Search[float]:
    """A search that was killed in its second trial while Tune wrote its state, as ray#58179 tells it."""
    plan = Search(name="torn", settings=SETTINGS, run=run, epochs=5, storage=storage)
    for number, epochs in ((0, 5), (1, 1)):
        scores = resumed_scores(plan, number)
        for _ in range(epochs):
            next(scores)
    for name in ("tuner.pkl", "experiment_state-2026-01-01_00-00-00.json"):
        path = storage / "torn" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return plan


def test_an_interrupted_search_ends_as_an_undisturbed_one_and_learns_no_finished_trial_again(
    searched: Searched, tmp_path: Path
) -> None:
    plan = interrupted(tmp_path, partial(noting, tmp_path))
    for path in tmp_path.glob("0.*"):
        path.unlink()
    assert search(plan, TuneConfig()) == searched.together[0]
    assert {path.name for path in tmp_path.glob("0.*")} == {str(setting) for setting in SETTINGS[1:]}


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda data: data[:-9], lambda data: data.replace(b"1.5", b"1.6")]
)
def test_a_trial_whose_kept_scores_are_damaged_learns_them_again(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    plan = interrupted(tmp_path, climb)
    kept = tmp_path / "torn.scores" / "0.json"
    kept.write_bytes(damage(kept.read_bytes()))
    assert list(resumed_scores(plan, 0)) == list(climb(SETTINGS[0]))


def test_no_two_searches_share_the_name_under_which_tune_keeps_their_function(searched: Searched) -> None:
    assert len(set(searched.kept)) == len(searched.kept) == 2


def test_a_search_in_which_every_trial_fails_says_so(cluster: ClusterConfig, tmp_path: Path) -> None:
    plan = Search(name="fall", settings=SETTINGS[:2], run=fall_over, epochs=5, storage=tmp_path)
    with pytest.raises(TrainingError, match=r"every trial of the search failed.*loss-not-finite"):
        search(plan, TuneConfig(trials=2, cpus_per_trial=1))


def climb_or_diverge(setting: float) -> Iterator[float]:
    for epoch, score in enumerate(climb(setting)):
        if setting == 0.9 and epoch == 3:
            raise TrainingError("loss-not-finite", "the loss is not finite")
        yield score


def on_a_full_disk(setting: float) -> Iterator[float]:
    yield setting
    if setting == SETTINGS[1]:
        raise StoreError("output-full", "the output takes no more bytes", todo="Free space.")


def test_44_a_search_in_which_one_trial_has_no_storage_stops_and_is_not_won_by_the_others(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    plan = Search(name="full", settings=SETTINGS, run=on_a_full_disk, epochs=5, storage=tmp_path)
    with pytest.raises(StoreError, match=r"output-full.*Free space\."):
        search(plan, TuneConfig())


def test_53_a_trial_that_diverges_is_marked_and_never_wins(cluster: ClusterConfig, tmp_path: Path) -> None:
    trials = search(
        Search(name="d", settings=SETTINGS, run=climb_or_diverge, epochs=5, storage=tmp_path), TuneConfig()
    )
    assert trials[2].scores == pytest.approx((0.9, 1.8, 2.7))
    assert "loss-not-finite" in trials[2].failure
    assert winner(trials).setting == 0.5
