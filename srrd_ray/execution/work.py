"""Work items and how one is run: whole, recorded, and never able to stop another one. No Ray here."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from srrd_ray import __version__
from srrd_ray.core.errors import StoreError
from srrd_ray.core.records import CohortKnee, Fault, Knee, Outcome
from srrd_ray.execution.sidecars import Sidecar, commit, describe
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger(__name__)

SHARED_S = 10.0
"""Network file systems show a new file to other machines after some seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkItem:
    """One piece of work of a stage: a knee, a shard of knees, or (`knees` empty) the whole cohort.

    Parameters
    ----------
    name
        Of the knee, of the shard, or ``cohort``.
    input_hash
        Of everything that its result depends on.
    knees
        The knees it is about.
    shard
        Name of the shard that holds the cubes of its knee, where its stage needs one.
    source
        The knee as the cohort holds it, where its stage declares the images as input.
    """

    name: str
    input_hash: str
    knees: tuple[Knee, ...] = ()
    shard: str = ""
    source: CohortKnee | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Produced:
    """The outputs of a work item, and those of its knees and bones that failed while the others went on."""

    paths: tuple[Path, ...]
    failed: tuple[Outcome, ...] = ()


ItemFunction: TypeAlias = Callable[[WorkItem], Produced]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A function that runs any work item of a stage, here or on another machine; it travels with every item.

    `shared_storage_probe` is a file that the driver made: a machine that does not see it does not share the
    storage of the run. `memory_mb` is what one item needs; null for the default of the cluster's
    configuration.
    """

    stage: str
    layout: RunLayout
    function: ItemFunction
    shared_storage_probe: Path | None = None
    memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of a work item: an outcome for each of its knees, its sidecar (null where it failed)."""

    item: str
    outcomes: tuple[Outcome, ...]
    sidecar: Sidecar | None = None


def run_safely(task: Task, item: WorkItem) -> Result:
    """Return the result of a work item, whatever happens: an error becomes its outcome."""
    started = time.monotonic()
    try:
        sidecar = run(task, item)
    except Exception as error:  # the one place where a failure becomes an outcome
        log.debug("%s %s failed", task.stage, item.name, exc_info=True)
        return failure(task.stage, item, Fault.from_error(error), time.monotonic() - started)
    return success(item, sidecar, time.monotonic() - started)


def run(task: Task, item: WorkItem) -> Sidecar:
    """Return the sidecar of a work item, committed after all its outputs; errors of the function are raised.

    Raises
    ------
    StoreError
        `output-not-shared` on a machine that does not share the storage of the run.
    """
    _require_shared_storage(task)
    produced = task.function(item)
    sidecar = Sidecar(
        stage=task.stage,
        item=item.name,
        input_hash=item.input_hash,
        software=__version__,
        outputs=describe(task.layout.root, produced.paths),
        failed=produced.failed,
    )
    commit(task.layout, sidecar)
    return sidecar


def failure(stage: str, item: WorkItem, fault: Fault, seconds: float) -> Result:
    """Return the result of a work item that produced nothing."""
    knees = item.knees or (None,)
    outcomes = tuple(
        Outcome(knee=k, stage=stage, status="failed", seconds=seconds, error=fault) for k in knees
    )
    return Result(item=item.name, outcomes=outcomes)


def success(item: WorkItem, sidecar: Sidecar, seconds: float, *, skipped: bool = False) -> Result:
    """Return the result of a work item with a sidecar: failed knees as recorded, others done (or skipped)."""
    bad = {outcome.lost_knee for outcome in sidecar.failed} - {None}
    good = tuple(
        Outcome(
            knee=knee,
            stage=sidecar.stage,
            status="skipped" if skipped else "done",
            seconds=seconds / max(len(item.knees), 1),
        )
        for knee in item.knees or (None,)
        if knee not in bad
    )
    return Result(item=item.name, outcomes=good + sidecar.failed, sidecar=sidecar)


def _require_shared_storage(task: Task) -> None:
    until = time.monotonic() + SHARED_S
    while task.shared_storage_probe is not None and not task.shared_storage_probe.exists():
        if time.monotonic() > until:
            raise StoreError(
                "output-not-shared", "this machine does not see the folder of the run", where=platform.node(),
                todo="Put --out on storage that every node mounts at the same path, or on s3://.",
            )  # fmt: skip
        time.sleep(0.5)
