"""Where work items run: in a plain loop of this process, or in any other implementation of `Executor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from srrd_ray.execution.events import Listener
from srrd_ray.execution.sidecars import Sidecar
from srrd_ray.execution.training import Trainer
from srrd_ray.execution.work import Result, Task, WorkItem, run, run_safely


class Executor(Protocol):
    """Runs work items. `listeners` are its own, e.g. metrics; `trainer` is null where it cannot train."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What else listens to the runner's events."""
        ...

    @property
    def trainer(self) -> Trainer | None:
        """What trains and searches for stages over the whole cohort."""
        ...

    def connect(self) -> AbstractContextManager[None]:
        """Return the connection that all other calls need, opened once, when the first item needs it."""
        ...

    def map(self, task: Task, items: Sequence[WorkItem]) -> Iterator[Result]:
        """Yield the result of each item as it ends, in no fixed order; no item can stop another."""
        ...

    def run_remote(self, task: Task, item: WorkItem) -> Sidecar:
        """Return the sidecar of one item that ran on a worker; its errors are raised."""
        ...


class PlainLoop:
    """Runs one item after the other in this process.

    It is the reference that every other executor has to equal, byte for byte.
    """

    listeners: tuple[Listener, ...] = ()
    trainer: Trainer | None = None

    def connect(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def map(self, task: Task, items: Sequence[WorkItem]) -> Iterator[Result]:
        """Yield the results in the order of the items."""
        return (run_safely(task, item) for item in items)

    def run_remote(self, task: Task, item: WorkItem) -> Sidecar:
        """Return the sidecar of an item that ran here."""
        return run(task, item)
