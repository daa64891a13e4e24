"""Carries stages out: skips what stands, does the rest on the cluster, and knows what depends on what was redone.

The cluster is connected at the first unit that needs work, so that a finished run is recognised in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

from srrd_ray.cluster.foreach import foreach
from srrd_ray.cluster.metrics import Progress, wrote
from srrd_ray.cluster.remote import run_remote
from srrd_ray.cluster.session import session
from srrd_ray.core import serial
from srrd_ray.core.records import Knee
from srrd_ray.execution.lock import LOCK
from srrd_ray.execution.sidecars import finished_of, key_of, sidecars
from srrd_ray.execution.work import Act, Task, WorkItem, outcomes_of, run
from srrd_ray.pipeline.manifest import Ledger
from srrd_ray.storage.atomic import remove_partial_files

COHORT = "cohort"

Token: TypeAlias = tuple[str, str]
"""A unit of a stage as (stage, unit name)."""


def _as_it_is(unit: WorkItem) -> WorkItem:
    return unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of the pipeline.

    Parameters
    ----------
    name
        As in outcomes and sidecars.
    settings
        The configuration record that its results depend on.
    needs
        The units that a unit depends on; all of them stand when it runs.
    sources
        Hashes of inputs from outside the run, by unit.
    complete
        Adds to a unit, just before it is sent out, what its task reads besides.
    """

    name: str
    settings: object
    needs: Callable[[WorkItem], Iterable[Token]]
    sources: Mapping[str, str] = field(default_factory=dict)
    complete: Callable[[WorkItem], WorkItem] = _as_it_is


@dataclass(slots=True)
class Engine:
    """The state of a run while it goes on: which knees are left, what stands, what was redone.

    The run's folder is locked meanwhile. With `verify` nothing stands whose bytes are not those that were written.
    """

    ledger: Ledger
    knees: list[Knee]
    verify: bool = False
    hashes: dict[Token, str] = field(default_factory=dict)
    redone: set[Token] = field(default_factory=set)
    cluster: ExitStack = field(default_factory=ExitStack)
    connected: bool = False

    def each_knee(self, stage: Stage, act: Act) -> None:
        """Carry `act` out for every knee that is left; those that fail are left out of all later stages."""
        self._spread(stage, [(knee.key, (knee,)) for knee in self.knees], act)

    def each_shard(self, stage: Stage, shards: Mapping[str, tuple[Knee, ...]], act: Act) -> None:
        """Carry `act` out for every shard, with the knees of it that are left."""
        left = set(self.knees)
        units = [(name, tuple(knee for knee in knees if knee in left)) for name, knees in shards.items()]
        self._spread(stage, [(name, knees) for name, knees in units if knees], act)

    def once(self, stage: Stage, act: Act, *, here: bool = False) -> None:
        """Carry `act` out once for the whole cohort, on a worker, or `here`, where it drives the cluster; an error ends the run."""
        started = time.monotonic()
        (unit,) = self._units(stage, [(COHORT, ())])
        if self._unfinished(stage, [unit]):
            self._connect()
            progress, task = Progress(stage.name, 1), self._task(stage, act)
            produced = run(task, unit) if here else run_remote(task, unit, self.ledger.config.cluster)
            self._took_place(stage, [unit])
            outcomes = outcomes_of(stage.name, unit, produced.failed, time.monotonic() - started)
            progress.ended(outcomes)
            self.ledger.record(outcomes, 1)
        self.ledger.close_stage(stage.name, started)

    def _spread(self, stage: Stage, units: Iterable[tuple[str, tuple[Knee, ...]]], act: Act) -> None:
        started = time.monotonic()
        todo = self._unfinished(stage, self._units(stage, units))
        if todo:
            self._connect()
            task = self._task(stage, act)
            for outcomes in foreach(task, [stage.complete(unit) for unit in todo], self.ledger.config.cluster):
                self.ledger.record(outcomes, len(self.knees))
        self._took_place(stage, todo)
        lost = self.ledger.lost_knees()
        self.knees = [knee for knee in self.knees if knee not in lost]
        self.ledger.close_stage(stage.name, started)

    def _task(self, stage: Stage, act: Act) -> Task:
        layout = self.ledger.layout
        return Task(stage=stage.name, layout=layout, act=act, shared_storage_probe=layout.root / LOCK)

    def _units(self, stage: Stage, named: Iterable[tuple[str, tuple[Knee, ...]]]) -> list[WorkItem]:
        """Return the units with their keys, which hash the configuration, the knees and everything that they depend on."""
        settings = serial.to_json(stage.settings)
        units = []
        for name, knees in named:
            inputs = [self.hashes[token] for token in stage.needs(WorkItem(name=name, key="", knees=knees))]
            own = [*inputs, *(knee.key for knee in knees), stage.sources.get(name, "")]
            units.append(WorkItem(name=name, key=key_of(stage.name, settings, own), knees=knees))
        return units

    def _unfinished(self, stage: Stage, units: Sequence[WorkItem]) -> list[WorkItem]:
        """Return the units that are not done, or depend on one that was redone; the outcomes of the others are `skipped`."""
        fresh = [unit for unit in units if not any(token in self.redone for token in stage.needs(unit))]
        keys = {unit.name: unit.key for unit in fresh}
        cards = finished_of(self.ledger.layout, stage.name, keys, verify=self.verify)
        standing = set()
        for unit, sidecar in zip(fresh, cards, strict=True):
            if sidecar is not None:
                standing.add(unit.name)
                self.hashes[stage.name, unit.name] = sidecar.sha256
                total = len(self.knees) if unit.knees else 1
                self.ledger.record(outcomes_of(stage.name, unit, sidecar.failed, 0.0, skipped=True), total)
        return [unit for unit in units if unit.name not in standing]

    def _took_place(self, stage: Stage, units: Sequence[WorkItem]) -> None:
        """Take down what the units that were carried out have left, and remove what a struck worker left in their folders."""
        layout = self.ledger.layout
        folders = {layout.volume(knee, "ct").parent for unit in units for knee in unit.knees}
        for unit, sidecar in zip(units, sidecars(layout, stage.name, [u.name for u in units]), strict=True):
            if sidecar is not None and sidecar.key == unit.key:
                self.hashes[stage.name, unit.name] = sidecar.sha256
                self.redone.add((stage.name, unit.name))
                wrote(stage.name, sum(output.size for output in sidecar.outputs))
                folders |= {(layout.root / output.path).parent for output in sidecar.outputs}
        for folder in sorted(folders):
            remove_partial_files(folder)

    def _connect(self) -> None:
        if not self.connected:
            self.cluster.enter_context(session(self.ledger.config.cluster))
            self.connected = True
