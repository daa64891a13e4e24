"""One function over many units of work, in parallel through Ray Data: one unit a block, so that none can stop another."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from srrd_ray import serial
from srrd_ray.cluster.config import ClusterConfig
from srrd_ray.cluster.metrics import Progress
from srrd_ray.cluster.session import largest_memory, require_task
from srrd_ray.errors import ClusterError, storage_lost
from srrd_ray.records import Fault, Outcome
from srrd_ray.work import Task, Unit, failures, perform

log = logging.getLogger(__name__)

MORE = 4
"""How many times the memory a unit gets for its last try."""
NODE_SHARE = 0.9
"""Share of the memory of the largest node that it gets at most: another node of this kind may have a little less."""
WINDOW = 4000
"""Units that are in the hands of Ray Data at once, at least."""
UNITS_PER_CPU = 20
"""So many units a CPU, where that is more: at the end of a window CPUs wait for its last units."""


def foreach(task: Task, units: Sequence[Unit], config: ClusterConfig) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of each unit as it ends, in no fixed order.

    A unit whose worker dies is tried again `config.task_retries` times, then once more with `MORE` times the memory (as far
    as a node has it), and then counts as failed (`worker-lost`): Ray Data drops its block, and what went in is compared with
    what came out.

    Raises
    ------
    ClusterError
        `resources-missing`; `stage-stalled` where nothing finished for `config.stall_seconds`.
    StoreError
        As a unit met it, where every other unit would meet it too (`STORAGE_LOST`); its outcome is yielded before.
    """
    first, last = efforts(config)
    require_task(first.memory, f"stage {task.stage}")
    waiting = {unit.name: unit for unit in units}
    progress = Progress(task.stage, len(units))
    failed: list[Outcome] = []  # looked at when all have ended: Ray ends a process that leaves a dataset half way
    for outcomes in _ended(task, waiting, first):
        progress.ended(outcomes)
        yield outcomes
        failed += [outcome for outcome in outcomes if outcome.error is not None]
    _require_storage(failed)
    if waiting:
        words = "%-16s %d units lost their worker: once more with %d MiB"
        log.warning(words, task.stage, len(waiting), last.memory // 2**20)
    for outcomes in _ended(task, waiting, last):
        progress.ended(outcomes)
        yield outcomes
    for unit in waiting.values():
        lost = failures(task.stage, unit, _lost(config, last.memory), 0.0)
        progress.ended(lost)
        yield lost


@dataclass(frozen=True, slots=True)
class Effort:
    """Memory in bytes that each task asks for, and how often it is tried again."""

    memory: int
    retries: int


def efforts(config: ClusterConfig) -> tuple[Effort, Effort]:
    """Return what is tried first, and what at last, with `MORE` times the memory, or as much as nodes have."""
    memory = config.knee_memory_mb * 2**20
    more = max(memory, min(MORE * memory, int(NODE_SHARE * largest_memory())))
    return Effort(memory, config.task_retries), Effort(more, 0)


def _ended(task: Task, waiting: dict[str, Unit], effort: Effort) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of the units that end, which wait no more."""
    try:
        for row in (row for some in _windows(list(waiting.values())) for row in _rows(task, some, effort)):
            waiting.pop(str(row["unit"]))
            yield serial.from_json(tuple[Outcome, ...], str(row["outcomes"]))
    except RayError as error:
        raise ClusterError(
            "stage-stalled",
            f"stage {task.stage} stopped with {len(waiting)} units open",
            got=type(error).__name__,
            todo="Run the same command again: finished units are kept.",
        ) from error


def _windows(units: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
    """Yield the units, thousands at a time: Ray Data keeps about ten kilobytes of each until its dataset ends."""
    at = 0
    while at < len(units):
        size = max(WINDOW, UNITS_PER_CPU * int(ray.cluster_resources().get("CPU", 0)))
        yield units[at : at + size]
        at += size


def _rows(task: Task, units: Sequence[Unit], effort: Effort) -> Iterator[dict[str, object]]:
    def do(row: dict[str, str]) -> dict[str, str]:
        unit = serial.from_json(Unit, row["row"])
        return {"unit": unit.name, "outcomes": serial.to_json(perform(task, unit))}

    source = ray.data.from_items([{"row": serial.to_json(u)} for u in units], override_num_blocks=len(units))
    with warnings.catch_warnings():
        # Ray 2.60 wants named parameters here and names none for retries, without which a lost worker is tried for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = source.map(do, num_cpus=1, memory=effort.memory, max_retries=effort.retries)
    yield from results.iter_rows()


def _require_storage(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        lost = storage_lost(outcome.error.message) if outcome.error is not None else None
        if lost is not None:
            raise lost


def _lost(config: ClusterConfig, memory: int) -> Fault:
    return Fault(code="worker-lost", message=f"[worker-lost] {worker_lost(config, memory)}.")


def worker_lost(config: ClusterConfig, memory: int) -> str:
    """Return what to say of a unit whose worker died in every try, the last one with `memory` bytes."""
    return (
        f"its worker died {config.task_retries + 2} times, most often for want of memory: got {memory // 2**20} MiB the last "
        "time. Raise cluster.knee_memory_mb (on larger nodes) and run the same command again"
    )
