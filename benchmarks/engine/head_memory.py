"""ray#65443, ray#65881: every Ray Train run keeps a detached PlacementGroupCleaner on the head; many runs at
once fill the head's memory.

``PYTHONPATH=. python benchmarks/engine/head_memory.py ["two at once"]`` trains once, three times one after
the other, and then two at once, each driven from a process of its own as runs of several people on one
cluster are. Prints how many processes of each kind there were and their memory (proportional, MiB) while
all trained, and what was left afterwards.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

from own_ray import own_ray, ray
from refused_checkpoints import Line
from watching import processes, pss_mb

from srrd_ray.cluster.training import fit
from srrd_ray.core.learner import Learner
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training

KINDS = (
    "PlacementGroupCleaner",
    "TrainController",
    "SynchronizationActor",
    "PreemptionWatcher",
    "RayTrainWorker",
)


def learners() -> Iterator[Learner]:
    yield Line()


def train(name: str, storage: Path) -> None:
    fit(
        Training(name=name, learners=learners, storage=storage),
        ClusterConfig(training_workers=1),
        lambda _: None,
    )


def seen() -> dict[str, list[float]]:
    """Return the memory of every process of Ray Train that this process or its Ray began, by kind."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for pid in processes(os.getpid(), others=False):
        title = title_of(pid)
        for kind in KINDS:
            if title.startswith(f"ray::{kind}"):
                found[kind].append(pss_mb(pid))
    return found


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def watched(work: Callable[[], None]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return what was seen at the moment with most memory, and two seconds after the work has ended."""
    most: list[dict[str, list[float]]] = [{}]
    ended = Event()

    def watch() -> None:
        while not ended.wait(1.0):
            now = seen()
            if sum(map(sum, now.values())) > sum(map(sum, most[0].values())):
                most[0] = now

    watcher = Thread(target=watch)
    watcher.start()
    work()
    ended.set()
    watcher.join()
    time.sleep(2)
    return most[0], seen()


def described(found: dict[str, list[float]]) -> str:
    return (
        ", ".join(f"{len(sizes)} {kind} {sum(sizes):.0f} MiB" for kind, sizes in found.items() if sizes)
        or "nothing"
    )


def at_once(count: int, storage: Path) -> None:
    threads = [
        Thread(target=ray.get, args=(ray.remote(num_cpus=0)(train).remote(f"at-once-{n}", storage),))
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    with own_ray(8), tempfile.TemporaryDirectory() as folder:
        works = {
            "one": lambda: train("one", Path(folder)),
            "three in turn": lambda: [train(f"turn-{n}", Path(folder)) for n in range(3)],
            "two at once": lambda: at_once(2, Path(folder)),
        }
        for name in sys.argv[1:] or works:
            most, left = watched(works[name])
            print(f"{name:<14} at most: {described(most)}; left: {described(left)}", flush=True)


if __name__ == "__main__":
    main()
