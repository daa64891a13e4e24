"""The book of a run: one outcome for each knee and stage, one log line for each, and `run.json`, which is always whole."""

from __future__ import annotations

import json
import logging
import platform
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Literal

from srrd_ray import __version__, serial
from srrd_ray.arithmetic import Arithmetic, here
from srrd_ray.config import RunConfig
from srrd_ray.errors import ConfigError
from srrd_ray.io.atomic import write_text
from srrd_ray.io.schemas import validate
from srrd_ray.layout import RunLayout
from srrd_ray.records import Knee, Outcome, RunState, StageName, StageTime

log = logging.getLogger(__name__)

SCHEMA: Literal["srrd-run/1"] = "srrd-run/1"
NO_OUTCOMES = '  "outcomes": []'
OUTCOMES = re.compile(r'^  "outcomes": \[$.*?^  \]', re.MULTILINE | re.DOTALL)
"""The outcomes in the text of `run.json`."""
LIBRARIES = ("ray", "torch", "monai", "SimpleITK", "zarr", "numpy", "scipy", "numba", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """`run.json`. `cohort` hashes the tables and the list of series of the cohort; no path and no patient data is kept.

    `knees` and `until` say what was asked for: the knees of the cohort (absent: not known) and the last stage. `arithmetic` is that
    of the driver; the nodes of a cluster may have another.
    """

    schema: Literal["srrd-run/1"]
    software: str
    python: str
    libraries: dict[str, str]
    cohort: str
    config: RunConfig
    state: RunState
    exit_code: int | None
    stages: tuple[StageTime, ...]
    outcomes: tuple[Outcome, ...]
    knees: int | None = None
    until: StageName = "report"
    arithmetic: Arithmetic = field(default_factory=Arithmetic)


@dataclass(slots=True)
class Ledger:
    """What happened so far in this run of the program."""

    layout: RunLayout
    config: RunConfig
    cohort: str
    knees: int | None = None
    until: StageName = "report"
    outcomes: list[Outcome] = field(default_factory=list)
    stages: list[StageTime] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    lines: str = ""
    """The first `checked` outcomes as they stand in `run.json`, a line each."""

    def record(self, outcomes: Iterable[Outcome], total: int) -> None:
        """Take down the outcomes of a unit; `total` is the number of knees of the stage, for the progress line."""
        for outcome in outcomes:
            self.outcomes.append(outcome)
            self.counts[outcome.stage] += 1
            number = self.counts[outcome.stage]
            name = outcome.knee.key if outcome.knee else "cohort"
            level = logging.WARNING if outcome.error else logging.DEBUG if outcome.status == "skipped" else logging.INFO
            words = outcome.error.message if outcome.error else f"{outcome.seconds:.1f} s"
            log.log(level, "%-16s %3d/%d  %s  %s  %s", outcome.stage, number, total, name, outcome.status, words)

    def close_stage(self, stage: str, started: float) -> None:
        """Take down the wall time of a stage since `started` (monotonic) and write `run.json`."""
        seconds = time.monotonic() - started
        self.stages.append(StageTime(stage=stage, seconds=seconds))
        mine = [o for o in self.outcomes if o.stage == stage]
        counts = {status: sum(o.status == status for o in mine) for status in ("done", "skipped", "failed")}
        words = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        log.info("%-16s %s in %.1f s", stage, words or "nothing to do", seconds)
        self.write("running", None)

    def write(self, state: RunState, exit_code: int | None) -> None:
        """Write `run.json` as it stands; an outcome is put into words once, or many knees would wait for it."""
        fresh = [serial.to_line(outcome) for outcome in self.outcomes[self.checked :]]
        record = RunRecord(
            schema=SCHEMA,
            software=__version__,
            python=platform.python_version(),
            libraries=_versions(),
            cohort=self.cohort,
            config=self.config,
            state=state,
            exit_code=exit_code,
            stages=tuple(self.stages),
            outcomes=(),
            knees=self.knees,
            until=self.until,
            arithmetic=_arithmetic(),
        )
        head = serial.to_json(record)
        seen = [json.loads(serial.to_line(outcome)) for outcome in _witnesses(self.outcomes[self.checked :])]
        validate("run", json.loads(head) | {"outcomes": seen}, self.layout.run_json.name)
        self.lines = ",\n".join([self.lines] * bool(self.lines) + [f"    {line}" for line in fresh])
        self.checked += len(fresh)
        filled = f'  "outcomes": [\n{self.lines}\n  ]' if self.lines else NO_OUTCOMES
        write_text(self.layout.run_json, head.replace(NO_OUTCOMES, filled, 1))

    def failed(self) -> list[Outcome]:
        """Return the failed outcomes."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    def lost_knees(self) -> set[Knee]:
        """Return the knees that failed in any stage."""
        return {outcome.knee for outcome in self.failed() if outcome.knee is not None}


def _witnesses(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
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


@cache
def _arithmetic() -> Arithmetic:
    return here()


def refuse_other_run(layout: RunLayout, config: RunConfig, cohort: str, *, overwrite: bool) -> None:
    """Stop where the folder holds a run of another configuration or cohort; warn where it was calculated otherwise.

    Raises
    ------
    ConfigError
        `run-differs`; with `overwrite` the run goes on and redoes what depends on the difference.
    """
    if not layout.run_json.is_file():
        return
    text = layout.run_json.read_text(encoding="utf-8")
    try:
        record = serial.from_json(RunRecord, OUTCOMES.sub(NO_OUTCOMES, text, count=1))
    except ConfigError:
        if overwrite:
            return
        raise _differs(layout, "version of SRRD-Ray", _version_in(text), f"{SCHEMA}, {__version__}") from None
    if record.config != config and not overwrite:
        raise _differs(layout, "configuration", *_first_difference(record.config, config))
    if record.cohort != cohort and not overwrite:
        raise _differs(layout, "cohort", f"tables {record.cohort[:12]}", f"tables {cohort[:12]}")
    _warn_of_other_arithmetic(record)


def _warn_of_other_arithmetic(record: RunRecord) -> None:
    """Say once what the last bits depend on and has changed: this call writes its own arithmetic into `run.json`."""
    now = _versions()
    versions = [f"{name} {old}, now {now[name]}" for name, old in record.libraries.items() if now.get(name, old) != old]
    changed = (*record.arithmetic.differences(_arithmetic()), *versions)
    if changed:
        log.warning(
            "the run was begun with another arithmetic, so that what is done now may differ from what stands in its last bits "
            "(docs/running.md); a new --out has all of one kind: %s",
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


def _version_in(text: str) -> str:
    """Return schema and software version that a run.json of any version names."""
    try:
        data = json.loads(text)
    except ValueError:
        return "no JSON"
    names = [str(data.get(key, "?"))[:32] for key in ("schema", "software")] if isinstance(data, dict) else ["?"]
    return ", ".join(names)


def _first_difference(old: RunConfig, new: RunConfig) -> tuple[str, str]:
    """Return the first setting that two configurations give different values, as each has it."""
    before, after = (_flat(json.loads(serial.to_json(config))) for config in (old, new))
    key = next(key for key in sorted(before | after) if before.get(key) != after.get(key))
    return f"{key} {before.get(key)}", f"{key} {after.get(key)}"


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    """Return nested settings with dotted names."""
    if not isinstance(data, dict):
        return {prefix.rstrip("."): data}
    return {name: value for key, part in data.items() for name, value in _flat(part, f"{prefix}{key}.").items()}
