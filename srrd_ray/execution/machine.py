"""CPUs and memory as this process may use them: those of the machine within the limits of its control group.

Containers and batch systems set such limits; what the machine has beyond them is not there for the process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")


def usable_cpus(root: Path = ROOT) -> float:
    """Return the CPUs that this process may run on, or the quota of its control group where that is less."""
    quotas = [quota for folder in _groups(root, "cpu") for quota in _cpu_quota(folder)]
    return min([float(_affinity()), *quotas])


def usable_memory(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that this process could take now; null where the system does not say."""
    left = [free for folder in _groups(root, "memory") for free in _memory_left(folder)]
    info = _words(root / "proc/meminfo")
    left += [1024 * int(info[at + 1]) for at, word in enumerate(info) if word == "MemAvailable:"]
    return max(min(left), 0) if left else None


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, each with those above it, in both versions."""
    base = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = base / controller if controllers else base
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _cpu_quota(folder: Path) -> Iterator[float]:
    first_version = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    quota = _words(folder / "cpu.max") or first_version
    if len(quota) == 2 and quota[0].isdigit():  # else `max`, or -1
        yield int(quota[0]) / int(quota[1])


def _memory_left(folder: Path) -> Iterator[int]:
    """Yield the limit of a group less what it uses; files that it has read could make room."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        numbers = _words(folder / limit) + _words(folder / usage)
        if len(numbers) == 2 and numbers[0].isdigit():
            yield int(numbers[0]) - int(numbers[1]) + _reclaimable(folder)


def _reclaimable(folder: Path) -> int:
    pairs = [line.split() for line in _lines(folder / "memory.stat")]
    found = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []
