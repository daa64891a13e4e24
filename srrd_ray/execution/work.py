"""How one unit of work is carried out: whole, recorded, and never able to stop another unit.

Ray-free on purpose: a plain `for` loop over `perform` gives the same bytes as the cluster does.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from srrd_ray import __version__
from srrd_ray.core.errors import StoreError
from srrd_ray.core.records import CohortKnee, Fault, Knee, Outcome
from srrd_ray.execution.sidecars import Sidecar, describe, mark_done
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkItem:
    """One piece of work of a stage: a knee, a shard of knees, or (`knees` empty) the whole cohort. `key` names its inputs.

    `source` is the knee as the cohort holds it, `shard` the one that its cubes lie in, `folds` those of the patients of a
    shard, where the stage asks for them: so no task carries the whole cohort with it, or reads of all of it.
    """

    name: str
    key: str
    knees: tuple[Knee, ...] = ()
    source: CohortKnee | None = None
    shard: str = ""
    folds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Produced:
    """What a unit wrote, and which of its knees failed while the others went on."""

    paths: tuple[Path, ...]
    failed: tuple[Outcome, ...] = ()


SHARED_S = 10.0
"""Network file systems show a new file to other machines after some seconds."""

Act: TypeAlias = Callable[[WorkItem], Produced]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One stage, ready to be carried out for any of its units, here or on another machine.

    `shared_storage_probe` is a file that the driver made: a machine that does not see it does not share the storage of the run.
    """

    stage: str
    layout: RunLayout
    act: Act
    shared_storage_probe: Path | None = None


def run_safely(task: Task, unit: WorkItem) -> tuple[Outcome, ...]:
    """Return one outcome for each knee of the unit (one without a knee for a unit over the cohort)."""
    started = time.monotonic()
    try:
        produced = run(task, unit)
    except Exception as error:  # the one place where a failure becomes an outcome
        log.debug("%s %s failed", task.stage, unit.name, exc_info=True)
        return failures(task.stage, unit, Fault.from_error(error), time.monotonic() - started)
    return outcomes_of(task.stage, unit, produced.failed, time.monotonic() - started)


def _require_shared(task: Task) -> None:
    until = time.monotonic() + SHARED_S
    while task.shared_storage_probe is not None and not task.shared_storage_probe.exists():
        if time.monotonic() > until:
            raise StoreError(
                "output-not-shared", "this machine does not see the folder of the run", where=platform.node(),
                todo="Put --out on storage that every node mounts at the same path, or on s3://.",
            )  # fmt: skip
        time.sleep(0.5)


def run(task: Task, unit: WorkItem) -> Produced:
    """Return what the unit wrote, after its sidecar was written; errors of the act pass through.

    Raises
    ------
    StoreError
        `output-not-shared` on a machine that does not share the storage of the run.
    """
    _require_shared(task)
    produced = task.act(unit)
    mark_done(task.layout, _sidecar(task, unit, produced))
    return produced


def failures(stage: str, unit: WorkItem, fault: Fault, seconds: float) -> tuple[Outcome, ...]:
    """Return the failed outcomes of a unit that produced nothing."""
    return tuple(
        Outcome(knee=knee, stage=stage, status="failed", seconds=seconds, error=fault) for knee in unit.knees or (None,)
    )


def outcomes_of(
    stage: str, unit: WorkItem, failed: tuple[Outcome, ...], seconds: float, *, skipped: bool = False
) -> tuple[Outcome, ...]:
    """Return the outcomes of a unit that stands: those in `failed` as they are, all other knees done (or skipped)."""
    bad = {outcome.knee for outcome in failed}
    share = seconds / max(len(unit.knees), 1)
    good = tuple(
        Outcome(knee=knee, stage=stage, status="skipped" if skipped else "done", seconds=share)
        for knee in unit.knees or (None,)
        if knee not in bad
    )
    return good + failed


def _sidecar(task: Task, unit: WorkItem, produced: Produced) -> Sidecar:
    return Sidecar(
        stage=task.stage,
        unit=unit.name,
        key=unit.key,
        software=__version__,
        outputs=describe(task.layout.root, produced.paths),
        failed=produced.failed,
    )
