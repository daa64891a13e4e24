"""The manifest of a run, `run.json`: what was asked for, on which software, one outcome a knee and stage. Written and read here."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import version
from typing import Literal

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Fault, Outcome, RunState, StageTime
from srrd_ray.execution.events import Event, ItemEnded, StageEnded
from srrd_ray.execution.stage import AnyStage, Scope
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.schemas import validate

SCHEMA: Literal["srrd-run/2"] = "srrd-run/2"
OUTCOMES = '  "outcomes": ['
"""The line of `run.json` after which nothing but outcomes follows, a line each."""
LIBRARIES = ("ray", "torch", "monai", "SimpleITK", "zarr", "numpy", "scipy", "numba", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStage:
    """A stage of the pipeline as the manifest names it, so that the state of a run can be told from its files alone."""

    stage: str
    scope: Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """`run.json`. `cohort` hashes the tables and the list of series of the cohort; no path and no patient data is kept.

    `knees` and `until` say what was asked for: the knees of the cohort (null: not known) and the last stage; `plan` names
    all stages in their order. `config` is the whole configuration as plain data.
    """

    schema: str = SCHEMA
    state: RunState = "running"
    exit_code: int | None = None
    software: str = ""
    python: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    cohort: str = ""
    config: dict[str, object] = field(default_factory=dict)
    knees: int | None = None
    until: str = "report"
    plan: tuple[PlannedStage, ...] = ()
    stages: tuple[StageTime, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


@dataclass(slots=True)
class ManifestWriter:
    """A listener of the runner that keeps `run.json`, which is always whole, at the end of each stage.

    Parameters
    ----------
    lines
        The first `written` outcomes as they stand in the file, a line each: each is turned into text once.
    """

    layout: RunLayout
    config: RunConfig
    cohort: str
    stages: tuple[AnyStage, ...]
    knees: int | None = None
    until: str = "report"
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
        self.record([Outcome(knee=None, stage=stage, status="failed", seconds=0.0, error=Fault.of(error))])

    def close_stage(self, stage: str, seconds: float) -> None:
        """Record the wall time of a stage and write the file."""
        self.times.append(StageTime(stage=stage, seconds=seconds))
        self.write("running", None)

    def failed(self) -> list[Outcome]:
        """Return the failed outcomes."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    def write(self, state: RunState, exit_code: int | None) -> None:
        """Write `run.json` as of now."""
        head = json.loads(serial.to_json(self._manifest(state, exit_code)))
        fresh = self.outcomes[len(self.lines) :]
        sample = [json.loads(serial.to_line(outcome)) for outcome in _representatives(fresh)]
        validate("run", head | {"outcomes": sample}, self.layout.run_json.name)
        self.lines += [f"    {serial.to_line(outcome)}" for outcome in fresh]
        del head["outcomes"]
        text = json.dumps(head, indent=2, sort_keys=True, allow_nan=False).removesuffix("\n}")
        ending = "\n".join([OUTCOMES, ",\n".join(self.lines), "  ]"]) if self.lines else f"{OUTCOMES}]"
        write_text(self.layout.run_json, f"{text},\n{ending}\n}}\n")

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
            stages=tuple(self.times),
        )


def read_manifest(layout: RunLayout, *, outcomes: bool = True) -> Manifest | None:
    """Return what `run.json` holds, with its outcomes or without (of 10^5 knees they are millions); null where it is absent.

    Raises
    ------
    ConfigError
        `run-version` for a manifest of another version, `run-torn` where it is no JSON.
    """
    try:
        text = layout.run_json.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        data = json.loads(text if outcomes else _head(text))
    except ValueError:
        raise ConfigError(
            "run-torn", "run.json is not whole", where=layout.root.name, todo="Run the same command again."
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ConfigError(
            "run-version", "run.json is of another version", where=layout.root.name, got=_version_of(data),
            expected=f"{SCHEMA}, {__version__}", todo="Ask the version of SRRD-Ray that made the run.",
        )  # fmt: skip
    known = {one.name for one in fields(Manifest)}
    return serial.from_mapping(Manifest, {key: value for key, value in data.items() if key in known})


def refuse_other_run(layout: RunLayout, config: RunConfig, cohort: str, *, overwrite: bool) -> None:
    """Stop where the folder holds a run of another configuration, cohort or version.

    Raises
    ------
    ConfigError
        `run-differs`; with `overwrite` the run goes on and redoes what depends on the difference.
    """
    if overwrite:
        return
    try:
        found = read_manifest(layout, outcomes=False)
    except ConfigError as error:
        got = "no JSON" if error.code == "run-torn" else error.got
        raise _differs(layout, "version of SRRD-Ray", got, f"{SCHEMA}, {__version__}") from None
    if found is None:
        return
    if found.config != _plain(config):
        raise _differs(layout, "configuration", *_first_difference(found.config, _plain(config)))
    if found.cohort != cohort:
        raise _differs(layout, "cohort", f"tables {found.cohort[:12]}", f"tables {cohort[:12]}")


def _differs(layout: RunLayout, which: str, got: str, expected: str) -> ConfigError:
    return ConfigError(
        "run-differs",
        f"the output folder holds a run of another {which}",
        where=layout.root.name,
        got=got,
        expected=expected,
        todo="Choose a new --out, or add --overwrite to redo what differs.",
    )


def _head(text: str) -> str:
    """Return the text of a manifest without its outcomes."""
    head, found, _ = text.partition(f",\n{OUTCOMES}")
    return f"{head}\n}}" if found else text


def _version_of(data: object) -> str:
    """Return schema and software version that a run.json of any version names."""
    names = [str(data.get(key, "?"))[:32] for key in ("schema", "software")] if isinstance(data, dict) else ["?"]
    return ", ".join(names)


def _representatives(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield outcomes that stand for all before a schema: the failed ones, and the ends of each stage's and status's seconds."""
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
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _plain(config: RunConfig) -> dict[str, object]:
    found: dict[str, object] = json.loads(serial.to_json(config))
    return found


def _first_difference(old: dict[str, object], new: dict[str, object]) -> tuple[str, str]:
    """Return the first setting that two configurations give different values, as each has it."""
    before, after = _flatten(old), _flatten(new)
    key = next(key for key in sorted(before | after) if before.get(key) != after.get(key))
    return f"{key} {before.get(key)}", f"{key} {after.get(key)}"


def _flatten(data: object, prefix: str = "") -> dict[str, object]:
    """Return nested settings with dotted names."""
    if not isinstance(data, dict):
        return {prefix.rstrip("."): data}
    return {name: value for key, part in data.items() for name, value in _flatten(part, f"{prefix}{key}.").items()}
