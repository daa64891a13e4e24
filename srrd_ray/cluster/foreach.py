"""One function over many units of work, in parallel through Ray Data: one unit a block, so that none can stop another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from srrd_ray import serial
from srrd_ray.cluster.metrics import Progress
from srrd_ray.cluster.session import ClusterConfig, require_cpus
from srrd_ray.errors import ClusterError
from srrd_ray.records import Fault, Outcome
from srrd_ray.work import Task, Unit, failures, perform

WINDOW = 4000
"""Units that are in the hands of Ray Data at once, at least."""
UNITS_PER_CPU = 20
"""So many units a CPU, where that is more: at the end of a window CPUs wait for its last units."""


def foreach(task: Task, units: Sequence[Unit], config: ClusterConfig) -> Iterator[tuple[Outcome, ...]]:
    """Yield the outcomes of each unit as it ends, in no fixed order.

    A unit whose worker dies is tried again `config.task_retries` times and then counts as failed (`worker-lost`): Ray Data
    drops its block, and what went in is compared with what came out.

    Raises
    ------
    ClusterError
        `stage-stalled` where nothing finished for `config.stall_seconds`.
    """
    require_cpus(1, f"stage {task.stage}")
    waiting = {unit.name: unit for unit in units}
    progress = Progress(task.stage, len(units))
    try:
        for row in (row for some in _windows(units) for row in _rows(task, some, config)):
            unit = waiting.pop(str(row["unit"]))
            outcomes = serial.from_json(tuple[Outcome, ...], str(row["outcomes"]))
            progress.ended(outcomes)
            yield outcomes
    except RayError as error:
        raise ClusterError(
            "stage-stalled",
            f"stage {task.stage} stopped with {len(waiting)} of {len(units)} units open",
            got=type(error).__name__,
            todo="Run the same command again: finished units are kept.",
        ) from error
    for unit in waiting.values():
        lost = failures(task.stage, unit, _lost(config), 0.0)
        progress.ended(lost)
        yield lost


def _windows(units: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
    """Yield the units, thousands at a time: Ray Data keeps about ten kilobytes of each until its dataset ends."""
    at = 0
    while at < len(units):
        size = max(WINDOW, UNITS_PER_CPU * int(ray.cluster_resources().get("CPU", 0)))
        yield units[at : at + size]
        at += size


def _rows(task: Task, units: Sequence[Unit], config: ClusterConfig) -> Iterator[dict[str, object]]:
    def do(row: dict[str, str]) -> dict[str, str]:
        unit = serial.from_json(Unit, row["row"])
        return {"unit": unit.name, "outcomes": serial.to_json(perform(task, unit))}

    source = ray.data.from_items([{"row": serial.to_json(u)} for u in units], override_num_blocks=len(units))
    with warnings.catch_warnings():
        # Ray 2.60 wants named parameters here and names none for retries, without which a lost worker is tried for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = source.map(do, num_cpus=1, memory=config.knee_memory_mb * 2**20, max_retries=config.task_retries)
    yield from results.iter_rows()


def _lost(config: ClusterConfig) -> Fault:
    return Fault(
        code="worker-lost",
        message=f"[worker-lost] its worker died {config.task_retries + 1} times, most often for want of memory: "
        f"the task asks for {config.knee_memory_mb} MiB. Raise cluster.knee_memory_mb and run the same command again.",
    )
