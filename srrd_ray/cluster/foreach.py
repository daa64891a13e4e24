"""One function over many units of work, in parallel through Ray Data: one unit a block, so that none can stop another."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from srrd_ray.cluster.metrics import Progress
from srrd_ray.cluster.session import largest_memory, require_task
from srrd_ray.core import serial
from srrd_ray.core.errors import ClusterError, storage_lost
from srrd_ray.core.records import Fault, Outcome
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Task, WorkItem, failures, run_safely

log = logging.getLogger(__name__)

NODE_SHARE = 0.9
"""Share of the memory of the largest node that a last try gets: another node of this kind may have a little less."""
WINDOW = 4000
"""Units that are in the hands of Ray Data at once, at least."""
UNITS_PER_CPU = 20
"""So many units a CPU, where that is more: at the end of a window CPUs wait for its last units."""


def foreach(task: Task, units: Sequence[WorkItem], config: ClusterConfig) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of each unit as it ends, in no fixed order.

    A unit whose worker dies is tried again `config.task_retries` times, then once more alone on a node, and then counts as
    failed (`worker-lost`): Ray Data drops its block, and what went in is compared with what came out.

    Raises
    ------
    ClusterError
        `resources-missing`; `stage-stalled` where nothing finished for `config.stall_seconds`.
    StoreError
        As a unit met it, where every other unit would meet it too (`STORAGE_LOST`); its outcome is yielded before.
    """
    waiting = {unit.name: unit for unit in units}
    progress = Progress(task.stage, len(units))
    failed: list[Outcome] = []  # looked at when all have ended: Ray ends a process that leaves a dataset half way
    for attempt in retry_plan(task, config):
        for outcomes in _ended(task, waiting, attempt):
            progress.ended(outcomes)
            yield outcomes
            failed += [outcome for outcome in outcomes if outcome.error is not None]
        _require_storage(failed)
        if not waiting:
            return
        log.warning("%-16s %d units lost their worker, of %d MiB each", task.stage, len(waiting), attempt.memory_mb)
    for unit in waiting.values():
        lost = failures(task.stage, unit, Fault.from_error(worker_lost(config, attempt)), 0.0)
        progress.ended(lost)
        yield lost


@dataclass(frozen=True, slots=True)
class Attempt:
    """Memory in bytes that each task asks for, and how often it is tried again."""

    memory: int
    retries: int

    @property
    def memory_mb(self) -> int:
        """The memory in MiB."""
        return self.memory // 2**20


def retry_plan(task: Task, config: ClusterConfig) -> Iterator[Attempt]:
    """Yield what is tried first, and what at last: as much as a node has, for what takes too much takes its neighbours along.

    The second is looked for when it is asked for: a cluster that grows has no node of the kind before.

    Raises
    ------
    ClusterError
        `resources-missing` where no node could ever take the first.
    """
    memory = config.knee_memory_mb * 2**20
    require_task(memory, f"stage {task.stage}")
    yield Attempt(memory, config.task_retries)
    yield Attempt(max(memory, int(NODE_SHARE * largest_memory())), 0)


def _ended(task: Task, waiting: dict[str, WorkItem], attempt: Attempt) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of the units that end, which wait no more."""
    try:
        for row in (row for some in _windows(list(waiting.values())) for row in _rows(task, some, attempt)):
            waiting.pop(str(row["unit"]))
            yield serial.from_json(tuple[Outcome, ...], str(row["outcomes"]))
    except RayError as error:
        raise ClusterError(
            "stage-stalled",
            f"stage {task.stage} stopped with {len(waiting)} units open",
            got=type(error).__name__,
            todo="Run the same command again: finished units are kept.",
        ) from error


def _windows(units: Sequence[WorkItem]) -> Iterator[Sequence[WorkItem]]:
    """Yield the units, thousands at a time: Ray Data keeps about ten kilobytes of each until its dataset ends."""
    at = 0
    while at < len(units):
        size = max(WINDOW, UNITS_PER_CPU * int(ray.cluster_resources().get("CPU", 0)))
        yield units[at : at + size]
        at += size


def _rows(task: Task, units: Sequence[WorkItem], attempt: Attempt) -> Iterator[dict[str, object]]:
    def do(row: dict[str, str]) -> dict[str, str]:
        unit = serial.from_json(WorkItem, row["row"])
        return {"unit": unit.name, "outcomes": serial.to_json(run_safely(task, unit))}

    source = ray.data.from_items([{"row": serial.to_json(u)} for u in units], override_num_blocks=len(units))
    with warnings.catch_warnings():
        # Ray 2.60 wants named parameters here and names none for retries, without which a lost worker is tried for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = source.map(do, num_cpus=1, memory=attempt.memory, max_retries=attempt.retries)
    yield from results.iter_rows()


def _require_storage(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        lost = storage_lost(outcome.error.message) if outcome.error is not None else None
        if lost is not None:
            raise lost


def worker_lost(config: ClusterConfig, last: Attempt) -> ClusterError:
    """Return the error of a unit whose worker died in every try."""
    return ClusterError(
        "worker-lost",
        f"its worker died {config.task_retries + 2} times, most often for want of memory",
        got=f"{last.memory_mb} MiB, alone on a node",
        todo="Raise cluster.knee_memory_mb above that, on larger nodes, and run the same command again.",
    )
