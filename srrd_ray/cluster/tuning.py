"""The search over distillation temperature and loss weights, by Ray Tune with ASHA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import TypeVar

import ray
import torch
from ray import tune
from ray.exceptions import RayTaskError
from ray.remote_function import RemoteFunction
from ray.tune.schedulers import ASHAScheduler

from srrd_ray.cluster.causes import own_error
from srrd_ray.cluster.session import attainable, require_cpus
from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError, StoreError, TrainingError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Fault
from srrd_ray.execution.config import TuneConfig
from srrd_ray.execution.training import Search, Trial
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import remove_tree, to_address

Setting = TypeVar("Setting")

TRIES_MORE = 2
"""How often a trial is tried again whose worker died."""
FAULT = "fault"
"""The column with the fault of a trial that diverged, as JSON."""


def search(plan: Search[Setting], config: TuneConfig) -> tuple[Trial[Setting], ...]:
    """Return all trials of a search, in the order of the settings; an interrupted search resumes.

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
    cpus = int(attainable("CPU", config.cpus_per_trial, apiece=config.cpus_per_trial))
    results = _tuner(plan, config, cpus).fit()
    if results.num_errors:  # Tune may not have been able to keep the error itself
        raise own_error(results.errors) or _search_error(
            plan.name,
            _last_line(results.errors),
            "a trial ended with an error that its setting does not explain",
        )
    _require_kept(results, plan)
    trials = tuple(_read(result, number, plan) for number, result in _numbered(results, plan.settings))
    if not any(trial.sound for trial in trials):
        reasons = [trial.failure for trial in trials if trial.fault]
        raise _search_error(
            plan.name, reasons[0] if reasons else "no score", "every trial of the search failed"
        )
    return trials


def search_all(
    plans: Sequence[Search[Setting]], config: TuneConfig
) -> Iterator[tuple[Search[Setting], tuple[Trial[Setting], ...]]]:
    """Yield each search with its trials, in order; the searches run in parallel, each in its own process.

    A search by itself is sequential (see `TuneConfig.concurrent`),
    so that its result does not depend on the others.
    """
    require_cpus(1, "the search")
    # Ray's stubs have no generics
    remote_search: RemoteFunction = ray.remote(num_cpus=0, max_retries=2)(search)  # type: ignore[assignment]
    started: list[ray.ObjectRef[tuple[Trial[Setting], ...]]] = [
        remote_search.remote(plan, config) for plan in plans
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


def _tuner(plan: Search[Setting], config: TuneConfig, cpus: int) -> tune.Tuner:
    """Return a tuner that begins the search, whose trials begin with the scores that they have kept.

    Tune's own state is not restored. It lacks the rungs of ASHA, so that a resumed search stops other trials
    than an undisturbed one; and of a driver that is killed it may be torn, and then trials are missing.
    """

    def trial(space: dict[str, int]) -> None:
        torch.set_num_threads(config.cpus_per_trial)  # from the configuration: sums depend on it
        try:
            for score in resumed_scores(plan, space["number"]):
                tune.report({"score": score})
        except TrainingError as error:  # it would come again: only a lost worker is worth another try
            tune.report({"score": -inf, FAULT: serial.to_line(Fault.from_error(error))})

    trial.__name__ = (
        f"trial-{plan.name}"  # Tune keeps functions by name for a whole job: searches side by side need two
    )
    path = plan.storage / plan.name
    remove_tree(path)
    return tune.Tuner(
        tune.with_resources(trial, {"CPU": cpus}),
        param_space={"number": tune.grid_search(list(range(len(plan.settings))))},
        tune_config=_strategy(plan, config),
        run_config=_run_config(path),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """The scores of a trial after every epoch so far, and their hash: it alone tells an altered digit."""

    scores: tuple[float, ...] = ()
    sha256: str = ""


def resumed_scores(plan: Search[Setting], number: int) -> Iterator[float]:
    """Yield the score of a setting after every epoch: those that are kept, then those that it learns.

    A search that begins again sees the same scores in the same order, and so decides the same.
    """
    path = plan.storage / f"{plan.name}.scores" / f"{number}.json"
    kept = _read_kept(path)
    yield from kept
    if len(kept) >= plan.epochs:
        return
    scores: tuple[float, ...] = ()
    for score in plan.run(plan.settings[number]):
        scores += (score,)
        if len(scores) > len(kept):
            write_text(path, serial.to_json(_Kept(scores=scores, sha256=hash_json(scores))))
            yield score


def _read_kept(path: Path) -> tuple[float, ...]:
    """Return the kept scores of a trial; none where they are absent or damaged, and it learns anew."""
    try:
        kept = serial.from_json(_Kept, path.read_bytes())
    except (FileNotFoundError, ConfigError):
        return ()
    return kept.scores if kept.sha256 == hash_json(kept.scores) else ()


def _strategy(plan: Search[Setting], config: TuneConfig) -> tune.TuneConfig:
    return tune.TuneConfig(
        metric="score",
        mode="max",
        max_concurrent_trials=config.concurrent,
        reuse_actors=True,
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


def _numbered(results: tune.ResultGrid, settings: Sequence[Setting]) -> Iterator[tuple[int, tune.Result]]:
    by_number = {int((results[i].config or {})["number"]): results[i] for i in range(len(results))}
    yield from ((number, by_number[number]) for number in range(len(settings)) if number in by_number)


def _read(result: tune.Result, number: int, plan: Search[Setting]) -> Trial[Setting]:
    """Return the result of a trial; of an epoch reported twice (its worker died), the last report."""
    frame = result.metrics_dataframe
    if frame is None or "score" not in frame:
        return Trial(number=number, setting=plan.settings[number], scores=(), stopped=True)
    last = frame.drop_duplicates("training_iteration", keep="last").sort_values("training_iteration")
    scores = tuple(float(score) for score in last["score"] if isfinite(score))
    failed = FAULT in last and not isfinite(last["score"].iloc[-1])
    fault = serial.from_json(Fault, str(last[FAULT].iloc[-1])) if failed else None
    stopped = len(scores) < plan.epochs
    return Trial(number=number, setting=plan.settings[number], scores=scores, stopped=stopped, fault=fault)
