"""Many small questions to storage, side by side where each makes one wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from srrd_ray.storage.places import ObjectPath

STORE_THREADS = 16
DISK_THREADS = 4
"""More of them contend for the interpreter longer than the disk takes to answer."""
PROBE = 50
WAITS = 1.25
"""Seconds a second of computing from which on a disk counts as one that makes one wait: a cold one, or one over a network."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def parallel_map(ask: Callable[[Item], Answer], items: Sequence[Item], root: Path) -> list[Answer]:
    """Return what `ask` says of each item, in order; it looks at files below `root`.

    A store is asked many things at once. Of a local disk that answers from memory threads would take twice as long, so the
    first answers tell.
    """
    if isinstance(root, ObjectPath):
        return _at_once(ask, items, STORE_THREADS)
    started, computed = time.perf_counter(), time.thread_time()
    first = [ask(item) for item in items[:PROBE]]
    waits = time.perf_counter() - started > WAITS * (time.thread_time() - computed)
    rest = items[PROBE:]
    return first + (_at_once(ask, rest, DISK_THREADS) if waits else [ask(item) for item in rest])


def _at_once(ask: Callable[[Item], Answer], items: Sequence[Item], threads: int) -> list[Answer]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, items))
