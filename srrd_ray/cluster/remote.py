"""One work item over the whole cohort, on a worker.

Whole tables are held there and not in the driver, whose node does no work.
"""

from __future__ import annotations

import logging

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from srrd_ray.cluster.retries import Attempt, retry_plan, worker_killed_error
from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.sidecars import Sidecar
from srrd_ray.execution.work import Task, WorkItem, run

log = logging.getLogger(__name__)


def run_remote(task: Task, item: WorkItem, config: ClusterConfig) -> Sidecar:
    """Return the sidecar of an item that runs on a worker.

    Its worker gets as many attempts, and as much memory, as that of a knee does in `spread`.

    Raises
    ------
    Exception
        As the function raised it.
    ClusterError
        `resources-missing`; `worker-lost` where the worker died in every attempt; `stage-stalled` where the
        item did not end in `config.stall_seconds`.
    """
    for attempt in retry_plan(task, config):
        try:
            return _try_once(task, item, attempt, config.stall_seconds)
        except RayError as error:
            log.warning(
                "%-16s lost its worker, of %d MiB: %s", task.stage, attempt.memory_mb, type(error).__name__
            )
    raise worker_killed_error(config, attempt)


def _try_once(task: Task, item: WorkItem, attempt: Attempt, seconds: int) -> Sidecar:
    remote = _run_on_worker.options(name=task.stage, memory=attempt.memory, max_retries=attempt.retries)
    started = remote.remote(task, item)
    try:
        sidecar: Sidecar = ray.get(started, timeout=seconds)
    except RayTaskError as error:
        raise error.cause from error
    except GetTimeoutError as error:
        ray.cancel(started, force=True)
        raise ClusterError(
            "stage-stalled", f"stage {task.stage} did not end in {seconds} s",
            todo="Raise cluster.stall_seconds, or look whether the cluster has a node for it; "
            "finished work is kept.",
        ) from error  # fmt: skip
    return sidecar


@ray.remote(num_cpus=1)
def _run_on_worker(task: Task, item: WorkItem) -> Sidecar:
    return run(task, item)
