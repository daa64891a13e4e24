"""Carries stages out: skips what stands, does the rest on the cluster, and knows what depends on what was redone.

The cluster is connected at the first unit that needs work, so that a finished run is recognised in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

from srrd_ray.cluster.foreach import foreach
from srrd_ray.cluster.metrics import Progress, wrote
from srrd_ray.cluster.session import session
from srrd_ray.io.places import listed
from srrd_ray.ledger import Ledger
from srrd_ray.records import Knee
from srrd_ray.resume import find_sidecar, finished, key_of
from srrd_ray.work import Act, Task, Unit, carry_out, outcomes_of

COHORT = "cohort"

Token: TypeAlias = tuple[str, str]
"""A unit of a stage as (stage, unit name)."""


def _as_it_is(unit: Unit) -> Unit:
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
    needs: Callable[[Unit], Iterable[Token]]
    sources: Mapping[str, str] = field(default_factory=dict)
    complete: Callable[[Unit], Unit] = _as_it_is


@dataclass(slots=True)
class Engine:
    """The state of a run while it goes on: which knees are left, what stands, what was redone.

    With `verify` nothing stands whose bytes are not those that were written.
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

    def once(self, stage: Stage, act: Act, *, on_cluster: bool = False) -> None:
        """Carry `act` out once for the whole cohort, in this process; an error ends the run."""
        started = time.monotonic()
        unit = self._unit(stage, COHORT, ())
        if not self._stands(stage, unit):
            if on_cluster:
                self._connect()
            progress = Progress(stage.name, 1)
            produced = carry_out(Task(stage=stage.name, layout=self.ledger.layout, act=act), unit)
            self._took_place(stage, unit)
            outcomes = outcomes_of(stage.name, unit, produced.failed, time.monotonic() - started)
            progress.ended(outcomes)
            self.ledger.record(outcomes, 1)
        self.ledger.close_stage(stage.name, started)

    def _spread(self, stage: Stage, units: Iterable[tuple[str, tuple[Knee, ...]]], act: Act) -> None:
        started = time.monotonic()
        named = {name: self._unit(stage, name, knees) for name, knees in units}
        with listed(self.ledger.layout.root):
            todo = [unit for unit in named.values() if not self._stands(stage, unit)]
        if todo:
            self._connect()
            task = Task(stage=stage.name, layout=self.ledger.layout, act=act)
            for outcomes in foreach(task, [stage.complete(unit) for unit in todo], self.ledger.config.cluster):
                self.ledger.record(outcomes, len(self.knees))
        for unit in todo:
            self._took_place(stage, unit)
        lost = self.ledger.lost_knees()
        self.knees = [knee for knee in self.knees if knee not in lost]
        self.ledger.close_stage(stage.name, started)

    def _unit(self, stage: Stage, name: str, knees: tuple[Knee, ...]) -> Unit:
        """Return the unit with its key, which hashes the configuration, the knees and everything that it depends on."""
        bare = Unit(name=name, key="", knees=knees)
        inputs = [self.hashes[token] for token in stage.needs(bare)]
        members = [knee.key for knee in knees]
        return Unit(
            name=name,
            key=key_of(stage.name, stage.settings, [*inputs, *members, stage.sources.get(name, "")]),
            knees=knees,
        )

    def _stands(self, stage: Stage, unit: Unit) -> bool:
        """Return whether the unit is done and nothing that it depends on was redone; its outcomes are then `skipped`."""
        if any(token in self.redone for token in stage.needs(unit)):
            return False
        sidecar = finished(self.ledger.layout, stage.name, unit.name, unit.key, verify=self.verify)
        if sidecar is None:
            return False
        self.hashes[stage.name, unit.name] = sidecar.sha256
        total = len(self.knees) if unit.knees else 1
        self.ledger.record(outcomes_of(stage.name, unit, sidecar.failed, 0.0, skipped=True), total)
        return True

    def _took_place(self, stage: Stage, unit: Unit) -> None:
        sidecar = find_sidecar(self.ledger.layout, stage.name, unit.name)
        if sidecar is not None and sidecar.key == unit.key:
            self.hashes[stage.name, unit.name] = sidecar.sha256
            self.redone.add((stage.name, unit.name))
            wrote(stage.name, sum(output.size for output in sidecar.outputs))

    def _connect(self) -> None:
        if not self.connected:
            self.cluster.enter_context(session(self.ledger.config.cluster))
            self.connected = True
