"""Whole runs of small and odd cohorts, each figure looked at: ``python benchmarks/odd_cohorts.py OUT [NAME …]``.

A cohort of five simulated knees is made once; the odd ones are parts of it with other tables. A run has to end with
0 or 1, or with 2 before any work; `metrics.json` has to obey its schema, each null beside its reason. Prints a row a
cohort: exit code, seconds, how many figures are numbers, how many null, and why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from srrd_ray.storage.schemas import validate

ROOT = Path(__file__).resolve().parents[1]
CONFIG: dict[str, object] = {
    "distillation": {"folds": 2, "teacher_epochs": 2, "student_epochs": 2, "search": {"epochs": 1}},
    "tune": {"trials": 2, "grace_epochs": 1},
    "cluster": {"cpus": 2, "training_workers": 1},
}
COHORTS: dict[str, tuple[int, dict[str, str]]] = {
    "two": (2, {}),
    "three": (3, {}),
    "four": (4, {}),
    "five": (5, {}),
    "one patient, two knees": (1, {}),
    "one class": (5, {"oa": "0"}),
    "no label": (5, {"oa": "n/a", "kl_grade": "n/a"}),
    "no age, no sex": (3, {"age": "n/a", "sex": "n/a"}),
}
"""Number of patients, a knee each (of a single one the same images stand for the other knee), and what every row of the
tables says instead."""


def main() -> None:
    out, names = Path(sys.argv[1]), sys.argv[2:] or list(COHORTS)
    whole = out / "whole"
    code, said = command("simulate", whole, "--knees", "5", "--seed", "3", "--cpus", "2")
    if code:
        sys.exit(f"the cohort could not be simulated: {said}")
    config = out / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    print(f"{'cohort':<24} {'exit':>4} {'s':>6} {'numbers':>8} {'null':>5}  why")
    for name in names:
        cohort, run = (
            part(whole, out / name.replace(" ", "-").replace(",", ""), *COHORTS[name]),
            out / "runs" / name,
        )
        started = time.monotonic()
        code, said = command("run", "--cohort", cohort, "--out", run, "--config", config)
        row(name, code, time.monotonic() - started, run / "metrics.json", said)


def command(*arguments: object) -> tuple[int, str]:
    """Return exit code and last line on standard error of a command."""
    words = [sys.executable, "-m", "srrd_ray.cli", *map(str, arguments)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.returncode, (ended.stderr.strip().splitlines() or [""])[-1]


def part(whole: Path, root: Path, patients: int, instead: dict[str, str]) -> Path:
    """Return a cohort of the first patients of the whole one, its images hard links."""
    for table in ("participants.tsv", "knees.tsv"):
        header, *rows = (
            line.split("\t") for line in (whole / table).read_text().splitlines()[: patients + 1]
        )
        if patients == 1 and "side" in header:
            rows.append([{"L": "R", "R": "L"}.get(cell, cell) for cell in rows[0]])
        root.mkdir(parents=True, exist_ok=True)
        changed = [
            [instead.get(column, cell) for column, cell in zip(header, row, strict=True)] for row in rows
        ]
        (root / table).write_text("\n".join("\t".join(row) for row in [header, *changed]) + "\n")
    for image in whole.glob("sub-*/*/*.nii.gz"):
        for name in {
            image.name,
            image.name.replace("side-L", "side-R"),
            image.name.replace("side-R", "side-L"),
        }:
            link(image, root / image.parent.relative_to(whole) / (name if patients == 1 else image.name))
    return root


def link(image: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        os.link(image, copy)


def row(name: str, code: int, seconds: float, path: Path, said: str) -> None:
    """Print a row; a figure that is outside its schema, or null without a reason, ends the program."""
    if code not in (0, 1, 2):
        sys.exit(f"{name}: exit code {code}: {said}")
    if not path.is_file():
        print(f"{name:<24} {code:>4} {seconds:>6.0f} {'':>8} {'':>5}  {said[:200]}", flush=True)
        return
    metrics = json.loads(path.read_text())
    validate("metrics", metrics, path.name)
    found = list(figures(metrics))
    unexplained = [key for key, value, reason in found if value is None and not reason]
    if unexplained:
        sys.exit(f"{name}: null without a reason: {unexplained}")
    numbers = sum(value is not None for _, value, _ in found)
    why = sorted(
        {
            part.partition("]")[0].strip("[")
            for _, v, reason in found
            if v is None
            for part in reason.split("; ")
        }
    )
    print(
        f"{name:<24} {code:>4} {seconds:>6.0f} {numbers:>8} {len(found) - numbers:>5}  {', '.join(why)[:300]}",
        flush=True,
    )


def figures(data: object, key: str = "", reason: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield each figure with its key, its value and the reason that stands beside it."""
    if isinstance(data, dict):
        beside = str(data.get("reason", reason))
        for name, value in data.items():
            if name not in ("reason", "schema"):
                yield from figures(value, f"{key}/{name}", beside)
    else:
        yield key, data, reason


if __name__ == "__main__":
    main()
