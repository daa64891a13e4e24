"""What a run costs against the number of knees, and against the number of CPUs.

``python benchmarks/scale.py knees FOLDER [--knees 10 100 1000 10000]`` runs small cohorts (`small_stages`) through the real runner, manifest,
sidecars, Ray, tables and report, then the same command again, then ``srrd status``; it writes FOLDER/knees.json and FOLDER/scale.png and
prints a table. ``workers FOLDER --cohort COHORT [--config run.yaml]`` runs a real cohort on one and on two CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import yaml
from small_stages import write_templates
from watching import processes, pss_mb

HERE = Path(__file__).resolve().parent
SPREAD = ("ingest", "synthesize", "register", "patches", "measure", "predict")
WHOLE = ("tables", "classify", "evaluate", "report")


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """What one command used: wall and CPU seconds;
    greatest memory (MiB, proportional) of its driver, of another process, of all.
    """

    seconds: float
    cpu: float
    driver_mb: float
    other_mb: float
    all_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One cohort: what its run used, what the same command used again, and what lies in its folder."""

    knees: int
    first: Used
    again: Used
    status_s: float
    stages: dict[str, float]
    again_stages: dict[str, float]
    files: int
    run_json: int
    sidecars: int
    sidecar_bytes: int
    report: int


def make_cohort(root: Path, knees: int) -> Path:
    """Return a cohort of one knee a person whose images are a few bytes."""
    if (root / "template").is_dir():
        return root
    names = [f"{number:06d}" for number in range(knees)]
    for name in names:
        for modality in ("ct", "mr"):
            path = root / f"sub-{name}" / modality / f"sub-{name}_side-L_{modality}.nii.gz"
            path.parent.mkdir(parents=True)
            path.write_text(name)
    people = "".join(f"{name}\t60\tF\n" for name in names)
    grades = "".join(f"{name}\tL\t{3 * (n % 2)}\t{n % 2}\n" for n, name in enumerate(names))
    (root / "participants.tsv").write_text(f"participant_id\tage\tsex\n{people}")
    (root / "knees.tsv").write_text(f"participant_id\tside\tkl_grade\toa\n{grades}")
    write_templates(root / "template")
    return root


def watched(command: list[str]) -> Used:
    """Return what a command used; its memory is polled every two seconds, as polling takes CPU time."""
    most, over = {"driver": 0.0, "other": 0.0, "all": 0.0}, Event()
    started = time.monotonic()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def look() -> None:
        while not over.wait(2.0):
            own = pss_mb(run.pid)
            most["driver"] = max(most["driver"], own)
            others = [pss_mb(pid) for pid in processes(run.pid) if pid != run.pid]
            most["other"] = max([most["other"], *others])
            most["all"] = max(most["all"], own + sum(others))

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    _, status, about = os.wait4(run.pid, 0)
    over.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    cpu = about.ru_utime + about.ru_stime
    return Used(
        seconds=time.monotonic() - started,
        cpu=cpu,
        driver_mb=most["driver"],
        other_mb=most["other"],
        all_mb=most["all"],
    )


def measured(folder: Path, knees: int) -> Point:
    """Return the figures of one cohort."""
    cohort, out = make_cohort(folder / f"cohort-{knees}", knees), folder / f"run-{knees}"
    command = [sys.executable, "-W", "ignore", str(HERE / "small_run.py"), str(cohort), str(out)]
    first = watched(command)
    stages = stages_of(out)
    again = watched(command)
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "srrd_ray.cli", "status", str(out)], stdout=subprocess.DEVNULL, check=True
    )
    status_s = time.monotonic() - started
    cards = [path.stat().st_size for path in (out / ".state").rglob("*.json")]
    return Point(
        knees=knees,
        first=first,
        again=again,
        status_s=status_s,
        stages=stages,
        again_stages=stages_of(out),
        files=sum(path.is_file() for path in out.rglob("*")),
        run_json=(out / "run.json").stat().st_size,
        sidecars=len(cards),
        sidecar_bytes=sum(cards),
        report=(out / "report.html").stat().st_size,
    )


def stages_of(out: Path) -> dict[str, float]:
    """Return the seconds of every stage of a run."""
    return {one["stage"]: one["seconds"] for one in json.loads((out / "run.json").read_text())["stages"]}


def table(points: list[Point]) -> Iterator[str]:
    """Yield a Markdown table with a column for each cohort."""
    yield "| | " + " | ".join(f"{point.knees:,} knees" for point in points) + " |"
    yield "|---|" + "---:|" * len(points)
    rows = {
        "whole run, s": [f"{p.first.seconds:.0f}" for p in points],
        "ms a knee and stage of knees or shards": [
            f"{1000 * spread(p) / p.knees / len(SPREAD):.1f}" for p in points
        ],
        "CPU of the driver, s": [f"{p.first.cpu:.0f}" for p in points],
        "memory of the driver, MiB": [f"{p.first.driver_mb:.0f}" for p in points],
        "of the largest other process, MiB": [f"{p.first.other_mb:.0f}" for p in points],
        "memory of all processes, MiB": [f"{p.first.all_mb:.0f}" for p in points],
        "the same command again, s": [f"{p.again.seconds:.1f}" for p in points],
        "… its driver, MiB": [f"{p.again.driver_mb:.0f}" for p in points],
        "srrd status, s": [f"{p.status_s:.1f}" for p in points],
        "run.json, MB": [f"{p.run_json / 1e6:.2f}" for p in points],
        "sidecars (bytes each)": [f"{p.sidecars} ({p.sidecar_bytes / p.sidecars:.0f})" for p in points],
        "files a knee": [f"{p.files / p.knees:.1f}" for p in points],
        "report.html, MB": [f"{p.report / 1e6:.1f}" for p in points],
    }
    rows |= {
        f"{name}, s (again)": [f"{p.stages[name]:.1f} ({p.again_stages[name]:.1f})" for p in points]
        for name in (*SPREAD, *WHOLE)
    }
    for name, cells in rows.items():
        yield f"| {name} | " + " | ".join(cells) + " |"


def spread(point: Point) -> float:
    """Return the seconds of the stages over knees and shards."""
    return sum(point.stages[name] for name in SPREAD)


def draw(points: list[Point], out: Path) -> None:
    """Draw what a knee costs, the driver's memory and the seconds to skip all, against the knees."""
    knees = [point.knees for point in points]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    shown = (
        ("a knee and stage, ms", [1000 * spread(p) / p.knees / len(SPREAD) for p in points]),
        ("memory of the driver, MiB", [p.first.driver_mb for p in points]),
        ("the same command again, s", [p.again.seconds for p in points]),
    )
    for axis, (title, values) in zip(axes, shown, strict=True):
        axis.plot(knees, values, "o-", color="#0b7a75")
        axis.set_xscale("log")
        axis.set_ylim(0, 1.25 * max(values))
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("knees")
        axis.spines[["top", "right"]].set_visible(False)
        for x, y in zip(knees, values, strict=True):
            axis.annotate(
                f"{y:,.0f}" if y >= 100 else f"{y:.2g}",
                (x, y),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    figure.savefig(out, dpi=110)


def against_knees(folder: Path, counts: list[int]) -> None:
    """Measure the cohorts one after the other; each is written down as it ends."""
    points: list[Point] = []
    for knees in counts:
        points.append(measured(folder, knees))
        (folder / "knees.json").write_text(json.dumps([asdict(point) for point in points], indent=1))
        print(
            f"{knees} knees: {points[-1].first.seconds:.0f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr
        )
    print("\n".join(table(points)))
    draw(points, folder / "scale.png")


def on_cpus(folder: Path, cohort: Path, config: Path, cpus: int) -> dict[str, float]:
    """Return the seconds of each stage of a whole run on `cpus` CPUs."""
    settings: dict[str, object] = yaml.safe_load(config.read_text())
    cluster = settings.get("cluster", {})
    assert isinstance(cluster, Mapping)
    path, out = folder / f"cpus-{cpus}.yaml", folder / f"cpus-{cpus}"
    path.write_text(yaml.safe_dump(settings | {"cluster": {**cluster, "cpus": cpus}}))
    command = [sys.executable, "-m", "srrd_ray.cli", "run", "--cohort", str(cohort), "--out", str(out)]
    before = os.getloadavg()[0]
    ended = subprocess.run([*command, "--config", str(path)], stdout=subprocess.DEVNULL, check=False)
    print(
        f"{cpus} CPUs: ended with {ended.returncode}, load before {before:.1f}, after "
        f"{os.getloadavg()[0]:.1f}"
    )
    return stages_of(out)


def against_cpus(folder: Path, cohort: Path, config: Path) -> None:
    one, two = (on_cpus(folder, cohort, config, cpus) for cpus in (1, 2))
    print("| stage | 1 CPU, s | 2 CPUs, s | efficiency |\n|---|---:|---:|---:|")
    for name, seconds in one.items():
        print(f"| {name} | {seconds:.1f} | {two[name]:.1f} | {seconds / two[name] / 2:.2f} |")
    print(
        f"| all | {sum(one.values()):.1f} | {sum(two.values()):.1f} | "
        f"{sum(one.values()) / sum(two.values()) / 2:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("knees", "workers"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, nargs="+", default=[10, 100, 1000, 10000])
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.part == "knees":
        against_knees(given.folder, given.knees)
    else:
        against_cpus(given.folder, given.cohort, given.config)


if __name__ == "__main__":
    main()
