"""ray#62746: an actor of a fixed pool that ends is never replaced, and where lost blocks are allowed the
dataset waits for ever.

``PYTHONPATH=. python benchmarks/engine/dead_actors.py`` maps eight rows, of which one ends its worker,
through a pool of one actor, a pool of one to two, and tasks as `srrd_ray.cluster.work_items` uses them, all
with `max_errored_blocks=-1` and no patience beyond 20 s.
"""

from __future__ import annotations

import os
import sys
import time

import ray.data
from own_ray import own_ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import ExecutionTimeoutError

ROWS, BAD, PATIENCE_S = 8, 2, 20


class Echo:
    """Returns a row, and ends its process at one of them."""

    def __call__(self, row: dict[str, int]) -> dict[str, int]:  # noqa: D102
        if row["id"] == BAD:
            sys.exit(0)
        return row


def echo(row: dict[str, int]) -> dict[str, int]:
    if row["id"] == BAD:
        os._exit(1)
    return row


def main() -> None:
    ways = {
        "pool of one actor": lambda rows: rows.map(Echo, compute=ActorPoolStrategy(size=1)),
        "pool of one or two": lambda rows: rows.map(Echo, compute=ActorPoolStrategy(min_size=1, max_size=2)),
        "tasks, one retry": lambda rows: rows.map(echo, num_cpus=1, max_retries=1),
    }
    with own_ray():
        context = DataContext.get_current()
        context.max_errored_blocks, context.execution_no_progress_timeout_s = -1, PATIENCE_S
        context.enable_progress_bars = False
        for name, way in ways.items():
            began, end, got = time.monotonic(), "ended", 0
            try:
                for _ in way(ray.data.range(ROWS, override_num_blocks=ROWS)).iter_rows():
                    got += 1
            except ExecutionTimeoutError:
                end = "stood still"
            print(
                f"{name:<20} {end:<12} {got} of {ROWS} rows in {time.monotonic() - began:4.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
