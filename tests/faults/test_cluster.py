"""Faults 53 to 63 of clusters, disks and jobs, each made for real in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
import torch

from srrd_ray.cohort.tables import read_cohort
from srrd_ray.execution.lock import LOCK, owner_of
from srrd_ray.stages.ingest import IngestConfig, ingest
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.weights import load_tensors
from tests.faults.cluster_in_trouble import GREEDY, KNEES, STEPS
from tests.imaging import makers

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
MOUNTS = not subprocess.run(
    ["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False
).returncode
needs_mount = pytest.mark.skipif(not MOUNTS, reason="this machine lets no test mount a small disk")
Found: TypeAlias = dict[str, dict[str, str]]
"""Of each kind of trouble what became of each unit."""
WHOLE = {f"out/{knee.key}/{step}.txt" for knee in KNEES for step in range(STEPS)}


def in_trouble(out: Path, *kinds: str) -> Found:
    """What became of six work items on a cluster that meets with trouble of these kinds, one after the other."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.cluster_in_trouble", str(out), *kinds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=True)
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def guide_lost(out: Path) -> dict[str, str]:
    return in_trouble(out, "guide-lost")["guide-lost"]


@dataclass(frozen=True, kw_only=True)
class Troubles:
    """What one cluster met with: the folder below which each kind had its own, and what became of the units."""

    root: Path
    found: Found


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Troubles:
    root = tmp_path_factory.mktemp("troubles")
    kinds = ["not-shared", "memory-short", "node-lost"]
    return Troubles(root=root, found=in_trouble(root, *(kinds if MOUNTS else kinds[1:])))


def files(out: Path) -> set[str]:
    """Every file below a folder, except the sidecars and the manifest."""
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith((".state/", "run.json"))}


def test_54_62_a_work_item_that_needs_too_much_memory_fails_alone_in_bounded_time(troubles: Troubles) -> None:
    found = dict(troubles.found["memory-short"])
    assert re.match(
        r"\[worker-lost\] its worker died 3 times, most often for want of memory: got \d{4,} MiB, alone on a node",
        found.pop(GREEDY),
    )
    assert set(found.values()) == {"done"}
    assert files(troubles.root / "memory-short") == {name for name in WHOLE if GREEDY not in name}


def test_55_a_node_that_is_lost_while_it_writes_costs_nothing(troubles: Troubles) -> None:
    found = dict(troubles.found["node-lost"])
    assert found.pop("killed") == "while writing"
    assert found == {knee.key: "done" for knee in KNEES}
    assert files(troubles.root / "node-lost") == WHOLE


@pytest.mark.skipif("SRRD_LONG_TESTS" not in os.environ, reason="takes 2 min more: set SRRD_LONG_TESTS=1")
def test_55_a_training_that_loses_its_guide_ends_with_its_name_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    killed = tmp_path / "killed"
    assert guide_lost(killed)["stopped"].startswith("[training-lost]")
    assert "epoch 5/12" in guide_lost(killed)["first"], "it goes on from its last checkpoint"
    assert "epoch 1/12" in guide_lost(tmp_path / "calm")["first"]
    mine, theirs = (
        load_tensors(root / "slow" / "weights" / "line.safetensors")[0]
        for root in (killed, tmp_path / "calm")
    )
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@needs_mount
def test_44_a_node_that_does_not_share_the_output_stops_the_run(troubles: Troubles) -> None:
    found = troubles.found["not-shared"]
    assert found["stopped"].startswith("[output-not-shared]")
    assert "--out on storage that every node mounts" in found["stopped"]
    assert files(troubles.root / "not-shared") == set()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve knees; reading them takes seconds."""
    people = tuple(f"A{number}" for number in range(6))
    root: Path = makers.cohort(tmp_path_factory.mktemp("cohort") / "cohort", people=people, sides=("L", "R"))
    return root


def command(cohort: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "srrd_ray.cli",
        "run",
        "--cohort",
        str(cohort),
        "--out",
        str(out),
        "--until",
        "ingest",
    ]


def ended(cohort: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """A run that goes to its end."""
    return subprocess.run(
        command(cohort, out), cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


def volumes(out: Path) -> dict[str, bytes]:
    root = out / "volumes"
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def calm(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a plain loop over the knees writes, without Ray, which nobody disturbs."""
    out = tmp_path_factory.mktemp("calm") / "run"
    for knee in read_cohort(cohort).knees:
        ingest(knee, RunLayout(root=out), IngestConfig())
    return volumes(out)


def test_57_a_driver_that_is_killed_again_and_again_leaves_what_the_same_command_finishes(
    cohort: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        assert ends_after(cohort, out, how) != 0, how
        assert (out / LOCK).exists() == (how == signal.SIGKILL), "only who cannot clean up leaves its lock"
        assert _recorded_codes(out) == ([] if how == signal.SIGKILL else ["driver-stopped"])
    assert finishes(cohort, out) == calm


def test_77_a_run_whose_driver_alone_is_killed_says_so_and_the_same_command_finishes_it(
    cohort: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # as the system does it for want of memory
    assert ends_after(cohort, out, signal.SIGKILL, driver_alone=True) == 3
    assert _recorded_codes(out) == ["driver-died"]
    assert not (out / LOCK).exists()
    assert finishes(cohort, out) == calm


def test_56_a_second_job_on_one_output_stops_and_the_first_goes_on(
    cohort: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with started(cohort, out) as first:
        _wait_for_a_volume(out, first)
        driver = _driver(out)
        os.kill(driver, signal.SIGSTOP)  # so that it is not done before the second begins
        second = ended(cohort, out)
        os.kill(driver, signal.SIGCONT)
        assert second.returncode == 3
        assert (
            f"output-locked] another job works in this output folder in run: got process {driver}"
            in second.stderr
        )
        assert first.wait(300) == 0
    assert volumes(out) == calm


@contextmanager
def started(cohort: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, which is gone at the end of the block."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command(cohort, out), cwd=ROOT, stderr=quiet, stdout=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ends_after(cohort: Path, out: Path, how: signal.Signals, *, driver_alone: bool = False) -> int:
    """The exit code of a run that gets a signal in the middle of its work."""
    with started(cohort, out) as command:
        _wait_for_a_volume(out, command)
        os.kill(_driver(out) if driver_alone else command.pid, how)
        return command.wait(120)


def finishes(cohort: Path, out: Path) -> dict[str, bytes]:
    """The volumes after the same command, which has to end well."""
    assert ended(cohort, out).returncode == 0
    return volumes(out)


def _wait_for_a_volume(out: Path, driver: subprocess.Popen[bytes]) -> None:
    """Wait until this driver has finished a volume, and is in the middle of the next."""
    finished, until = set(out.glob("volumes/*/*")), time.monotonic() + 300
    while set(out.glob("volumes/*/*")) <= finished:
        assert driver.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)


def _driver(out: Path) -> int:
    """The process that drives a run; the command that was started only looks after it."""
    owner = owner_of(out)
    assert owner is not None
    return owner.pid


def _recorded_codes(out: Path) -> list[str]:
    """Why the run ended, by its manifest; nothing where it is recorded as running."""
    manifest = json.loads((out / "run.json").read_text())
    return [outcome["error"]["code"] for outcome in manifest["outcomes"] if outcome.get("error")]


FULL = """
mount -t tmpfs -o size=$SIZE none "$OUT" && mkdir "$OUT/run"
"$@"; echo "code $?" >&2
find "$OUT" -name "*.partial" >&2
mount -o remount,size=200m "$OUT"
"$@"; echo "code $?" >&2
cp -r "$OUT/run" "$KEPT"
"""
"""A run on a disk that does not hold all of it; the same command once more after the disk has grown."""


@needs_mount
def test_44_57_a_full_disk_stops_the_run_and_the_same_command_finishes_it(
    cohort: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    pages = sum(-(-len(data) // 4096) for data in calm.values())
    out = tmp_path / "disk"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", *command(cohort, out / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=800, check=False,
        env=os.environ | {"OUT": str(out), "KEPT": str(tmp_path / "kept"), "SIZE": str(pages * 4096 // 2)},
    )  # fmt: skip
    first, second = (part for part in done.stderr.split("code ")[1:3])
    assert (first[0], second[0]) == ("3", "0"), done.stderr[-3000:]
    assert "output-full" in done.stderr
    assert "Free space" in done.stderr
    assert ".partial" not in first
    assert volumes(tmp_path / "kept") == calm
