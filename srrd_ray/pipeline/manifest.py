"""The manifest of a run, `run.json`, as a record, and how it is read.

The module is light, since `srrd status` needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from srrd_ray import __version__
from srrd_ray.core import serial
from srrd_ray.core.arithmetic import Arithmetic
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Fault, Outcome, RunState, Scope, StageTime
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout

SCHEMA: Literal["srrd-run/2"] = "srrd-run/2"
OUTCOMES = '  "outcomes": ['
"""The line of `run.json` after which nothing but outcomes follows, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStage:
    """A stage of the pipeline in the manifest, so that the state of a run follows from its files alone."""

    stage: str
    scope: Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """`run.json`; no path and no patient data is kept.

    `cohort` hashes the tables and the list of series of the cohort. `knees` and `until` say what was asked
    for: the knees of the cohort (null: not known) and the last stage; `plan` names all stages in their order.
    `config` is the whole configuration as plain data, `arithmetic` that of the driver: the nodes of a cluster
    may have another.
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
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    stages: tuple[StageTime, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


def is_cut_short(layout: RunLayout) -> bool:
    """Return whether a run in the folder has begun and not come to its end."""
    try:
        found = read_manifest(layout, outcomes=False)
    except ConfigError:
        return True
    return found is not None and found.state != "finished"


def read_manifest(layout: RunLayout, *, outcomes: bool = True) -> Manifest | None:
    """Return `run.json`, with its outcomes or without; null where it is absent, or the root is no folder.

    The outcomes of 10^5 knees are millions.

    Raises
    ------
    ConfigError
        `run-version` for a manifest of another version, `run-torn` where it is no JSON.
    """
    try:
        text = layout.run_json.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = json.loads(text if outcomes else _head(text))
        if not outcomes and _version_of(data).startswith("?"):
            data = json.loads(text)  # of a version in which outcomes are not the last
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


def write_manifest(layout: RunLayout, manifest: Manifest, lines: Sequence[str] | None = None) -> None:
    """Write `run.json`.

    `lines` are all outcomes as `outcome_line` gives them, where the manifest itself holds none.
    """
    head = json.loads(serial.to_json(replace(manifest, outcomes=())))
    del head["outcomes"]
    if lines is None:
        lines = [outcome_line(outcome) for outcome in manifest.outcomes]
    text = json.dumps(head, indent=2, sort_keys=True, allow_nan=False).removesuffix("\n}")
    ending = "\n".join([OUTCOMES, ",\n".join(lines), "  ]"]) if lines else f"{OUTCOMES}]"
    write_text(layout.run_json, f"{text},\n{ending}\n}}\n")


def outcome_line(outcome: Outcome) -> str:
    """Return the line of an outcome in `run.json`."""
    return f"    {serial.to_line(outcome)}"


def stop_outcome(stage: str, fault: Fault) -> Outcome:
    """Return the outcome that says why the run cannot go on after a stage."""
    return Outcome(knee=None, stage=stage, status="failed", seconds=0.0, error=fault)


def _head(text: str) -> str:
    """Return the text of a manifest without its outcomes."""
    head, found, _ = text.partition(f",\n{OUTCOMES}")
    return f"{head}\n}}" if found else text


def _version_of(data: object) -> str:
    """Return schema and software version that a run.json of any version names."""
    names = (
        [str(data.get(key, "?"))[:32] for key in ("schema", "software")] if isinstance(data, dict) else ["?"]
    )
    return ", ".join(names)
