"""Many work items in parallel through Ray Data: one work item a block, so that none can stop another."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence

import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from srrd_ray.cluster.retries import Attempt, retry_plan, worker_killed_error
from srrd_ray.core import serial
from srrd_ray.core.errors import ClusterError, is_storage_lost
from srrd_ray.core.records import Fault
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Result, Task, WorkItem, failure, run_safely

log = logging.getLogger(__name__)

WINDOW = 4000
"""Work items in one dataset of Ray Data, at least."""
ITEMS_PER_CPU = 20
"""Work items in one dataset for each CPU, where that is more: CPUs wait for its last items."""


NAMED = 4
"""Open work items that an error names."""


def spread(task: Task, items: Sequence[WorkItem], config: ClusterConfig) -> Iterator[Result]:
    """Yield the result of each item as it ends, in no fixed order.

    An item whose worker dies is tried again `config.task_retries` times, then once more alone on a node, and
    then counts as failed (`worker-lost`): Ray Data drops its block, and what went in is compared with what
    came out.

    Raises
    ------
    ClusterError
        `resources-missing`; `stage-stalled` where nothing finished for `config.stall_seconds`.
    StoreError
        As an item met it, where every other item would meet it too (`STORAGE_LOST`); its result is yielded
        before.
    """
    waiting = {item.name: item for item in items}
    # raised when all have ended: Ray ends a process that leaves a dataset half way
    lost: Fault | None = None
    for attempt in retry_plan(task, config):
        for result in _results(task, waiting, attempt, config.stall_seconds):
            yield result
            lost = next((o.error for o in result.outcomes if o.error and is_storage_lost(o.error)), lost)
        if lost is not None:
            raise lost.as_error()
        if not waiting:
            return
        log.warning(
            "%-16s %d items lost their worker, of %d MiB each", task.stage, len(waiting), attempt.memory_mb
        )
    for item in waiting.values():
        yield failure(task.stage, item, Fault.from_error(worker_killed_error(config, attempt)), 0.0)


def _results(
    task: Task, waiting: dict[str, WorkItem], attempt: Attempt, stall_seconds: int
) -> Iterator[Result]:
    """Yield the results of the items that end, and remove them from `waiting`."""
    try:
        for window in _windows(list(waiting.values())):
            for result in _map(task, window, attempt):
                del waiting[result.item]
                yield result
    except ExecutionTimeoutError as error:
        # Ray Data sees that blocks move, and not that a worker is busy
        raise _stalled(
            task, waiting, f"nothing ended for {stall_seconds} s",
            "Run the same command again: finished work is kept. Where a work item takes longer than that, "
            "raise cluster.stall_seconds first; where one never ends, leave its knee out of knees.tsv and "
            "add --overwrite.",
        ) from error  # fmt: skip
    except RayError as error:
        raise _stalled(
            task, waiting, type(error).__name__, "Run the same command again: finished work is kept."
        ) from error


def _stalled(task: Task, waiting: dict[str, WorkItem], got: str, todo: str) -> ClusterError:
    """Return the error of a stage that stopped; it names the open items that began first."""
    first = ", ".join(list(waiting)[:NAMED])
    what = f"stage {task.stage} stopped with {len(waiting)} work items open, the first of them {first}"
    return ClusterError("stage-stalled", what, got=got, todo=todo)


def _windows(items: Sequence[WorkItem]) -> Iterator[Sequence[WorkItem]]:
    """Yield the items, thousands at a time.

    Ray Data keeps about ten kilobytes of each until its dataset ends.
    """
    start = 0
    while start < len(items):
        size = max(WINDOW, ITEMS_PER_CPU * int(ray.cluster_resources().get("CPU", 0)))
        yield items[start : start + size]
        start += size


def _map(task: Task, items: Sequence[WorkItem], attempt: Attempt) -> Iterator[Result]:
    def run_row(row: dict[str, str]) -> dict[str, str]:
        return {"result": serial.to_json(run_safely(task, serial.from_json(WorkItem, row["item"])))}

    source = ray.data.from_items(
        [{"item": serial.to_json(item)} for item in items], override_num_blocks=len(items)
    )
    with warnings.catch_warnings():
        # Ray 2.60 wants named parameters here and names none for retries,
        # without which a killed worker is tried for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        results = source.map(run_row, num_cpus=1, memory=attempt.memory, max_retries=attempt.retries)
    for row in results.iter_rows():
        yield serial.from_json(Result, str(row["result"]))
