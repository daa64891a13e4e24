"""The one runner of work items, for `run`, `simulate`, `measure` and `infer` alike.

It skips what is up to date and runs the rest. The executor is connected at the first item that needs work, so
that a finished run is recognised in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from srrd_ray.execution.events import Event, ItemEnded, Listener, StageEnded, StageStarted
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.sidecars import find_all_up_to_date
from srrd_ray.execution.work import Result, Task, WorkItem, run, success
from srrd_ray.storage.layout import RunLayout

Where: TypeAlias = Literal["spread", "one worker", "here"]
"""How items run: spread over all workers, or one by one, on a worker or here.

They run here where they drive the cluster themselves.
"""


@dataclass(slots=True)
class Runner:
    """Runs work items and notifies its listeners.

    Parameters
    ----------
    executor
        Where items run.
    listeners
        Called with every event, in order; those of the executor come after them.
    verify
        Read every byte of finished outputs, and redo what was altered.
    """

    executor: Executor
    listeners: tuple[Listener, ...] = ()
    verify: bool = False
    _connection: ExitStack = field(default_factory=ExitStack)
    _connected: bool = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._connected = False

    def run_items(
        self,
        task: Task,
        items: Sequence[WorkItem],
        *,
        redo: frozenset[str] = frozenset(),
        where: Where = "spread",
        total: int | None = None,
    ) -> Iterator[tuple[WorkItem, Result, bool]]:
        """Yield every item with its result and whether it was skipped, those that are up to date first.

        Parameters
        ----------
        redo
            Names of items that are never up to date, e.g. because something that they depend on was done
            again.
        where
            An error of an item ends the run, unless items are spread.
        total
            Number for progress lines; the number of items where absent.
        """
        started, total = time.monotonic(), len(items) if total is None else total
        self._notify(StageStarted(stage=task.stage, items=len(items)))
        todo = []
        for item, result in self.look_up(task.layout, task.stage, items, redo):
            if result is None:
                todo.append(item)
                continue
            self._notify(ItemEnded(stage=task.stage, item=item, result=result, total=total, skipped=True))
            yield item, result, True
        by_name = {item.name: item for item in todo}
        for result in self._results(task, todo, where) if todo else ():
            item = by_name[result.item]
            self._notify(ItemEnded(stage=task.stage, item=item, result=result, total=total))
            yield item, result, False
        self._notify(StageEnded(stage=task.stage, seconds=time.monotonic() - started))

    def look_up(
        self, layout: RunLayout, stage: str, items: Sequence[WorkItem], redo: frozenset[str]
    ) -> Iterator[tuple[WorkItem, Result | None]]:
        """Yield every item with its result where it is up to date, else with null; nothing is run."""
        candidates = [item for item in items if item.name not in redo]
        wanted = {item.name: item.input_hash for item in candidates}
        found = find_all_up_to_date(layout, stage, wanted, verify=self.verify)
        for item, sidecar in zip(candidates, found, strict=True):
            yield item, None if sidecar is None else success(item, sidecar, 0.0, skipped=True)
        yield from ((item, None) for item in items if item.name in redo)

    def _results(self, task: Task, items: Sequence[WorkItem], where: Where) -> Iterator[Result]:
        if not self._connected:
            self._connection.enter_context(self.executor.connect())
            self._connected = True
        if where == "spread":
            yield from self.executor.map(task, items)
            return
        for item in items:
            started = time.monotonic()
            sidecar = run(task, item) if where == "here" else self.executor.run_remote(task, item)
            yield success(item, sidecar, time.monotonic() - started)

    def _notify(self, event: Event) -> None:
        for listener in (*self.listeners, *self.executor.listeners):
            listener(event)
