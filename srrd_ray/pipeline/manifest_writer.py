"""The manifest of a run, `run.json`, kept while the run goes on, and which runs may resume in its folder."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.arithmetic import Arithmetic, here
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Fault, Outcome, RunState, StageTime
from srrd_ray.execution.events import Event, ItemEnded, StageEnded
from srrd_ray.execution.stage import AnyStage
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest import (
    SCHEMA,
    Manifest,
    PlannedStage,
    outcome_line,
    read_manifest,
    stop_outcome,
    write_manifest,
)
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.schemas import validate

log = logging.getLogger(__name__)

LIBRARIES = ("ray", "torch", "monai", "SimpleITK", "zarr", "numpy", "scipy", "numba", "scikit-learn")


@dataclass(slots=True)
class ManifestWriter:
    """A listener of the runner that keeps `run.json`, which is always whole, at the end of each stage.

    Parameters
    ----------
    require_lock
        Raises where another job has the folder by now: its `run.json` is not written over.
    lines
        The outcomes that the file has, as they are there, a line each: each is turned into text once.
    """

    layout: RunLayout
    config: RunConfig
    cohort: str
    stages: tuple[AnyStage, ...]
    knees: int | None = None
    until: str = "report"
    require_lock: Callable[[], None] = lambda: None
    outcomes: list[Outcome] = field(default_factory=list)
    times: list[StageTime] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Record an event; the end of a stage writes the file."""
        if isinstance(event, ItemEnded):
            self.record(event.result.outcomes)
        elif isinstance(event, StageEnded):
            self.close_stage(event.stage, event.seconds)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Record the outcomes of a work item."""
        self.outcomes += outcomes

    def record_stop(self, stage: str, error: BaseException) -> None:
        """Record why the run cannot go on after a stage."""
        self.record([stop_outcome(stage, Fault.from_error(error))])

    def close_stage(self, stage: str, seconds: float) -> None:
        """Record the wall time of a stage and write the file."""
        self.times.append(StageTime(stage=stage, seconds=seconds))
        self.write("running", None)

    def failed(self) -> list[Outcome]:
        """Return the failed outcomes."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    def write(self, state: RunState, exit_code: int | None) -> None:
        """Write `run.json` as of now."""
        self.require_lock()
        manifest, fresh = self._manifest(state, exit_code), self.outcomes[len(self.lines) :]
        sample = replace(manifest, outcomes=tuple(_representative_outcomes(fresh)))
        validate("run", json.loads(serial.to_json(sample)), self.layout.run_json.name)
        self.lines += map(outcome_line, fresh)
        write_manifest(self.layout, manifest, self.lines)

    def _manifest(self, state: RunState, exit_code: int | None) -> Manifest:
        return Manifest(
            state=state,
            exit_code=exit_code,
            software=__version__,
            python=platform.python_version(),
            libraries=_versions(),
            cohort=self.cohort,
            config=_plain(self.config),
            knees=self.knees,
            until=self.until,
            plan=tuple(PlannedStage(stage=stage.name, scope=stage.scope) for stage in self.stages),
            arithmetic=_arithmetic(),
            stages=tuple(self.times),
        )


def refuse_other_run(layout: RunLayout, config: RunConfig, cohort: str, *, overwrite: bool) -> None:
    """Stop where the folder holds a run of another configuration, cohort or version.

    Warn where its arithmetic was another.

    Raises
    ------
    ConfigError
        `run-differs`; with `overwrite` the run goes on and redoes what depends on the difference.
    """
    try:
        found = read_manifest(layout, outcomes=False)
    except ConfigError as error:
        if overwrite:
            return
        got = "no JSON" if error.code == "run-torn" else error.got
        raise _differs(layout, "version of SRRD-Ray", got, f"{SCHEMA}, {__version__}") from None
    if found is None:
        return
    if found.config != _plain(config) and not overwrite:
        key, old, new = next(changed_settings(found.config, config))
        raise _differs(layout, "configuration", f"{key} {old}", f"{key} {new}")
    if found.cohort != cohort and not overwrite:
        raise _differs(layout, "cohort", f"tables {found.cohort[:12]}", f"tables {cohort[:12]}")
    _warn_of_other_arithmetic(found)


def _warn_of_other_arithmetic(found: Manifest) -> None:
    """Warn once of what the last bits depend on and has changed.

    This run writes its own arithmetic into `run.json`.
    """
    now = _versions()
    versions = [
        f"{name} {old}, now {now[name]}" for name, old in found.libraries.items() if now.get(name, old) != old
    ]
    changed = (*found.arithmetic.differences(_arithmetic()), *versions)
    if changed:
        log.warning(
            "the run was begun with another arithmetic, so that what is done now may differ from what is "
            "there in its last bits (docs/running.md); a new --out has all of one kind: %s",
            "; ".join(changed),
        )


def _differs(layout: RunLayout, which: str, got: str, expected: str) -> ConfigError:
    return ConfigError(
        "run-differs",
        f"the output folder holds a run of another {which}",
        where=layout.root.name,
        got=got,
        expected=expected,
        todo="Choose a new --out, or add --overwrite to redo what differs.",
    )


def _representative_outcomes(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield the outcomes that are enough to validate all: the failed ones, and the extremes of the seconds.

    The extremes are those of each stage and status.
    """
    ends: dict[tuple[str, str, bool], tuple[Outcome, Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            yield outcome
            continue
        kind = (outcome.stage, outcome.status, outcome.knee is None)
        low, high = ends.get(kind, (outcome, outcome))
        ends[kind] = (min(low, outcome, key=_seconds), max(high, outcome, key=_seconds))
    for pair in ends.values():
        yield from pair


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds


@cache
def _arithmetic() -> Arithmetic:
    return here()


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _plain(config: RunConfig) -> dict[str, object]:
    found: dict[str, object] = json.loads(serial.to_json(config))
    return found


def changed_settings(old: dict[str, object], config: RunConfig) -> Iterator[tuple[str, object, object]]:
    """Yield the dotted key of each setting that differs from that of a manifest, and both values."""
    before, after = _flatten(old), _flatten(_plain(config))
    for key in sorted(before | after):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _flatten(data: object, prefix: str = "") -> dict[str, object]:
    """Return nested settings with dotted names."""
    if not isinstance(data, dict):
        return {prefix.rstrip("."): data}
    parts = (_flatten(part, f"{prefix}{key}.") for key, part in data.items())
    return {name: value for part in parts for name, value in part.items()}
