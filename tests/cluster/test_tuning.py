"""Ray Tune searches: ASHA stops bad settings, the best one wins, and the same search gives the same answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from ray.tune import registry as tune_registry
from tensorboardX.proto import event_pb2
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from srrd_ray.cluster.tuning import resumed_scores, search, search_all, trial_resources
from srrd_ray.core.errors import ClusterError, StoreError, TrainingError
from srrd_ray.execution.config import ClusterConfig, GpuUse, TuneConfig
from srrd_ray.execution.training import Search, Trial, Tried, winner
from tests.tensorboard_files import records

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
        scores = resumed_scores(plan, number, SETTINGS[number])
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
    assert list(resumed_scores(plan, 0, SETTINGS[0])) == list(climb(SETTINGS[0]))


def test_no_setting_is_given_the_scores_of_another(tmp_path: Path) -> None:
    plan = interrupted(tmp_path, climb)
    assert list(resumed_scores(plan, 0, 0.25)) == list(climb(0.25))


def after(number: int, tried: Sequence[Tried[float]]) -> float:
    """Propose a setting that depends on what every trial before scored last."""
    return number + sum(scores[-1] for _, scores in tried if scores) / 100


def shown(setting: float) -> Mapping[str, float]:
    return {"height": setting, "depth": -setting}


def proposing(name: str, storage: Path, run: Callable[[float], Iterator[float]]) -> Search[float]:
    later = tuple(partial(after, number) for number in (1, 2))
    return Search(
        name=name, settings=SETTINGS[:2], proposals=later, run=run, epochs=5, storage=storage, values=shown
    )  # fmt: skip


def test_settings_follow_from_the_trials_that_ended_also_in_a_search_that_begins_again(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    first = search(proposing("p", tmp_path, partial(noting, tmp_path)), TuneConfig())
    tried = [(trial.setting, trial.scores) for trial in first]
    assert [trial.setting for trial in first[2:]] == [after(1, tried[:2]), after(2, tried[:3])]
    assert [len(trial.scores) for trial in first] == [5, 2, 5, 5]
    (tmp_path / "p.scores" / "3.json").unlink()
    for path in tmp_path.glob("[0-9].*"):
        path.unlink()
    assert search(proposing("p", tmp_path, partial(noting, tmp_path)), TuneConfig()) == first
    learnt = {float(path.name) for path in tmp_path.glob("[0-9].*")}
    assert first[3].setting in learnt
    assert not {first[0].setting, first[2].setting} & learnt
    for number, trial in enumerate(first):
        assert hparams(tmp_path / "p" / f"trial-{number}") >= {"number", *shown(trial.setting)}


def hparams(folder: Path) -> set[str]:
    """Return the keys that TensorBoard shows under HParams."""
    (path,) = folder.glob("events.out.tfevents.*")
    events = [event_pb2.Event.FromString(record) for record in records(path)]
    data = [
        value.metadata.plugin_data.content
        for event in events
        for value in event.summary.value
        if value.tag == "_hparams_/session_start_info"
    ]
    (start,) = (HParamsPluginData.FromString(content).session_start_info for content in data)
    return set(start.hparams)


def test_keys_of_a_search_that_knows_its_settings_are_hyperparameters_of_tensorboard(
    searched: Searched, cluster: ClusterConfig, tmp_path: Path
) -> None:
    plan = Search(name="k", settings=SETTINGS[:1], run=climb, epochs=5, storage=tmp_path, values=shown)
    (trial,) = search(plan, TuneConfig())
    assert hparams(tmp_path / "k" / "trial-0") == {"number", "height", "depth"}
    assert trial.scores == tuple(climb(SETTINGS[0]))


@pytest.mark.parametrize(("gpu", "share"), [("never", 0.5), ("auto", 0.0)])
def test_a_trial_asks_for_cpus_alone_where_no_gpu_is_wanted(
    cluster: ClusterConfig, gpu: GpuUse, share: float
) -> None:
    assert trial_resources(TuneConfig(gpus_per_trial=share), gpu) == {"CPU": 1.0}


def test_a_share_of_a_gpu_is_asked_for_where_there_is_one(
    cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TuneConfig(gpus_per_trial=0.25)
    assert trial_resources(config, "auto") == {"CPU": 1.0}
    with pytest.raises(ClusterError, match=r"\[gpu-missing\].*0\.25 a trial"):
        trial_resources(config, "require")
    here = {"CPU": 2.0, "GPU": 1.0}
    monkeypatch.setattr("srrd_ray.cluster.session.ray.cluster_resources", lambda: here)
    assert trial_resources(config, "require") == {"CPU": 1.0, "GPU": 0.25}


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
