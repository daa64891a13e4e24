"""Work items that each make the data of one simulated knee, for what learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.work import Task, WorkItem

LEAST: Final = 0.9
"""Share of the knees that must be there: fewer mean that something is wrong with the machine."""


def make_items(runner: Runner, task: Task, items: Sequence[WorkItem]) -> frozenset[str]:
    """Return the names of the items whose data are there, made where they were not.

    Raises
    ------
    ClusterError
        `school-small` where more than a tenth could not be made.
    """
    there = frozenset(
        item.name for item, result, _ in runner.run_items(task, items) if result.sidecar is not None
    )
    if len(there) < LEAST * len(items):
        raise ClusterError(
            "school-small", "too few knees were made", got=f"{len(there)} of {len(items)}",
            expected=f"{LEAST:.0%} of them", todo="Look at the failures above.",
        )  # fmt: skip
    return there
