"""What `srrd run` would do: which work items are up to date, which would run, and why; nothing is done."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import get_args

from srrd_ray import __version__
from srrd_ray.core.errors import ConfigError
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.lock import owner_of
from srrd_ray.execution.plan import Action, Failed, Planned, plan_stage
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.stage import AnyStage, Outside
from srrd_ray.pipeline.configuration_text import shown
from srrd_ray.pipeline.manifest import Manifest, read_manifest
from srrd_ray.pipeline.manifest_writer import changed_settings
from srrd_ray.pipeline.run import Prepared, RunRequest, graph_of, prepare
from srrd_ray.pipeline.status import COUNTED
from srrd_ray.storage.layout import RunLayout

NAMED = 5
"""Work items, and settings, named for each reason."""
ACTIONS: tuple[Action, ...] = get_args(Action)
READ: dict[Outside, str] = {
    "images": "its images",
    "diagnoses": "the tables of the cohort",
    "truth": "the truth of the simulated cohort",
    "manifest": "the configuration, or which knees failed",
    "segmenter": "the network that finds bones",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What a run would do in one stage: the names of its work items by what is done with them, and why."""

    stage: AnyStage
    items: dict[tuple[Action, str], list[str]]

    def count(self, action: Action) -> int:
        """Return the number of work items with which that is done."""
        return sum(len(names) for (found, _), names in self.items.items() if found == action)


def print_plan(request: RunRequest) -> int:
    """Return 0 after printing what a run would do; nothing is written, and no Ray is started.

    Raises
    ------
    ConfigError, CohortError
        Where the run itself would be refused.
    """
    asked = prepare(request)
    asked.refuse_other_run()
    plans = plan_run(asked, verify=request.verify)
    sys.stdout.write("".join(f"{line}\n" for line in _lines(asked.layout, plans)))
    return 0


def plan_run(asked: Prepared, *, verify: bool) -> tuple[StagePlan, ...]:
    """Return what a run would do, stage by stage."""
    last = _last_run(asked.layout)
    failed: Failed = {(one.stage, one.lost_knee): one for one in last.outcomes if one.lost_knee is not None}
    manifest = asked.manifest()
    graph = graph_of(Runner(executor=PlainLoop(), verify=verify), manifest, asked.cohort)
    plans = []
    for stage in asked.stages:
        items: defaultdict[tuple[Action, str], list[str]] = defaultdict(list)
        settings = _changed(stage, last, asked)
        for one in plan_stage(graph, stage, failed):
            manifest.record(one.result.outcomes)
            items[one.action, _why(one, stage, settings)].append(one.item.name)
        plans.append(StagePlan(stage=stage, items=dict(items)))
    return tuple(plans)


def _last_run(layout: RunLayout) -> Manifest:
    """Return the manifest of the last run in a folder; an empty one where there is none that can be read."""
    with suppress(ConfigError):
        return read_manifest(layout) or Manifest()
    return Manifest()


def _changed(stage: AnyStage, last: Manifest, asked: Prepared) -> str:
    """Return the settings of a stage that differ from those of the last run, in words."""
    keys = tuple(f"{key}." for key in stage.setting_keys().values())
    changed = changed_settings(last.config, asked.config) if last.config else ()
    mine = [change for change in changed if f"{change[0]}.".startswith(keys)]
    words = [f"{key} {_value(old)}, now {_value(new)}" for key, old, new in mine[:NAMED]]
    return "; ".join(words + ([f"{len(mine) - NAMED} more settings"] if len(mine) > NAMED else []))


def _value(value: object) -> str:
    return "absent" if value is None else shown(value)


def _why(one: Planned, stage: AnyStage, settings: str) -> str:
    """Return why a work item is not skipped; `settings` are those of its stage that have changed."""
    if one.action == "skip":
        return "up to date"
    if one.action == "retry":
        return (
            f"failed last time, {', '.join(sorted({o.error.code for o in one.result.outcomes if o.error}))}"
        )
    if one.sidecar is None:
        return "not done yet"
    if one.redone:
        return f"needs {', '.join(one.redone)}, made anew"
    if one.sidecar.software != __version__:
        return f"made by SRRD-Ray {one.sidecar.software}"
    if one.sidecar.input_hash == one.item.input_hash:
        return "an output is missing or not as it was"
    return settings or f"changed: {_inputs(stage)}"


def _inputs(stage: AnyStage) -> str:
    """Return in words all that the work items of a stage read besides settings."""
    words = [READ[kind] for kind in stage.outside]
    words += [] if stage.scope == "knee" else ["the knees in it"]
    words += [f"what {', '.join(stage.needs)} made"] if stage.needs else []
    return " or ".join(words)


def _lines(layout: RunLayout, plans: Sequence[StagePlan]) -> Iterator[str]:
    yield f"run:  {layout.root}, as it would go on; nothing is done"
    owner = owner_of(layout.root, watch=False)
    if owner is not None:
        yield f"lock: process {owner.pid} on {owner.host}; what it finishes meanwhile is not in the plan"
    yield ""
    yield f"{'stage':<16} {'of':<7}" + "".join(f" {action:>7}" for action in ACTIONS)
    for one in plans:
        counts = "".join(f" {one.count(action):>7}" for action in ACTIONS)
        yield f"{one.stage.name:<16} {COUNTED[one.stage.scope]:<7}{counts}"
    yield ""
    for one in plans:
        yield from _reasons(one)
    yield _end(plans)


def _reasons(one: StagePlan) -> Iterator[str]:
    """Yield a line for each reason of what is done again."""
    for (action, why), names in one.items.items():
        if action in ("redo", "retry"):
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            named = "" if one.stage.scope == "cohort" else f": {', '.join(names[:NAMED])}{more}"
            yield f"{action} in {one.stage.name}: {why}{named}"


def _end(plans: Sequence[StagePlan]) -> str:
    if any(one.count("retry") for one in plans):
        return "a knee to retry is expected to fail again; else what depends on it is done as well"
    if all(one.count("do") == one.count("redo") == 0 for one in plans):
        return "nothing to do"
    return "do: never done; redo: done, and to be done again; skip: up to date"
