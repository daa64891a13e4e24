"""One unit over the whole cohort on a worker: whole tables are held there, not in the driver, whose node does no work."""

from __future__ import annotations

import logging

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from srrd_ray.cluster.foreach import Attempt, retry_plan, worker_lost
from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Produced, Task, WorkItem, run

log = logging.getLogger(__name__)


def run_remote(task: Task, unit: WorkItem, config: ClusterConfig) -> Produced:
    """Return what a unit wrote; its worker gets as many tries, and as much memory, as that of a knee does in `foreach`.

    Raises
    ------
    Exception
        As the act raised it.
    ClusterError
        `resources-missing`; `worker-lost` where the worker died in every try; `stage-stalled` where the unit did not end in
        `config.stall_seconds`.
    """
    for effort in retry_plan(task, config):
        try:
            return _tried(task, unit, effort, config.stall_seconds)
        except RayError as error:
            log.warning("%-16s lost its worker, of %d MiB: %s", task.stage, effort.memory_mb, type(error).__name__)
    raise worker_lost(config, effort)


def _tried(task: Task, unit: WorkItem, effort: Attempt, seconds: int) -> Produced:
    started = _on_worker.options(name=task.stage, memory=effort.memory, max_retries=effort.retries).remote(task, unit)
    try:
        produced: Produced = ray.get(started, timeout=seconds)
    except RayTaskError as error:
        raise error.cause from error
    except GetTimeoutError as error:
        ray.cancel(started, force=True)
        raise ClusterError(
            "stage-stalled", f"stage {task.stage} did not end in {seconds} s",
            todo="Raise cluster.stall_seconds, or look whether the cluster has a node for it; finished units are kept.",
        ) from error  # fmt: skip
    return produced


@ray.remote(num_cpus=1)
def _on_worker(task: Task, unit: WorkItem) -> Produced:
    return run(task, unit)
