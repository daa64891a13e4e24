"""How often a work item is tried again after its worker died, and with how much memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from srrd_ray.cluster.session import largest_memory, require_task
from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Task

NODE_SHARE = 0.9
"""Share of the largest node's memory that a last attempt gets: another such node may have a little less."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Memory in bytes that each item asks for, and how often it is tried again with that."""

    memory: int
    retries: int

    @property
    def memory_mb(self) -> int:
        """The memory in MiB."""
        return self.memory // 2**20


def retry_plan(task: Task, config: ClusterConfig) -> Iterator[Attempt]:
    """Yield the first attempt, and the last: alone on a node, with more memory.

    A work item that runs out of memory kills its neighbours. The memory of the last attempt is found when it
    is needed: a cluster that grows has no such node before.

    Raises
    ------
    ClusterError
        `resources-missing` where no node could ever take the first.
    """
    memory = (task.memory_mb or config.knee_memory_mb) * 2**20
    require_task(memory, f"stage {task.stage}")
    yield Attempt(memory, config.task_retries)
    yield Attempt(max(memory, int(NODE_SHARE * largest_memory())), 0)


def worker_killed_error(config: ClusterConfig, last: Attempt) -> ClusterError:
    """Return the error of an item whose worker died in every attempt."""
    return ClusterError(
        "worker-lost",
        f"its worker died {config.task_retries + 2} times, most often for want of memory",
        got=f"{last.memory_mb} MiB, alone on a node",
        todo="Raise cluster.knee_memory_mb above that, on larger nodes; where other programs hold their "
        "memory, end these, or give Ray's nodes a memory limit of their own. Run the same command again.",
    )
