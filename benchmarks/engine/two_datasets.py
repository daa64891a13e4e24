"""ray#34042, ray#63924: several datasets at once on one cluster wait for each other: one holds what the other
was promised.

``PYTHONPATH=. python benchmarks/engine/two_datasets.py`` carries out the work items of one stage on two
CPUs, then of two stages side by side, each driven from a process of its own as two runs on one cluster are;
then of two of which the first asks for more memory than a node has left beside the other. Prints when each
began and ended, and the longest time in which none of its items ended.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from own_ray import own_cluster, ray

from srrd_ray.cluster.session import session
from srrd_ray.cluster.work_items import spread
from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.storage.layout import RunLayout

ITEMS, SECONDS = 20, 0.5


@dataclass(frozen=True)
class Write:
    """Writes one small file after half a second."""

    root: Path

    def __call__(self, item: WorkItem) -> Produced:  # noqa: D102
        time.sleep(SECONDS)
        path = self.root / f"{item.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(item.name)
        return Produced(paths=(path,))


def items_of(count: int) -> list[WorkItem]:
    """Return so many work items, one a knee."""
    knees = [Knee(participant=f"{number:03d}", side="L") for number in range(count)]
    return [WorkItem(name=knee.key, input_hash="toy", knees=(knee,)) for knee in knees]


@ray.remote(num_cpus=0)
def drive(root: Path, memory_mb: int) -> list[float]:
    """Return when the driver began, and when each item ended."""
    config = ClusterConfig(knee_memory_mb=memory_mb, stall_seconds=120)
    task = Task(stage="toy", layout=RunLayout(root=root), function=Write(root))
    times = [time.time()]
    with session(config):
        for result in spread(task, items_of(ITEMS), config):
            assert all(outcome.status == "done" for outcome in result.outcomes), result
            times.append(time.time())
    return times


def side_by_side(name: str, memories: tuple[int, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="two-") as folder:
        roots = [Path(folder) / str(number) for number in range(len(memories))]
        began = time.time()
        driven = [drive.remote(root, memory) for root, memory in zip(roots, memories, strict=True)]
        for number, times in enumerate(ray.get(driven, timeout=300)):
            longest = max(after - before for before, after in pairwise(times))
            print(
                f"{name:<28} run {number + 1}: {len(times) - 1} items, first after {times[1] - began:5.1f} s, "
                f"last after {times[-1] - began:5.1f} s, longest wait {longest:4.1f} s",
                flush=True,
            )


def main() -> None:
    with own_cluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000, memory=1024 * 2**20)
        side_by_side("one", (256,))
        side_by_side("one again", (256,))
        side_by_side("two", (256, 256))
        side_by_side("two, each most of a node", (900, 900))
        side_by_side("three", (256, 256, 256))


if __name__ == "__main__":
    main()
