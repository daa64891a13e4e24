"""Simulated knees of a school, each made by a work item of its own, for what learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from srrd_ray.core.errors import ClusterError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import Knee
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.execution.work import Task, WorkItem
from srrd_ray.simulation.school import participant_of

LEAST: Final = 0.9
"""Share of the knees that must be there: fewer mean that something is wrong with the machine."""


def make_knees(
    runner: Runner, task: Task, numbers: Iterable[int], depends: Sequence[object]
) -> tuple[int, ...]:
    """Return the numbers of the knees that are there, made by `task` where they were not.

    Parameters
    ----------
    task
        Makes the knee whose number is the name of its work item.
    depends
        What a knee follows from besides its number.

    Raises
    ------
    ClusterError
        `school-small` where more than a tenth could not be made.
    """
    items = [
        WorkItem(
            name=f"{number:06d}",
            input_hash=input_hash(task.stage, hash_json([number, *depends]), []),
            knees=(Knee(participant=participant_of(number), side="R"),),
        )
        for number in numbers
    ]
    ended = [(int(item.name), result) for item, result, _ in runner.run_items(task, items)]
    there = tuple(sorted(number for number, result in ended if result.sidecar is not None))
    if len(there) < LEAST * len(items):
        raise ClusterError(
            "school-small", "too few knees were made", got=f"{len(there)} of {len(items)}",
            expected=f"{LEAST:.0%} of them", todo="Look at the failures above.",
        )  # fmt: skip
    return there
