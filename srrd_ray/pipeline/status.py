"""Where a run stands, from its files alone: nothing is written, no Ray is needed, and one folder is listed at most.

A stage that has ended stands in ``run.json`` with all its outcomes. Of the stage that goes on ``run.json`` knows nothing yet: its
finished units are counted by their sidecars, so that its failed units are not known before its end.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import STAGES, STATUSES, Outcome, RunState, StageName, StageTime, Status
from srrd_ray.execution.lock import Owner, owner_of
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import list_sizes, modified_times

Phase: TypeAlias = Literal["running", "interrupted", "finished", "stopped"]
StageState: TypeAlias = Literal["ended", "running", "interrupted", "stopped", "waiting", "not asked"]
Of: TypeAlias = Literal["knees", "shards", "cohort"]

Tally: TypeAlias = Counter[tuple[str, Status]]
"""Outcomes by stage and status."""

OF: dict[StageName, Of] = {
    "ingest": "knees", "synthesize": "knees", "register": "knees", "measure": "knees", "patches": "shards", "predict": "shards",
}  # fmt: skip
"""What the units of a stage are; a stage that is not named here has one, the cohort."""
SCHEMA = "srrd-run/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """What is read of ``run.json``; its other parts may be of any version."""

    state: RunState
    exit_code: int | None
    software: str
    stages: tuple[StageTime, ...]
    outcomes: tuple[Outcome, ...]
    knees: int | None = None
    until: StageName = "report"
    python: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageStatus:
    """How far a stage is, counted in `of`: `skipped` stood before it began, `left` is still to do; null is not known."""

    stage: StageName
    state: StageState
    of: Of
    done: int
    skipped: int
    failed: int | None
    left: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """Where a run stands. `exit_code` is what it ended with, `owner` who works on it or did, `changed` when it last wrote its book."""

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
        """What `srrd status` ends with: the code of the run, 0 while it goes on, 3 where it was interrupted."""
        match self.phase:
            case "running":
                return 0
            case "interrupted":
                return 3
            case _:
                return (1 if self.failed else 0) if self.exit_code is None else self.exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """What was read of a run: its book (empty where absent or torn), and when that was written (ns; 0 where absent)."""

    layout: RunLayout
    book: Book
    changed_ns: int

    @property
    def knees(self) -> int | None:
        """The knees of the cohort: as told, else those that the first stage met."""
        first = len({o.knee for o in self.book.outcomes if o.stage == STAGES[0] and o.knee is not None})
        return self.book.knees if self.book.knees is not None else first or None

    def units(self, name: StageName) -> int | None:
        """The units of a stage that has not ended, without the knees that failed before it."""
        if name not in OF:
            return 1
        if self.knees is None:
            return None
        before = STAGES[: STAGES.index(name)]
        lost = {o.knee for o in self.book.outcomes if o.status == "failed" and o.stage in before} - {None}
        if OF[name] == "knees":
            return self.knees - len(lost)
        return -(-self.knees // self.per_shard) if self.per_shard else None

    @property
    def per_shard(self) -> int | None:
        """The knees of a shard, where the configuration tells."""
        patches = self.book.config.get("patches")
        found = patches.get("knees_per_shard") if isinstance(patches, Mapping) else None
        return found if isinstance(found, int) and found > 0 else None

    def finished(self, name: StageName) -> list[int]:
        """The times (ns) at which the finished units of a stage were finished."""
        folder = self.layout.sidecar(name, "any").parent
        return [changed for file, changed in modified_times(folder) if file.endswith(".json")]


def read_status(layout: RunLayout) -> RunStatus:
    """Return where the run in a folder stands.

    Raises
    ------
    ConfigError
        `not-a-run` where there is neither a book, nor a lock, nor a finished unit; `run-version` for a book of another version.
    """
    owner, seen = owner_of(layout.root), read_files(layout)
    if owner is None and not seen.changed_ns and not (layout.root / ".state").is_dir():
        raise ConfigError(
            "not-a-run", "no run.json, no lock and no finished unit lie there", where=layout.root.name,
            expected="the --out of srrd run", todo="Give the folder of a run.",
        )  # fmt: skip
    phase = _phase(seen.book, owner)
    return RunStatus(
        run=str(layout.root),
        phase=phase,
        exit_code=seen.book.exit_code,
        software=seen.book.software,
        knees=seen.knees,
        changed=seen.changed_ns / 1e9 or None,
        owner=owner,
        stages=_stages(seen, phase),
        failed=tuple(outcome for outcome in seen.book.outcomes if outcome.status == "failed"),
        report=str(layout.report) if layout.report.is_file() else None,
    )


def read_files(layout: RunLayout) -> RunFiles:
    """Return the book of a run with its time.

    Raises
    ------
    ConfigError
        `run-version` for a book of another version.
    """
    empty = Book(state="running", exit_code=None, software="", stages=(), outcomes=())
    try:
        text, changed_ns = layout.run_json.read_text(encoding="utf-8"), list_sizes(layout.run_json)[0][2]
        data = json.loads(text)
    except FileNotFoundError:
        return RunFiles(layout=layout, book=empty, changed_ns=0)
    except ValueError:  # torn: the sidecars say more than nothing
        return RunFiles(layout=layout, book=empty, changed_ns=changed_ns)
    return RunFiles(layout=layout, book=_book(data, layout), changed_ns=changed_ns)


def _book(data: object, layout: RunLayout) -> Book:
    found = data.get("schema") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or found != SCHEMA:
        raise ConfigError(
            "run-version", "run.json is of another version", where=layout.root.name, got=str(found)[:64],
            expected=SCHEMA, todo="Ask the version of SRRD-Ray that made the run.",
        )  # fmt: skip
    return serial.from_mapping(Book, {one.name: data[one.name] for one in fields(Book) if one.name in data})


def _phase(book: Book, owner: Owner | None) -> Phase:
    if book.state != "running":
        return book.state
    return "running" if owner is not None and not owner.stale else "interrupted"


def _stages(seen: RunFiles, phase: Phase) -> tuple[StageStatus, ...]:
    """Return the stages in their order; the first that has not ended goes on, or is where the run stopped."""
    times = {one.stage: one.seconds for one in seen.book.stages}
    counts: Tally = Counter((o.stage, o.status) for o in seen.book.outcomes if o.knee is not None or o.stage not in OF)
    asked = STAGES[: STAGES.index(seen.book.until) + 1]
    ended = [name for name in STAGES if name in times] if seen.book.software else _ended_before(seen)
    current = next((name for name in asked if name not in ended), None)

    def one(name: StageName) -> StageStatus:
        if name in times:
            return _ended(name, counts, times[name])
        if name in ended:
            return _by_sidecars(name, seen, "ended")
        if name not in asked or phase == "finished":
            return StageStatus(
                stage=name, state="not asked", of=_of(name), done=0, skipped=0, failed=0, left=0, seconds=None
            )
        if name != current:
            return _waiting(name, seen)
        return _stopped(name, seen, counts) if phase == "stopped" else _by_sidecars(name, seen, phase)

    return tuple(one(name) for name in STAGES)


def _ended_before(seen: RunFiles) -> list[StageName]:
    """Return the stages before the last that has a finished unit: all that can be known without a book."""
    begun = [name for name in STAGES if seen.finished(name)]
    return list(STAGES[: STAGES.index(begun[-1])]) if begun else []


def _of(name: StageName) -> Of:
    return OF.get(name, "cohort")


def _ended(name: StageName, counts: Tally, seconds: float) -> StageStatus:
    done, skipped, failed = (counts[name, status] for status in STATUSES)
    of: Of = "knees" if name in OF else "cohort"  # a shard has an outcome for each of its knees
    return StageStatus(
        stage=name, state="ended", of=of, done=done, skipped=skipped, failed=failed, left=0, seconds=seconds
    )


def _waiting(name: StageName, seen: RunFiles) -> StageStatus:
    return StageStatus(
        stage=name, state="waiting", of=_of(name), done=0, skipped=0, failed=0, left=seen.units(name), seconds=None
    )


def _stopped(name: StageName, seen: RunFiles, counts: Tally) -> StageStatus:
    done, skipped, failed = (counts[name, status] for status in STATUSES)
    total = seen.units(name) if OF.get(name) != "shards" else seen.units("measure")
    left = None if total is None else max(total - done - skipped - failed, 0)
    of: Of = "knees" if name in OF else "cohort"
    return StageStatus(
        stage=name, state="stopped", of=of, done=done, skipped=skipped, failed=failed, left=left, seconds=None
    )


def _by_sidecars(name: StageName, seen: RunFiles, state: Literal["ended", "running", "interrupted"]) -> StageStatus:
    """Return the counts of a stage that is not in the book: a unit that was finished before it began counts as skipped."""
    times = seen.finished(name)
    skipped = sum(when < seen.changed_ns for when in times) if seen.book.software else 0
    total = seen.units(name)
    left = None if total is None else max(total - len(times), 0)
    seconds = time.time() - seen.changed_ns / 1e9 if state == "running" and seen.book.software else None
    return StageStatus(
        stage=name, state=state, of=_of(name), done=len(times) - skipped, skipped=skipped, failed=None, left=left,
        seconds=seconds,
    )  # fmt: skip
