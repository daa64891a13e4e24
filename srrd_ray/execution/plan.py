"""What a run would do with each work item, by the very look-up of the runner; nothing runs or is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from srrd_ray import __version__
from srrd_ray.core.records import Knee, Outcome
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.sidecars import Sidecar, read_sidecar
from srrd_ray.execution.stage import AnyStage
from srrd_ray.execution.work import Result, WorkItem, success
from srrd_ray.storage.parallel import parallel_map

Action: TypeAlias = Literal["skip", "do", "redo", "retry"]
"""Skipped as up to date; never done yet; done once and to be done again; failed in the last run."""
Failed: TypeAlias = Mapping[tuple[str, Knee], Outcome]
"""The knees that failed in the last run, by stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What a run would do with a work item.

    Parameters
    ----------
    result
        What later stages have to expect of it. A knee that failed in the last run fails again: only so does
        the plan of a finished run hold nothing but what failed.
    sidecar
        That of the last time, where it was finished and is not skipped.
    redone
        The stages whose work it depends on and that are redone themselves.
    """

    item: WorkItem
    action: Action
    result: Result
    sidecar: Sidecar | None = None
    redone: tuple[str, ...] = ()


def plan_stage(graph: StageGraph, stage: AnyStage, failed: Failed) -> tuple[Planned, ...]:
    """Return what a run would do with each work item of a stage; the graph goes on as if it had been done."""
    items, redo = graph.items_of(stage)
    found = list(graph.runner.look_up(graph.layout, stage.name, items, redo))
    names = [item.name for item, result in found if result is None]
    read = parallel_map(partial(read_sidecar, graph.layout, stage.name), names, graph.layout.root)
    sidecars = dict(zip(names, read, strict=True))
    planned = tuple(
        _to_run(graph, stage, item, failed, sidecars[item.name])
        if result is None
        else Planned(item=item, action="skip", result=result)
        for item, result in found
    )
    graph.take(stage, [(one.item, one.result, one.action == "skip") for one in planned])
    return planned


def _to_run(
    graph: StageGraph, stage: AnyStage, item: WorkItem, failed: Failed, sidecar: Sidecar | None
) -> Planned:
    lost = tuple(failed[stage.name, knee] for knee in item.knees if (stage.name, knee) in failed)
    if lost and len(lost) == len(item.knees):
        return Planned(item=item, action="retry", result=Result(item=item.name, outcomes=lost))
    return Planned(
        item=item,
        action="do" if sidecar is None else "redo",
        result=_expected(stage, item, lost),
        sidecar=sidecar,
        redone=tuple(sorted(graph.redone_for(stage, item))),
    )


def _expected(stage: AnyStage, item: WorkItem, lost: tuple[Outcome, ...]) -> Result:
    """Return the result of an item that will have run, without its outputs, which nobody can know."""
    sidecar = Sidecar(
        stage=stage.name,
        item=item.name,
        input_hash=item.input_hash,
        software=__version__,
        outputs=(),
        failed=lost,
    )
    return success(item, sidecar, 0.0)
