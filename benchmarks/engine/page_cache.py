"""ray#59796: where a cgroup sets no limit, Ray's memory monitor looks at the whole machine, and may kill
workers for memory that files or others hold.

``PYTHONPATH=. python benchmarks/engine/page_cache.py FOLDER`` sets the monitor's threshold to what the
machine uses now and 2 GiB more, and carries out six small work items: beside 4 GiB of a file in FOLDER that
was just written and read (the page cache, which is no want of memory), and beside 3 GiB that another
process, which is none of Ray's, holds. FOLDER is on a disk, not in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_ray import own_cluster
from two_datasets import Write, items_of

from srrd_ray.cluster.session import session
from srrd_ray.cluster.work_items import spread
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Task
from srrd_ray.storage.layout import RunLayout

ROOM_MB, CACHE_MB, OTHER_MB = 2048, 4096, 3072
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
HOLD = """import sys, time
held = bytearray(int(sys.argv[1]) << 20)
held[::4096] = b"1" * len(held[::4096])
print("held", flush=True)
time.sleep(600)"""


def threshold() -> str:
    """Return the share of the machine's memory that is in use, and `ROOM_MB` more."""
    now = meminfo()
    return f"{1 - (now['MemAvailable:'] - ROOM_MB * 1024) / now['MemTotal:']:.4f}"


def meminfo() -> dict[str, int]:
    """Return the KiB of every line of /proc/meminfo."""
    return {line.split()[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}


@contextmanager
def cached(folder: Path) -> Iterator[None]:
    """Fill the page cache with a file."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(CACHE_MB // 64):
            file.write(os.urandom(2**20) * 64)
        file.flush()
        yield


@contextmanager
def held() -> Iterator[None]:
    """Let another process hold memory."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(OTHER_MB)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "held"
        yield
    finally:
        other.kill()
        other.wait()


def outcomes() -> str:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = ClusterConfig(knee_memory_mb=64, task_retries=1, stall_seconds=120)
        task = Task(stage="toy", layout=RunLayout(root=root), function=Write(root))
        began = time.monotonic()
        with session(config):
            results = [o for result in spread(task, items_of(6), config) for o in result.outcomes]
        counts = Counter(o.error.code if o.error else "done" for o in results)
        return f"{dict(counts)} in {time.monotonic() - began:.0f} s"


def main() -> None:
    folder = Path(sys.argv[1])
    print(
        "limits of the cgroup:", *(f"{path} {path.read_text().strip()}" for path in LIMITS if path.is_file())
    )
    now = meminfo()
    os.environ |= {
        "RAY_memory_usage_threshold": threshold(),
        "RAY_memory_monitor_refresh_ms": "100",
        "RAY_task_oom_retries": "1",
    }
    with own_cluster() as cluster:
        cluster.add_node(num_cpus=2, object_store_memory=80_000_000)
        print("nothing beside:", outcomes(), flush=True)
        with cached(folder):
            after = meminfo()
            print(
                f"page cache {(after['Cached:'] - now['Cached:']) / 1024:+.0f} MiB:", outcomes(), flush=True
            )
        with held():
            print(f"another process holds {OTHER_MB} MiB:", outcomes(), flush=True)


if __name__ == "__main__":
    main()
