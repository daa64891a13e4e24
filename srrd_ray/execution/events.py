"""The events that the runner sends to its listeners.

Manifest, metrics, progress lines and cleaning are listeners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from srrd_ray.execution.work import Result, WorkItem


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStarted:
    """A stage begins; `items` is the number of its work items."""

    stage: str
    items: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemEnded:
    """A work item ended, or was found up to date (`skipped`).

    `total` counts the knees of the stage; it is 1 for a stage over the whole cohort.
    """

    stage: str
    item: WorkItem
    result: Result
    total: int
    skipped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StageEnded:
    """All work items of a stage have ended."""

    stage: str
    seconds: float


Event: TypeAlias = StageStarted | ItemEnded | StageEnded
Listener: TypeAlias = Callable[[Event], None]
