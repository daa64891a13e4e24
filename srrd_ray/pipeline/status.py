"""The state of a run, from its files alone.

Nothing is written, no Ray is needed, and at most one folder is listed. A stage that has ended is in
``run.json`` with all its outcomes. Of the stage that goes on ``run.json`` holds nothing yet: its finished
work items are counted by their sidecars, so that its failed ones are not known before its end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import STATUSES, Outcome, Scope, Status
from srrd_ray.execution.lock import Owner, owner_of
from srrd_ray.pipeline.manifest import Manifest, PlannedStage, read_manifest
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import list_sizes, modified_times

Phase: TypeAlias = Literal["running", "interrupted", "finished", "stopped"]
StageState: TypeAlias = Literal["ended", "running", "interrupted", "stopped", "waiting", "not asked"]
Counted: TypeAlias = Literal["knees", "shards", "cohort"]
"""What the counts of a stage are of."""
COUNTED: dict[Scope, Counted] = {"knee": "knees", "shard": "shards", "cohort": "cohort"}

Counts: TypeAlias = Counter[tuple[str, Status]]
"""Outcomes by stage and status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStatus:
    """How far a stage is, counted in `of`; null is not known.

    `skipped` were up to date before it began, `left` are still to do. Of a knee with a `lost_bones` the other
    bone goes on.
    """

    stage: str
    state: StageState
    of: Counted
    done: int
    skipped: int
    failed: int | None
    lost_bones: int | None
    left: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """The state of a run.

    `exit_code` is what it ended with, `owner` who works on it or did, `changed` when run.json was written.
    """

    run: str
    phase: Phase
    exit_code: int | None
    software: str
    knees: int | None
    changed: float | None
    owner: Owner | None
    stages: tuple[StageStatus, ...]
    failed: tuple[Outcome, ...]
    report: str | None

    @property
    def command_code(self) -> int:
        """The exit code of `srrd status`: that of the run, 0 while it goes on, 3 where it was interrupted."""
        match self.phase:
            case "running":
                return 0
            case "interrupted":
                return 3
            case _ if self.exit_code is None:
                return 1 if self.failed else 0
            case _:
                return self.exit_code


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What was read of a run: its manifest (empty where absent or torn), and when it was written.

    The time is in ns, 0 where the manifest is absent.
    """

    layout: RunLayout
    manifest: Manifest
    changed_ns: int

    @cached_property
    def plan(self) -> tuple[PlannedStage, ...]:
        """All stages in their order: as the manifest names them, else those of this version."""
        if self.manifest.plan:
            return self.manifest.plan
        from srrd_ray.pipeline.stages import STAGES  # here: importing every stage takes seconds

        return tuple(PlannedStage(stage=stage.name, scope=stage.scope) for stage in STAGES)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all stages in their order."""
        return tuple(planned.stage for planned in self.plan)

    @property
    def asked(self) -> tuple[str, ...]:
        """The stages that the run was asked for."""
        until = self.manifest.until
        return self.names[: self.names.index(until) + 1] if until in self.names else self.names

    def scope(self, name: str) -> Scope:
        """Return what a work item of a stage covers."""
        return next(planned.scope for planned in self.plan if planned.stage == name)

    @property
    def knees(self) -> int | None:
        """The knees of the cohort: as recorded in the manifest, else those that the first stage met."""
        outcomes = self.manifest.outcomes
        first = len({o.knee for o in outcomes if o.stage == self.names[0] and o.knee is not None})
        return self.manifest.knees if self.manifest.knees is not None else first or None

    def items(self, name: str) -> int | None:
        """Return the work items of a stage that has not ended, without the knees that failed before it."""
        scope = self.scope(name)
        if scope == "cohort":
            return 1
        remaining = self.remaining(name)
        if scope == "knee" or remaining is None or self.knees is None:
            return remaining
        return -(-self.knees // self.per_shard) if self.per_shard else None

    def remaining(self, name: str) -> int | None:
        """Return the knees that did not fail before a stage."""
        before = self.names[: self.names.index(name)]
        failed = {o.lost_knee for o in self.manifest.outcomes if o.stage in before} - {None}
        return None if self.knees is None else self.knees - len(failed)

    @cached_property
    def lost_bones(self) -> Counter[str]:
        """The lost bones by stage, counted in one pass: outcomes may be millions."""
        return Counter(outcome.stage for outcome in self.manifest.outcomes if outcome.lost_bone)

    @property
    def per_shard(self) -> int | None:
        """The knees of a shard, from the configuration."""
        patches = self.manifest.config.get("patches")
        found = patches.get("knees_per_shard") if isinstance(patches, Mapping) else None
        return found if isinstance(found, int) and found > 0 else None

    def finished(self, name: str) -> list[int]:
        """Return the times (ns) at which the finished work items of a stage were finished."""
        folder = self.layout.sidecar(name, "any").parent
        return [changed for file, changed in modified_times(folder) if file.endswith(".json")]


def read_status(layout: RunLayout) -> RunStatus:
    """Return the state of the run in a folder.

    Raises
    ------
    ConfigError
        `not-a-run` where there is neither a manifest, nor a lock, nor a finished work item; `run-version` for
        a manifest of another version.
    """
    files = read_files(layout)
    watch, there = files.manifest.state == "running", files.changed_ns > 0 or layout.root.is_dir()
    owner = owner_of(layout.root, watch=watch) if there else None
    if owner is None and not files.changed_ns and not layout.state.is_dir():
        raise ConfigError(
            "not-a-run", "no run.json, no lock and no finished work is there", where=layout.root.name,
            expected="the --out of srrd run", todo="Give the folder of a run.",
        )  # fmt: skip
    phase = _phase(files.manifest, owner)
    return RunStatus(
        run=str(layout.root),
        phase=phase,
        exit_code=files.manifest.exit_code,
        software=files.manifest.software,
        knees=files.knees,
        changed=files.changed_ns / 1e9 or None,
        owner=owner,
        stages=_stages(files, phase),
        failed=tuple(outcome for outcome in files.manifest.outcomes if outcome.status == "failed"),
        report=_report(files),
    )


def _report(files: RunFiles) -> str | None:
    """Return the report of this run.

    One that is older than `run.json`, before its stage has ended, is that of an earlier run.
    """
    path = files.layout.report
    written_ns = max((changed for _, _, changed in list_sizes(path)), default=0) if path.is_file() else 0
    ended = any(one.stage == "report" for one in files.manifest.stages)
    return str(path) if written_ns and (ended or written_ns >= files.changed_ns) else None


def read_files(layout: RunLayout) -> RunFiles:
    """Return the manifest of a run with its time; a torn one counts as empty, and the sidecars remain.

    Raises
    ------
    ConfigError
        `run-version` for a manifest of another version.
    """
    try:
        found = read_manifest(layout)
    except ConfigError as error:
        if error.code != "run-torn":
            raise
        found = Manifest()
    changed_ns = 0 if found is None else list_sizes(layout.run_json)[0][2]
    return RunFiles(layout=layout, manifest=found or Manifest(), changed_ns=changed_ns)


def _phase(manifest: Manifest, owner: Owner | None) -> Phase:
    if manifest.state != "running":
        return manifest.state
    return "running" if owner is not None and not owner.stale else "interrupted"


def _stages(files: RunFiles, phase: Phase) -> tuple[StageStatus, ...]:
    """Return the stages in their order; the first that has not ended goes on, or is where the run stopped."""
    times = {one.stage: one.seconds for one in files.manifest.stages}
    ended = (
        [name for name in files.names if name in times] if files.manifest.software else _ended_before(files)
    )
    current = next((name for name in files.asked if name not in ended), None)
    counts = _counts(files)

    def status(name: str) -> StageStatus:
        if name in times:
            return _status(files, name, "ended", counts, left=0, seconds=times[name])
        if name in ended:
            return _by_sidecars(files, name, "ended")
        if name not in files.asked or phase == "finished":
            return _empty(files, name, "not asked", left=0)
        if name != current:
            return _empty(files, name, "waiting", left=files.items(name))
        # a driver that died recorded nothing of its stage
        recorded = any(stage == name for stage, _ in counts)
        if phase == "stopped" and recorded:
            return _stopped(files, name, counts)
        return _by_sidecars(files, name, phase)

    return tuple(status(name) for name in files.names)


def _counts(files: RunFiles) -> Counts:
    """Return the outcomes by stage and status.

    A stage over knees or shards may also have one for the whole cohort.
    """
    scopes = {planned.stage: planned.scope for planned in files.plan}
    outcomes = [outcome for outcome in files.manifest.outcomes if not outcome.lost_bone]
    return Counter(
        (o.stage, o.status) for o in outcomes if o.knee is not None or scopes.get(o.stage) == "cohort"
    )


def _ended_before(files: RunFiles) -> list[str]:
    """Return the stages before the last that has a finished work item.

    Without a manifest nothing else can be known.
    """
    begun = [name for name in files.names if files.finished(name)]
    return list(files.names[: files.names.index(begun[-1])]) if begun else []


def _status(
    files: RunFiles, name: str, state: StageState, counts: Counts, *, left: int | None, seconds: float | None
) -> StageStatus:
    """Return the counts of a stage by its outcomes: a shard has one for each of its knees."""
    done, skipped, failed = (counts[name, status] for status in STATUSES)
    counted: Counted = "cohort" if files.scope(name) == "cohort" else "knees"
    return StageStatus(
        stage=name,
        state=state,
        of=counted,
        done=done,
        skipped=skipped,
        failed=failed,
        lost_bones=files.lost_bones[name],
        left=left,
        seconds=seconds,
    )


def _empty(files: RunFiles, name: str, state: StageState, *, left: int | None) -> StageStatus:
    counted = COUNTED[files.scope(name)]
    return StageStatus(
        stage=name,
        state=state,
        of=counted,
        done=0,
        skipped=0,
        failed=0,
        lost_bones=0,
        left=left,
        seconds=None,
    )


def _stopped(files: RunFiles, name: str, counts: Counts) -> StageStatus:
    total = 1 if files.scope(name) == "cohort" else files.remaining(name)
    ended = sum(counts[name, status] for status in STATUSES)
    left = None if total is None else max(total - ended, 0)
    return _status(files, name, "stopped", counts, left=left, seconds=None)


def _by_sidecars(
    files: RunFiles, name: str, state: Literal["ended", "running", "interrupted", "stopped"]
) -> StageStatus:
    """Return the counts of a stage that the manifest does not hold.

    An item that was finished before the stage began was skipped.
    """
    times, in_manifest = files.finished(name), bool(files.manifest.software)
    # the manifest of a dead driver is written after its stage
    since = files.changed_ns if in_manifest and state != "stopped" else 0
    skipped = sum(when < since for when in times)
    total = files.items(name)
    left = None if total is None else max(total - len(times), 0)
    seconds = time.time() - files.changed_ns / 1e9 if state == "running" and in_manifest else None
    return StageStatus(
        stage=name, state=state, of=COUNTED[files.scope(name)], done=len(times) - skipped,
        skipped=skipped, failed=None, lost_bones=None, left=left, seconds=seconds,
    )  # fmt: skip
