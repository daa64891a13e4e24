"""The search over distillation temperature and loss weights, by Ray Tune with ASHA."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Generic, TypeVar

import ray
import torch
from ray import tune
from ray.remote_function import RemoteFunction
from ray.tune.schedulers import ASHAScheduler

from srrd_ray.cluster.session import attainable, require_cpus
from srrd_ray.core.errors import StoreError, TrainingError, storage_lost
from srrd_ray.execution.config import TuneConfig
from srrd_ray.storage.paths import remove_tree, to_address

log = logging.getLogger(__name__)

Setting = TypeVar("Setting")

TRIES_MORE = 2
"""Retries of a trial whose worker died."""
FAILURE = "failure"
"""The column with the reason of a trial that failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial(Generic[Setting]):
    """The result of one setting: its score after every epoch, whether ASHA stopped it, and why it failed,
    if it did.
    """

    number: int
    setting: Setting
    scores: tuple[float, ...]
    stopped: bool
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search(Generic[Setting]):
    """One search: `run` yields the score (higher is better) of a setting after every epoch."""

    name: str
    settings: tuple[Setting, ...]
    run: Callable[[Setting], Iterator[float]]
    epochs: int
    storage: Path


def search(plan: Search[Setting], config: TuneConfig) -> tuple[Trial[Setting], ...]:
    """Return all trials of a search, in the order of the settings; an interrupted search resumes.

    A trial that diverges fails and the others continue; one whose worker dies is retried from the start.

    Raises
    ------
    TrainingError
        `tune-failed` where every trial diverged, or one failed for another reason in every retry.
    StoreError
        One of `STORAGE_LOST`.
    """
    require_cpus(1, f"search {plan.name}")
    cpus = int(attainable("CPU", config.cpus_per_trial, apiece=config.cpus_per_trial))
    results = _tuner(plan, config, cpus).fit()
    if results.errors:
        raise _search_error(
            plan.name, str(results.errors[0]), "a trial ended with an error that its setting does not explain"
        )
    trials = tuple(_read(result, number, plan) for number, result in _numbered(results, plan.settings))
    if not any(_has_score(trial) for trial in trials):
        reasons = [trial.failure for trial in trials if trial.failure]
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
        trials: tuple[Trial[Setting], ...] = ray.get(reference)
        yield plan, trials


def winner(trials: Sequence[Trial[Setting]]) -> Trial[Setting]:
    """Return the trial with the best last score; the earlier one where two are equal."""
    return max((t for t in trials if _has_score(t)), key=lambda t: (t.scores[-1], -t.number))


def _search_error(name: str, message: str, what: str) -> StoreError | TrainingError:
    """Return the error of a failed search: lost storage where the message of a trial reports that."""
    return storage_lost(message) or TrainingError(
        "tune-failed", what, where=name, got=message.strip().splitlines()[-1][:300],
        todo="Run the same command again; where it fails again, change distillation.search or the data.",
    )  # fmt: skip


def _has_score(trial: Trial[Setting]) -> bool:
    return bool(trial.scores) and not trial.failure


def _tuner(plan: Search[Setting], config: TuneConfig, cpus: int) -> tune.Tuner:
    """Return a new tuner, or the interrupted one restored; one whose state cannot be read starts again."""

    def trial(space: dict[str, int]) -> None:
        torch.set_num_threads(config.cpus_per_trial)  # from the configuration: sums depend on it
        try:
            for score in plan.run(plan.settings[space["number"]]):
                tune.report({"score": score})
        except TrainingError as error:  # deterministic: only a lost worker is worth a retry
            tune.report({"score": -inf, FAILURE: str(error)})

    trial.__name__ = (
        f"trial-{plan.name}"  # Tune keeps functions by name for a whole job: searches side by side need two
    )
    path = plan.storage / plan.name
    trainable = tune.with_resources(trial, {"CPU": cpus})
    if tune.Tuner.can_restore(to_address(path)):
        try:
            return tune.Tuner.restore(
                to_address(path), trainable, resume_unfinished=True, restart_errored=True
            )
        except (EOFError, ValueError, OSError):
            log.warning("search %s cannot be resumed (its state is torn): started again", plan.name)
    remove_tree(path)
    return tune.Tuner(
        trainable,
        param_space={"number": tune.grid_search(list(range(len(plan.settings))))},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            max_concurrent_trials=config.concurrent,
            reuse_actors=True,
            scheduler=ASHAScheduler(
                max_t=plan.epochs, grace_period=config.grace_epochs, reduction_factor=config.reduction
            ),
        ),
        run_config=tune.RunConfig(
            name=plan.name,
            storage_path=to_address(path.parent),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=TRIES_MORE),
        ),
    )


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
    failure = str(last[FAILURE].iloc[-1]) if FAILURE in last and not isfinite(last["score"].iloc[-1]) else ""
    stopped = len(scores) < plan.epochs
    return Trial(
        number=number, setting=plan.settings[number], scores=scores, stopped=stopped, failure=failure
    )
