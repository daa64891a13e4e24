"""Many small requests to storage, in parallel where each has latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from srrd_ray.storage.paths import ObjectPath

STORE_THREADS = 16
DISK_THREADS = 4
"""More threads contend for the interpreter longer than the disk takes."""
PROBE = 50
WAITS = 1.25
"""Wall seconds per CPU second above which a disk counts as slow: a cold one, or one over a network."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(function: Callable[[Item], Result], items: Sequence[Item], root: Path) -> list[Result]:
    """Return `function` of each item, in order; `function` reads files below `root`.

    An object store gets many requests at once.
    On a local disk with warm caches threads would take twice as long,
    so the first items decide whether the rest run in threads.
    """
    if isinstance(root, ObjectPath):
        return _map_threaded(function, items, STORE_THREADS)
    started, computed = time.perf_counter(), time.thread_time()
    first = [function(item) for item in items[:PROBE]]
    waits = time.perf_counter() - started > WAITS * (time.thread_time() - computed)
    rest = items[PROBE:]
    return first + (
        _map_threaded(function, rest, DISK_THREADS) if waits else [function(item) for item in rest]
    )


def _map_threaded(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
