"""The executor on Ray: work items by Ray Data, trainings by Ray Train, searches by Ray Tune."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from srrd_ray.cluster.metrics import Metrics
from srrd_ray.cluster.remote import run_remote
from srrd_ray.cluster.session import session
from srrd_ray.cluster.work_items import spread
from srrd_ray.execution.config import ClusterConfig, TuneConfig
from srrd_ray.execution.events import Listener
from srrd_ray.execution.sidecars import Sidecar
from srrd_ray.execution.training import Search, Training, Trial
from srrd_ray.execution.work import Result, Task, WorkItem

Setting = TypeVar("Setting")


class RayExecutor:
    """Runs work items on a Ray cluster: of the job, of ``RAY_ADDRESS``, or a local one for its own time."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.listeners: tuple[Listener, ...] = (Metrics(),)
        self.trainer = RayTrainer(config)

    def connect(self) -> AbstractContextManager[None]:
        """Return the connection to the cluster."""
        return session(self.config)

    def map(self, task: Task, items: Sequence[WorkItem]) -> Iterator[Result]:
        """Yield the result of each item as it ends, see `spread`."""
        return spread(task, items, self.config)

    def run_remote(self, task: Task, item: WorkItem) -> Sidecar:
        """Return the sidecar of one item that ran on a worker, see `run_remote`."""
        return run_remote(task, item, self.config)


class RayTrainer:
    """Trains by Ray Train and searches by Ray Tune.

    Both and torch are imported when they are needed: they take seconds.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config

    def fit(self, training: Training, log: Callable[[str], None]) -> Path:
        """Return the folder with the weights of every learner."""
        from srrd_ray.cluster.training import fit

        return fit(training, self.config, log)

    def search(
        self, searches: Sequence[Search[Setting]], config: TuneConfig
    ) -> Iterator[tuple[Search[Setting], tuple[Trial[Setting], ...]]]:
        """Yield each search with its trials, in order."""
        from srrd_ray.cluster.tuning import search_all

        return search_all(searches, config, self.config.gpu)
