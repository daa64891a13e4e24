"""A simulated cohort on disk, its knees made in parallel; the same command again goes on where it stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from srrd_ray.cluster.foreach import foreach
from srrd_ray.cluster.session import session
from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Outcome
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.sidecars import finished, key_of
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.simulation.frozen import constants_sha256
from srrd_ray.simulation.patients import Profile, SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.simulate import Scans, simulate_knee, write_tables
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger(__name__)

STAGE = "simulate"
KNEES: dict[Profile, int] = {"quick": 18, "paper": 90}
"""Of 16 and of 80 people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulate:
    """Makes the knee that a unit names."""

    out: Path
    plans: dict[str, SimulatedKnee]
    scans: Scans

    def __call__(self, unit: WorkItem) -> Produced:
        return Produced(paths=tuple(simulate_knee(self.plans[unit.name], self.out, scans=self.scans)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inputs:
    """What the files of one knee depend on."""

    plan: SimulatedKnee
    scans: Scans
    constants_sha256: str


def simulate_cohort(
    out: Path,
    *,
    knees: int | None = None,
    seed: int,
    profile: Profile,
    cluster: ClusterConfig,
    scans: Scans | None = None,
    gallery: bool = False,
) -> int:
    """Return the exit code of simulating a cohort of `knees` (`KNEES` where none) into `out`: 0, or 1 where a knee failed.

    With `gallery` also writes ``gallery.html``, a page that shows the images, the bone and the scanners.

    Raises
    ------
    ConfigError
        `knees-invalid` for fewer than two knees.
    """
    knees = KNEES[profile] if knees is None else knees
    if knees < 2:
        raise ConfigError("knees-invalid", "a cohort has two knees at least", got=str(knees))
    root, scans = out.resolve(), scans or Scans()
    with locked(root):
        plans = {plan.knee.key: plan for plan in simulate_cohort_plan(knees, seed, profile)}
        todo = [
            unit for unit in _units(plans, scans) if finished(RunLayout(root=root), STAGE, unit.name, unit.key) is None
        ]
        act = _Simulate(out=root, plans=plans, scans=scans)
        failed = (
            _make(
                Task(stage=STAGE, layout=RunLayout(root=root), act=act, shared_storage_probe=root / LOCK), todo, cluster
            )
            if todo
            else []
        )
        write_tables(tuple(plans.values()), root)
        if gallery:
            from srrd_ray.stages.gallery import write_gallery  # here: it plots, which no worker needs

            log.info("simulate: gallery in %s", write_gallery(root, tuple(plans.values())))
    log.info(
        "simulate: %d knees in %s (%d were there, %d failed)", len(plans), out, len(plans) - len(todo), len(failed)
    )
    return 1 if failed else 0


def _units(plans: dict[str, SimulatedKnee], scans: Scans) -> list[WorkItem]:
    constants = constants_sha256()
    return [
        WorkItem(
            name=name,
            key=key_of(STAGE, serial.to_json(_Inputs(plan=plan, scans=scans, constants_sha256=constants)), []),
            knees=(plan.knee,),
        )
        for name, plan in plans.items()
    ]


def _make(task: Task, todo: list[WorkItem], cluster: ClusterConfig) -> list[Outcome]:
    failed: list[Outcome] = []
    with session(cluster):
        for number, (outcome,) in enumerate(foreach(task, todo, cluster), start=1):
            words = outcome.error.message if outcome.error else f"{outcome.seconds:.1f} s"
            knee = outcome.knee.key if outcome.knee else ""
            log.info("simulate %3d/%d  %s  %s  %s", number, len(todo), knee, outcome.status, words)
            failed += [outcome] if outcome.error else []
    return failed
