"""ray#65152, ray#59000: Ray Data ends a dataset in which no block moved for a while, and cannot tell a long
healthy task from one that hangs.

``PYTHONPATH=. python benchmarks/engine/long_unit.py`` carries out four work items of a second and one of
half a minute, with `stall_seconds` at 15 and at 60: through Ray Data, and as one item over the cohort. Then
the long one is among the first of twenty.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from own_ray import own_ray
from two_datasets import items_of

from srrd_ray.cluster.remote import run_remote
from srrd_ray.cluster.session import session
from srrd_ray.cluster.work_items import spread
from srrd_ray.core.errors import SrrdError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.storage.layout import RunLayout

LONG_S, SHORT_S = 30.0, 1.0


@dataclass(frozen=True)
class Work:
    """Writes a file after its time; the item `long` takes `LONG_S`, busy all along."""

    root: Path
    long: str

    def __call__(self, item: WorkItem) -> Produced:  # noqa: D102
        until = time.monotonic() + (LONG_S if item.name == self.long else SHORT_S)
        while time.monotonic() < until:
            sum(range(10_000))
        path = self.root / f"{item.name}.txt"
        path.write_text(item.name)
        return Produced(paths=(path,))


def attempt(name: str, count: int, stall_s: int, *, alone: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, all_items = Path(folder), items_of(count)
        config = ClusterConfig(knee_memory_mb=64, stall_seconds=stall_s)
        task = Task(stage="toy", layout=RunLayout(root=root), function=Work(root, all_items[0].name))
        began, end = time.monotonic(), "ended"
        try:
            with session(config):
                done = (
                    [run_remote(task, all_items[0], config)]
                    if alone
                    else list(spread(task, all_items, config))
                )
            end = f"ended, {len(done)} results"
        except SrrdError as error:
            end = str(error)
        written = len(list(root.glob("*.txt")))
        print(
            f"{name}, stall_seconds {stall_s}: {written} of {1 if alone else count} in {time.monotonic() - began:.0f} s: {end}",
            flush=True,
        )
        time.sleep(LONG_S)  # until a worker that was left at work is free again


def main() -> None:
    with own_ray():
        for stall_s in (15, 60):
            attempt("one long of five", 5, stall_s)
            attempt("one over the cohort", 1, stall_s, alone=True)
        attempt("one long of forty", 40, 15)


if __name__ == "__main__":
    main()
