"""Hours, disk and memory for N knees on C cores, extrapolated from one run that was measured.

``srrd run --cohort COHORT --out RUN 2> LOG``, then ``python benchmarks/hardware.py RUN LOG [LOG …] [--write]``: seconds a knee and stage are the means of
the log lines of work items that were done (several logs where the run was resumed), bytes are those of the sidecars. What depends on the number of
knees otherwise is read off the table of docs/scale.md that `benchmarks/scale.py` measured. ``--write`` puts both tables into that document.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from srrd_ray.stages.compare_diagnosis import MOST_PATIENTS
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_stored

SCALE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
KNEES, CORES = (100, 1_000, 10_000), (2, 16, 256)
DONE = re.compile(r"^\d\d:\d\d:\d\d (\S+) +\d+/\d+  \S+  done  ([\d.]+) s$", re.MULTILINE)
STARTS, ENDS = "<!-- hardware -->", "<!-- /hardware -->"
OF_STEPS = ("learn-synthesis", "learn-aligned")
"""Trainings whose steps are a setting, whatever the knees."""
FEW = 0.1
"""Seconds a knee below which a stage is not shown by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A run that was measured.

    `scopes` are those of its stages, in order; `seconds` those of a knee (of the cohort for a stage of it). `rows` are those of that table of
    docs/scale.md, by name: a number for each of its numbers of knees.
    """

    knees: int
    scopes: Mapping[str, str]
    seconds: Mapping[str, float]
    knees_a_shard: int
    learn_from: int
    task_mb: int
    knee_bytes: float
    knee_files: float
    voxels: tuple[int, int]
    rows: Mapping[str, Mapping[int, float]]


def measured(run: Path, logs: list[Path]) -> Measured:
    """Return what a run and its logs say."""
    facts = json.loads((run / "run.json").read_text())
    scopes = {one["stage"]: one["scope"] for one in facts["plan"]}
    lines = defaultdict(list)
    for stage, seconds in DONE.findall("\n".join(log.read_text() for log in logs)):
        lines[stage].append(float(seconds))
    missing = sorted(set(scopes) - set(lines))
    if missing:
        raise SystemExit(
            f"no work item of {', '.join(missing)} was done in these logs: add that of the first run"
        )
    spread = [stage for stage, scope in scopes.items() if scope != "cohort"]
    items = [
        json.loads(path.read_text()) for stage in spread for path in (run / ".state" / stage).glob("*.json")
    ]
    outputs = [output for item in items for output in item["outputs"]]
    knees = sum(1 for _ in (run / ".state" / spread[0]).glob("*.json"))
    return Measured(
        knees=knees,
        scopes=scopes,
        seconds={stage: mean(lines[stage]) for stage in scopes},
        knees_a_shard=facts["config"]["patches"]["knees_per_shard"],
        learn_from=facts["config"]["distillation"]["learn_from"],
        task_mb=facts["config"]["cluster"]["knee_memory_mb"],
        knee_bytes=sum(one["size"] for one in outputs) / knees,
        knee_files=sum(one["files"] for one in outputs) / knees,
        voxels=_voxels(run),
        rows=_rows(SCALE.read_text()),
    )  # fmt: skip


def _voxels(run: Path) -> tuple[int, int]:
    """Return the voxels of CT and MR, of the first knee."""
    folder = sorted(RunLayout(root=run).root.joinpath("volumes").iterdir())[0]
    ct, mr = (math.prod(read_stored(folder / f"{name}.ome.zarr").geometry.shape) for name in ("ct", "mr"))
    return ct, mr


def _rows(document: str) -> dict[str, dict[int, float]]:
    """Return the rows of the table against the number of knees, each a number by number of knees."""
    table = re.search(r"^\| \|(.*knees \|)\n\|.*\n(\| whole run, s (?:\|.*\n)+)", document, re.MULTILINE)
    assert table is not None
    counts = [int(cell.replace(",", "").split()[0]) for cell in table[1].strip(" |").split("|")]
    rows = {}
    for line in table[2].splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = [float(cell.split("(")[0].replace(",", "")) for cell in cells]
        rows[name] = dict(zip(counts, numbers, strict=True))
    return rows


def hours(run: Measured, knees: int, cores: int) -> dict[str, float]:
    """Return the hours of each stage."""
    return {stage: _seconds(run, stage, knees, cores) / 3600 for stage in run.scopes}


def _seconds(run: Measured, stage: str, knees: int, cores: int) -> float:
    """Return the seconds of a stage: whole rounds of work items, or what handing them out takes if that is longer; for a training
    of cubes as many times those measured as there are knees to learn from, whatever the cores.
    """
    a_knee, scope, row = run.seconds[stage], run.scopes[stage], f"{stage}, s"
    if scope == "cohort" and row in run.rows:
        return run.rows[row][knees]
    if scope == "cohort":
        return a_knee if stage in OF_STEPS else a_knee * min(knees, _most(run, stage)) / run.knees
    of_item = run.knees_a_shard if scope == "shard" else 1
    items = math.ceil(knees / of_item)
    return max(math.ceil(items / cores) * a_knee * of_item, items * dispatch(run, knees))


def _most(run: Measured, stage: str) -> int:
    """Return the knees, of more are drawn so many: as many patients are one or two knees each."""
    return MOST_PATIENTS if stage == "compare-diagnosis" else run.learn_from


def dispatch(run: Measured, knees: int) -> float:
    """Return the seconds of the driver for a work item."""
    return run.rows["CPU of the driver, s"][knees] / run.rows["sidecars (bytes each)"][knees]


def stage_table(run: Measured) -> Iterator[str]:
    """Yield the rows of what was measured."""
    yield f"| stage | seconds, run of {run.knees} knees on 2 cores | with N knees on C cores |"
    yield "|---|---:|---|"
    for stage, seconds in run.seconds.items():
        scope = run.scopes[stage]
        if scope != "cohort":
            shard = f", {run.knees_a_shard} knees a work item" if scope == "shard" else ""
            yield f"| `{stage}` | {seconds:.1f} a knee | N / C{shard} |"
        elif f"{stage}, s" in run.rows:
            yield f"| `{stage}` | {seconds:.1f} | as measured below |"
        elif stage in OF_STEPS:
            yield f"| `{stage}` | {seconds:.0f} | the same: its steps are a setting |"
        else:
            yield f"| `{stage}` | {seconds:.0f} | N up to {_most(run, stage):,}, whatever C |"


def table(run: Measured) -> Iterator[str]:
    """Yield the rows of what is extrapolated."""
    yield "| | " + " | ".join(f"{knees:,} knees" for knees in KNEES) + " |"
    yield "|---|" + "---:|" * len(KNEES)
    for cores in CORES:
        whole = [sum(hours(run, knees, cores).values()) for knees in KNEES]
        yield _row(f"hours on {cores} cores ({cores * run.task_mb / 1024:.0f} GB of memory)", whole)
    yield _row("in these, trainings, on any number of cores", [_trainings(run, knees) for knees in KNEES])
    yield _row("in these, tables to report, one after the other", [_tables(run, knees) for knees in KNEES])
    yield _row("hours that the driver takes to hand out the work", [_handing(run, n) for n in KNEES])
    yield _row("GB in the folder of the run", [run.knee_bytes * knees / 1e9 for knees in KNEES])
    yield "| thousand files in it | " + " | ".join(f"{run.knee_files * n / 1000:,.0f}" for n in KNEES) + " |"


def _of_cohort(run: Measured, knees: int, *, tables: bool) -> float:
    found = hours(run, knees, 1)
    return sum(
        found[stage]
        for stage, scope in run.scopes.items()
        if scope == "cohort" and (f"{stage}, s" in run.rows) == tables
    )


def _trainings(run: Measured, knees: int) -> float:
    return _of_cohort(run, knees, tables=False)


def _tables(run: Measured, knees: int) -> float:
    return _of_cohort(run, knees, tables=True)


def _handing(run: Measured, knees: int) -> float:
    sizes = [
        run.knees_a_shard if scope == "shard" else 1 for scope in run.scopes.values() if scope != "cohort"
    ]
    return sum(math.ceil(knees / size) for size in sizes) * dispatch(run, knees) / 3600


def _row(name: str, values: list[float]) -> str:
    return (
        f"| {name} | "
        + " | ".join(f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}" for value in values)
        + " |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    run = measured(given.run, given.logs)
    ct, mr = (count / 1e6 for count in run.voxels)
    caption = f"*{run.knees} knees of {ct:.1f} million voxels of CT and {mr:.1f} million of MR.*"
    text = "\n".join((caption, "", *stage_table(run), "", *table(run)))
    print(text)
    if given.write:
        document = SCALE.read_text()
        before, rest = document.split(STARTS)
        SCALE.write_text(f"{before}{STARTS}\n{text}\n{ENDS}{rest.split(ENDS)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
