"""The search over what distillation depends on, by Ray Tune with ASHA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar, cast

import ray
import torch
from ray import tune
from ray.exceptions import RayTaskError
from ray.remote_function import RemoteFunction
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from srrd_ray.cluster.causes import own_error
from srrd_ray.cluster.session import attainable, decide_share, require_cpus
from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError, StoreError, TrainingError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Fault
from srrd_ray.execution.config import GpuUse, TuneConfig
from srrd_ray.execution.training import Search, Trial, Tried
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import remove_tree, to_address

Setting = TypeVar("Setting")

TRIES_MORE = 2
"""How often a trial is tried again whose worker died."""
FAULT = "fault"
"""The column with the fault of a trial that diverged, as JSON."""
SETTING = "setting"
"""The key of a proposed setting in the space of its trial; those known before go by their number."""

Space: TypeAlias = Mapping[str, object]
"""What Tune knows of a trial: its number, and its setting as TensorBoard shows it."""


def search(plan: Search[Setting], config: TuneConfig, gpu: GpuUse = "auto") -> tuple[Trial[Setting], ...]:
    """Return all trials of a search, in their order; an interrupted search resumes.

    A trial that diverges fails and the others continue; one whose worker dies is retried from the start.

    Raises
    ------
    TrainingError
        `tune-failed` where every trial diverged, or one failed of something else and again when it was tried
        again.
    SrrdError
        As a trial raised it, again and again; a `StoreError` of lost storage before any other.
    StoreError
        `results-lost` where storage did not take all that the trials reported.
    """
    require_cpus(1, f"search {plan.name}")
    results = _tuner(plan, config, trial_resources(config, gpu)).fit()
    if results.num_errors:  # Tune may not have been able to keep the error itself
        raise own_error(results.errors) or _search_error(
            plan.name,
            _last_line(results.errors),
            "a trial ended with an error that its setting does not explain",
        )
    _require_kept(results, plan)
    trials = tuple(_read(result, number, plan) for number, result in _numbered(results, plan.trials))
    if not any(trial.sound for trial in trials):
        reasons = [trial.failure for trial in trials if trial.fault]
        raise _search_error(
            plan.name, reasons[0] if reasons else "no score", "every trial of the search failed"
        )
    return trials


def trial_resources(config: TuneConfig, gpu: GpuUse) -> dict[str, float]:
    """Return what a trial asks of the cluster: CPUs, and a share of a GPU where there is one."""
    cpus = float(attainable("CPU", config.cpus_per_trial, apiece=config.cpus_per_trial))
    share = decide_share(config.gpus_per_trial, gpu)
    return {"CPU": float(int(cpus)), **({"GPU": share} if share else {})}


def search_all(
    plans: Sequence[Search[Setting]], config: TuneConfig, gpu: GpuUse = "auto"
) -> Iterator[tuple[Search[Setting], tuple[Trial[Setting], ...]]]:
    """Yield each search with its trials, in order; the searches run in parallel, each in its own process.

    A search by itself is sequential (see `TuneConfig.concurrent`),
    so that its result does not depend on the others.
    """
    require_cpus(1, "the search")
    # Ray's stubs have no generics
    remote_search: RemoteFunction = ray.remote(num_cpus=0, max_retries=2)(search)  # type: ignore[assignment]
    started: list[ray.ObjectRef[tuple[Trial[Setting], ...]]] = [
        remote_search.remote(plan, config, gpu) for plan in plans
    ]
    for plan, reference in zip(plans, started, strict=True):
        try:
            trials: tuple[Trial[Setting], ...] = ray.get(reference)
        except RayTaskError as error:
            raise own_error([error]) or error from error
        yield plan, trials


def _search_error(name: str, got: str, what: str) -> TrainingError:
    return TrainingError(
        "tune-failed", what, where=name, got=got,
        todo="Run the same command again; where it fails again, change distillation.search or the data.",
    )  # fmt: skip


def _last_line(errors: Sequence[BaseException]) -> str:
    lines = str(errors[0]).strip().splitlines() if errors else []
    return lines[-1][:300] if lines else "an error that Tune could not keep"


def _tuner(plan: Search[Setting], config: TuneConfig, resources: Mapping[str, float]) -> tune.Tuner:
    """Return a tuner that begins the search, whose trials begin with the scores that they have kept.

    Tune's own state is not restored. It lacks the rungs of ASHA, so that a resumed search stops other trials
    than an undisturbed one; and of a driver that is killed it may be torn, and then trials are missing.
    """

    def trial(space: Space) -> None:
        torch.set_num_threads(config.cpus_per_trial)  # from the configuration: sums depend on it
        try:
            for score in resumed_scores(plan, _number(space), _setting(plan, space)):
                tune.report({"score": score})
        except TrainingError as error:  # it would come again: only a lost worker is worth another try
            tune.report({"score": -inf, FAULT: serial.to_line(Fault.from_error(error))})

    trial.__name__ = (
        f"trial-{plan.name}"  # Tune keeps functions by name for a whole job: searches side by side need two
    )
    path = plan.storage / plan.name
    remove_tree(path)
    return tune.Tuner(
        tune.with_resources(trial, dict(resources)),
        tune_config=_strategy(plan, config),
        run_config=_run_config(path),
    )


def _number(space: Space) -> int:
    return cast("int", space["number"])  # as `suggest` made it


def _setting(plan: Search[Setting], space: Space) -> Setting:
    number = _number(space)
    known = number < len(plan.settings)
    return plan.settings[number] if known else cast("Setting", space[SETTING])  # as proposed


class _Proposals(Searcher, Generic[Setting]):
    """Gives Tune the settings of a search one after the other: those that are known, then those proposed.

    What it knows follows from the scores in their order, so that there is nothing to save.
    """

    def __init__(self, plan: Search[Setting]) -> None:
        super().__init__(metric="score", mode="max")
        self._plan, self._begun = plan, 0
        self._running: dict[str, tuple[Setting, dict[int, float]]] = {}
        self._tried: list[Tried[Setting]] = []

    def suggest(self, trial_id: str) -> dict[str, object]:
        """Return the space of the next trial."""
        number, plan = self._begun, self._plan
        known = number < len(plan.settings)
        setting = plan.settings[number] if known else plan.proposals[number - len(plan.settings)](self._tried)
        self._begun, self._running[trial_id] = number + 1, (setting, {})
        return {"number": number, **plan.values(setting), **({} if known else {SETTING: setting})}

    def on_trial_result(self, trial_id: str, result: Mapping[str, object]) -> None:
        """Note the score of an epoch; of one that was reported twice (its worker died), the last."""
        if "score" in result:
            epoch, score = cast("int", result["training_iteration"]), cast("float", result["score"])
            self._running[trial_id][1][epoch] = score

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, object] | None = None,
        error: bool = False,
    ) -> None:
        """Note how a trial ended; one of an error ends the search."""
        self.on_trial_result(trial_id, result or {})  # of an epoch that stopped it nothing was said before
        setting, scores = self._running.pop(trial_id)
        diverged = error or not all(map(isfinite, scores.values()))
        self._tried.append((setting, () if diverged else tuple(scores[epoch] for epoch in sorted(scores))))

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: Tune's own state is not restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """The scores of a trial after every epoch so far, and the hash of them and its setting: it alone tells an
    altered digit, or that they are of another setting.
    """

    scores: tuple[float, ...] = ()
    sha256: str = ""


def resumed_scores(plan: Search[Setting], number: int, setting: Setting) -> Iterator[float]:
    """Yield the score of a setting after every epoch: those that are kept, then those that it learns.

    A search that begins again sees the same scores in the same order, and so decides the same.
    """
    path = plan.storage / f"{plan.name}.scores" / f"{number}.json"
    kept = _read_kept(path, setting)
    yield from kept
    if len(kept) >= plan.epochs:
        return
    scores: tuple[float, ...] = ()
    for score in plan.run(setting):
        scores += (score,)
        if len(scores) > len(kept):
            write_text(path, serial.to_json(_Kept(scores=scores, sha256=_hash(setting, scores))))
            yield score


def _hash(setting: Setting, scores: Sequence[float]) -> str:
    return hash_json(repr(setting), scores)


def _read_kept(path: Path, setting: Setting) -> tuple[float, ...]:
    """Return the kept scores of a setting; none where they are absent, damaged or of another."""
    try:
        kept = serial.from_json(_Kept, path.read_bytes())
    except (FileNotFoundError, ConfigError):
        return ()
    return kept.scores if kept.sha256 == _hash(setting, kept.scores) else ()


def _strategy(plan: Search[Setting], config: TuneConfig) -> tune.TuneConfig:
    return tune.TuneConfig(
        metric="score",
        mode="max",
        max_concurrent_trials=config.concurrent,
        reuse_actors=True,
        trial_dirname_creator=lambda trial: f"trial-{_number(trial.config)}",
        search_alg=_Proposals(plan),
        num_samples=plan.trials,
        scheduler=ASHAScheduler(
            max_t=plan.epochs, grace_period=config.grace_epochs, reduction_factor=config.reduction
        ),
    )


def _run_config(path: Path) -> tune.RunConfig:
    return tune.RunConfig(
        name=path.name,
        storage_path=to_address(path.parent),
        verbose=0,
        failure_config=tune.FailureConfig(max_failures=TRIES_MORE),
    )


def _require_kept(results: tune.ResultGrid, plan: Search[Setting]) -> None:
    """Refuse a search whose results are not all in storage: where that is full, Tune logs it and goes on.

    The search is removed, as Tune takes its trials for finished.
    """
    for result in (results[number] for number in range(len(results))):
        reported = int((result.metrics or {}).get("training_iteration", 0))
        frame = result.metrics_dataframe
        kept = (
            0
            if frame is None or "training_iteration" not in frame
            else int(frame["training_iteration"].max())
        )
        if kept < reported:
            remove_tree(plan.storage / plan.name)
            raise StoreError(
                "results-lost", "storage did not take all results of a search", where=plan.name,
                got=f"{kept} epochs of a trial", expected=str(reported),
                todo="Free space, check that storage can be reached, and run the same command again.",
            )  # fmt: skip


def _numbered(results: tune.ResultGrid, trials: int) -> Iterator[tuple[int, tune.Result]]:
    by_number = {_number(results[i].config or {}): results[i] for i in range(len(results))}
    yield from ((number, by_number[number]) for number in range(trials) if number in by_number)


def _read(result: tune.Result, number: int, plan: Search[Setting]) -> Trial[Setting]:
    """Return the result of a trial; of an epoch reported twice (its worker died), the last report."""
    frame, setting = result.metrics_dataframe, _setting(plan, result.config or {})
    if frame is None or "score" not in frame:
        return Trial(number=number, setting=setting, scores=(), stopped=True)
    last = frame.drop_duplicates("training_iteration", keep="last").sort_values("training_iteration")
    scores = tuple(float(score) for score in last["score"] if isfinite(score))
    failed = FAULT in last and not isfinite(last["score"].iloc[-1])
    fault = serial.from_json(Fault, str(last[FAULT].iloc[-1])) if failed else None
    stopped = len(scores) < plan.epochs
    return Trial(number=number, setting=setting, scores=scores, stopped=stopped, fault=fault)
