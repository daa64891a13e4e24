"""A simulated cohort on disk, its knees made in parallel; the same command again goes on where it stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.execution.executor import Executor
from srrd_ray.execution.listeners import ProgressLog
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.simulation.frozen import constants_sha256
from srrd_ray.simulation.patients import Profile, SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.simulate import Scans, simulate_knee, write_tables
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger(__name__)

NAME = "simulate"
KNEES: dict[Profile, int] = {"quick": 18, "joint": 18, "paper": 90}
"""Of 16 and of 80 people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationRequest:
    """A cohort to simulate into `out`; `knees` is null for the size of the profile (`KNEES`).

    With `gallery` also ``gallery.html`` is written, a page that shows the images, the bone and the scanners.

    Raises
    ------
    ConfigError
        `knees-invalid` for fewer than two knees.
    """

    out: Path
    seed: int = 1
    profile: Profile = "quick"
    knees: int | None = None
    scans: Scans = field(default_factory=Scans)
    gallery: bool = False

    def __post_init__(self) -> None:
        if self.number < 2:
            raise ConfigError("knees-invalid", "a cohort has two knees at least", got=str(self.number))

    @property
    def number(self) -> int:
        """The number of knees."""
        return KNEES[self.profile] if self.knees is None else self.knees


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulate:
    """Makes the knee that a work item names."""

    out: Path
    plans: dict[str, SimulatedKnee]
    scans: Scans

    def __call__(self, item: WorkItem) -> Produced:
        return Produced(paths=tuple(simulate_knee(self.plans[item.name], self.out, scans=self.scans)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inputs:
    """What the files of one knee depend on."""

    plan: SimulatedKnee
    scans: Scans
    constants_sha256: str


def simulate_cohort(request: SimulationRequest, executor: Executor) -> int:
    """Return the exit code of simulating a cohort: 0, or 1 where a knee failed."""
    root = request.out.resolve()
    layout = RunLayout(root=root)
    with locked(root):
        plans = {p.knee.key: p for p in simulate_cohort_plan(request.number, request.seed, request.profile)}
        function = _Simulate(out=root, plans=plans, scans=request.scans)
        task = Task(stage=NAME, layout=layout, function=function, shared_storage_probe=root / LOCK)
        with Runner(executor=executor, listeners=(ProgressLog(),)) as runner:
            ended = list(runner.run_items(task, work_items(plans, request.scans)))
        write_tables(tuple(plans.values()), root)
        if request.gallery:
            from srrd_ray.stages.gallery import write_gallery  # here: it plots, which no worker needs

            log.info("%-16s gallery in %s", NAME, write_gallery(root, tuple(plans.values())))
    log.info("%-16s %d knees in %s", NAME, len(plans), request.out)
    return 1 if any(result.sidecar is None for _, result, _ in ended) else 0


def work_items(plans: dict[str, SimulatedKnee], scans: Scans) -> list[WorkItem]:
    """Return a work item for each knee.

    Its input hash covers the plan, the scans and every constant of the simulator.
    """
    constants = constants_sha256()
    return [
        WorkItem(
            name=name,
            input_hash=input_hash(
                NAME, serial.to_json(_Inputs(plan=plan, scans=scans, constants_sha256=constants)), []
            ),
            knees=(plan.knee,),
        )
        for name, plan in plans.items()
    ]
