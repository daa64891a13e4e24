"""`srrd status` gives the status of a run from files alone, whatever became of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.core.records import Fault, Knee, Outcome, StageTime
from srrd_ray.execution import lock
from srrd_ray.execution.holder import Holder
from srrd_ray.execution.lock import locked
from srrd_ray.pipeline.manifest_writer import ManifestWriter
from srrd_ray.pipeline.status import RunStatus, StageStatus, read_status
from srrd_ray.pipeline.status_text import text_of
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import modified_times
from tests.object_store import ObjectStore
from tests.running import STAGE_NAMES, writer
from tests.storage.test_paths import copy_up

SPREAD: tuple[str, ...] = ("ingest", "synthesize", "register", "patches", "measure", "predict")
BAD = Fault(code="bone-not-found", message="[bone-not-found] no femur above a tibia")
FAR = Fault(code="surface-far", message="[surface-far] the surfaces of the bone lie too far apart")


def knees(number: int) -> list[Knee]:
    return [Knee(participant=f"{n:05d}", side="L") for n in range(number)]


def manifest(root: Path, ended: int, *, of: int = 6, bad: int = 0, until: str = "report") -> ManifestWriter:
    """A run whose first `ended` stages are over; `bad` knees failed in `register`."""
    written = writer(root, knees=of, until=until)
    left = knees(of)
    for name in STAGE_NAMES[:ended]:
        mine = left if name in SPREAD else [None]
        failing = left[:bad] if name == "register" else []
        for knee in mine:
            error = BAD if knee in failing else None
            state = "failed" if error else "done"
            written.outcomes.append(Outcome(knee=knee, stage=name, status=state, seconds=1.0, error=error))  # type: ignore[arg-type]
        left = [knee for knee in left if knee not in failing]
        written.times.append(StageTime(stage=name, seconds=2.5))
    written.write("running", None)
    return written


def sidecars(root: Path, stage: str, number: int, age_s: float = 0.0) -> None:
    for n in range(number):
        path = RunLayout(root=root).sidecar(stage, f"unit-{stage}-{age_s:.0f}-{n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        if age_s:
            os.utime(path, (time.time() - age_s,) * 2)


def leave_lock(root: Path, left: Holder) -> None:
    (root / ".lock").write_text(replace(left, pid=2**22 + 1, since="2026-01-02T03:04:05+00:00").text())


def status_of(root: Path) -> RunStatus:
    return read_status(RunLayout(root=root))


def stage(found: RunStatus, name: str) -> StageStatus:
    return next(one for one in found.stages if one.stage == name)


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))}


def test_an_ended_run_tells_its_counts_times_faults_code_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = manifest(tmp_path, len(STAGE_NAMES), bad=2)
    ended.record(
        [Outcome(knee=knees(6)[5], bone="tibia", stage="register", status="failed", seconds=0.0, error=FAR)]
    )
    ended.write("finished", 1)
    (tmp_path / "report.html").write_text("")
    assert code_of("status", str(tmp_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "state:  finished with exit code 1" in lines
    assert next(line.split() for line in lines if line.startswith("register")) == [
        "register",
        "ended",
        "knees",
        "4",
        "0",
        "2",
        "1",
        "0",
        "2.5",
    ]
    assert next(line.split() for line in lines if line.startswith("predict")) == [
        "predict",
        "ended",
        "knees",
        "4",
        "0",
        "0",
        "0",
        "0",
        "2.5",
    ]
    assert "failed in register: bone-not-found: sub-00000_side-L, sub-00001_side-L" in lines
    assert "  [bone-not-found] no femur above a tibia" in lines
    assert "failed in register: surface-far: sub-00005_side-L tibia" in lines
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"


def test_a_run_that_ended_well_ends_the_command_with_0(tmp_path: Path) -> None:
    manifest(tmp_path, len(STAGE_NAMES)).write("finished", 0)
    assert code_of("status", str(tmp_path)) == 0


def test_a_run_that_goes_on_tells_its_stage_what_is_left_and_who_works_on_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        sidecars(tmp_path, "measure", 2, age_s=300)
        manifest(tmp_path, STAGE_NAMES.index("measure"), bad=1)
        sidecars(tmp_path, "measure", 1)
        found, text = status_of(tmp_path), text_of(status_of(tmp_path))
    now = stage(found, "measure")
    assert (found.phase, found.command_code) == ("running", 0)
    assert (now.state, now.done, now.skipped, now.failed, now.left) == ("running", 1, 2, None, 2)
    assert now.seconds is not None
    assert 0 <= now.seconds < 60
    assert found.owner is not None
    assert (found.owner.pid, found.owner.host, found.owner.stale) == (
        os.getpid(),
        socket.gethostname(),
        False,
    )
    assert found.owner.since.startswith("20")
    assert f"process {os.getpid()} on {socket.gethostname()} since 20" in text
    assert (stage(found, "register").failed, stage(found, "tables").left, stage(found, "predict").of) == (
        1,
        1,
        "shards",
    )
    assert stage(found, "report").state == "waiting"


def test_the_first_stage_of_a_first_run_knows_how_many_knees_are_left(tmp_path: Path) -> None:
    with locked(tmp_path):
        manifest(tmp_path, 0, of=9)
        sidecars(tmp_path, "ingest", 4)
        found = status_of(tmp_path)
    assert (found.knees, stage(found, "ingest").done, stage(found, "ingest").left) == (9, 4, 5)


def test_shards_are_counted_as_shards_while_they_are_cut(tmp_path: Path) -> None:
    with locked(tmp_path):
        manifest(tmp_path, STAGE_NAMES.index("patches"), of=7)  # of 3 knees a shard
        sidecars(tmp_path, "patches", 1)
        now = stage(status_of(tmp_path), "patches")
    assert (now.of, now.done, now.left) == ("shards", 1, 2)


def test_stages_that_were_not_asked_for_are_not_left(tmp_path: Path) -> None:
    manifest(tmp_path, 3, until="synthesize").write("finished", 0)
    found = status_of(tmp_path)
    assert {one.state for one in found.stages[:3]} == {"ended"}
    assert {one.state for one in found.stages[3:]} == {"not asked"}


@pytest.fixture
def watched_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SILENT_S", 0.4)
    monkeypatch.setattr(lock, "POLL_S", 0.02)


@pytest.mark.usefixtures("watched_shortly")
@pytest.mark.parametrize(
    ("left", "evidence"), [(Holder(host="elsewhere"), "no heartbeat"), (Holder.here(), "its process is gone")]
)
def test_a_run_whose_job_died_is_interrupted_and_its_lock_is_called_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: Holder, evidence: str
) -> None:
    manifest(tmp_path, 1)
    leave_lock(tmp_path, left)
    assert code_of("status", str(tmp_path)) == 3
    out = capsys.readouterr().out
    assert "state:  interrupted" in out
    assert "Run the same command again" in out
    assert (
        f"on {left.host} since 2026-01-02T03:04:05+00:00: {evidence}; the next run takes the lock over" in out
    )
    assert status_of(tmp_path).stages[1].state == "interrupted"


@pytest.mark.usefixtures("watched_shortly")
@pytest.mark.parametrize("behind_s", [0, 600, -600])
def test_a_lock_of_another_host_that_moves_is_a_run_that_goes_on(tmp_path: Path, behind_s: float) -> None:
    manifest(tmp_path, 1)
    leave_lock(tmp_path, Holder(host="elsewhere"))
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            os.utime(tmp_path / ".lock", (time.time() - behind_s,) * 2)

    thread = threading.Thread(target=beat)
    thread.start()
    found = status_of(tmp_path)
    stop.set()
    thread.join()
    assert (found.phase, found.command_code) == ("running", 0)


def test_nobody_waits_for_the_lock_of_a_run_that_has_ended(tmp_path: Path) -> None:
    manifest(tmp_path, len(STAGE_NAMES)).write("finished", 0)
    leave_lock(tmp_path, Holder(host="elsewhere"))
    started = time.monotonic()
    assert status_of(tmp_path).phase == "finished"
    assert time.monotonic() - started < lock.SILENT_S / 2


@pytest.mark.parametrize(
    ("code", "kind"), [(3, "stage-stalled"), (2, "classes-missing"), (1, "unexpected-KeyError")]
)
def test_a_stopped_run_ends_the_command_as_it_ended_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, kind: str
) -> None:
    written = manifest(tmp_path, STAGE_NAMES.index("synthesize"))
    fault = Fault(code=kind, message=f"[{kind}] stopped here")
    written.outcomes.append(Outcome(knee=knees(1)[0], stage="synthesize", status="done", seconds=1.0))
    written.outcomes.append(Outcome(knee=None, stage="synthesize", status="failed", seconds=0.0, error=fault))
    written.write("stopped", code)
    assert code_of("status", str(tmp_path)) == code
    assert f"failed in synthesize: {kind}: the cohort\n  [{kind}] stopped here" in capsys.readouterr().out
    where = stage(status_of(tmp_path), "synthesize")
    assert (where.state, where.done, where.failed, where.left) == ("stopped", 1, 0, 5)


def test_a_folder_with_a_lock_alone_is_a_run_that_begins(tmp_path: Path) -> None:
    with locked(tmp_path):
        found = status_of(tmp_path)
    assert (found.phase, found.knees, found.stages[0].state, found.stages[0].left) == (
        "running",
        None,
        "running",
        None,
    )
    assert "number not known yet" in text_of(found)


@pytest.mark.parametrize("torn", [None, '{"schema": "srrd-run/2", "outc'])
def test_a_lost_or_torn_manifest_leaves_what_the_sidecars_tell(tmp_path: Path, torn: str | None) -> None:
    sidecars(tmp_path, "ingest", 6)
    sidecars(tmp_path, "learn-synthesis", 1)
    sidecars(tmp_path, "align", 2)
    if torn:
        (tmp_path / "run.json").write_text(torn)
    found = status_of(tmp_path)
    assert (found.phase, found.command_code) == ("interrupted", 3)
    assert [(one.state, one.done) for one in found.stages[:4]] == [
        ("ended", 6), ("ended", 1), ("interrupted", 2), ("waiting", 0),
    ]  # fmt: skip
    assert text_of(found)


def test_a_folder_that_is_no_run_is_a_usage_error_that_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.yaml").touch()
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file.yaml", tmp_path / "file.yaml" / "none"):
        assert code_of("status", str(folder)) == 2
        assert "not-a-run" in (words := capsys.readouterr().err)
        assert "Give the folder of a run" in words


@pytest.mark.parametrize("text", ['{"schema": "srrd-run/9"}', "[]"])
def test_a_manifest_of_another_version_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "run.json").write_text(text)
    assert code_of("status", str(tmp_path)) == 2
    assert "expected srrd-run/2" in capsys.readouterr().err


def test_the_json_holds_every_failed_knee_where_the_text_names_five(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest(tmp_path, len(STAGE_NAMES), of=20, bad=9).write("finished", 1)
    assert code_of("status", str(tmp_path)) == 1
    assert "sub-00004_side-L and 4 more" in capsys.readouterr().out
    assert code_of("status", str(tmp_path), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["knee"]["participant"] for one in found["failed"]] == [knee.participant for knee in knees(9)]
    assert (found["phase"], found["exit_code"], found["knees"]) == ("finished", 1, 20)
    assert found["stages"][0]["done"] == 20


def test_nothing_is_written_and_ray_is_not_imported(tmp_path: Path) -> None:
    manifest(tmp_path, 2)
    sidecars(tmp_path, "synthesize", 2)
    before = snapshot(tmp_path)
    program = (
        "import sys; from srrd_ray.cli import main\n"
        "try: main(['status', sys.argv[1]])\n"
        "except SystemExit: sys.exit(len({'ray', 'torch', 'pandas'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=False
        ).returncode
        == 0
    )
    assert snapshot(tmp_path) == before


def test_ten_thousand_knees_take_one_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, ended = manifest(tmp_path, 0, of=10_000), STAGE_NAMES.index("measure") + 1
    written.outcomes = [
        Outcome(knee=knee, stage=name, status="done", seconds=1.0)
        for name in SPREAD[: SPREAD.index("measure") + 1]
        for knee in knees(10_000)
    ]
    written.times = [StageTime(stage=name, seconds=1.0) for name in STAGE_NAMES[:ended]]
    written.write("running", None)
    sidecars(tmp_path, "predict", 3000)
    asked: list[str] = []

    def listing(folder: Path) -> list[tuple[str, int]]:
        asked.append(folder.name)
        return list(modified_times(folder))

    monkeypatch.setattr("srrd_ray.pipeline.status.modified_times", listing)
    found = status_of(tmp_path)
    assert (stage(found, "measure").done, found.knees) == (10_000, 10_000)
    assert asked == [STAGE_NAMES[ended]]


def test_a_run_in_an_object_store_is_told_as_one_on_a_disk_with_few_requests(
    s3: ObjectStore, bucket: Path, tmp_path: Path
) -> None:
    manifest(tmp_path, STAGE_NAMES.index("register"))
    for n in range(50):  # what a run also holds, and what is not looked at
        write_text(tmp_path / "volumes" / f"knee-{n}" / "zarr.json", "{}")
    sidecars(tmp_path, "register", 4)
    leave_lock(tmp_path, Holder.here())
    copy_up(tmp_path, bucket / "run")
    for root in (
        tmp_path,
        bucket / "run",
    ):  # after run.json: a store knows whole seconds alone, and copies in any order
        write_text(root / "report.html", "")
    before = len(s3.requests)
    found = status_of(bucket / "run")
    assert len(s3.requests) - before <= 8
    here = status_of(tmp_path)
    assert (found.phase, found.knees, found.command_code) == (here.phase, here.knees, here.command_code)
    assert [(one.state, one.of, one.done + one.skipped, one.left) for one in found.stages] == [
        (one.state, one.of, one.done + one.skipped, one.left) for one in here.stages
    ]
    assert found.report == f"{bucket}/run/report.html"


def test_of_a_driver_that_died_the_finished_items_of_its_stage_are_counted(tmp_path: Path) -> None:
    written = manifest(tmp_path, STAGE_NAMES.index("synthesize"))
    sidecars(tmp_path, "synthesize", 4, age_s=60)
    died = Fault(code="driver-died", message="[driver-died] the process that drives the run died")
    written.outcomes.append(Outcome(knee=None, stage="synthesize", status="failed", seconds=0.0, error=died))
    written.write("stopped", 3)
    found = status_of(tmp_path)
    last = stage(found, "synthesize")
    assert (last.state, last.done, last.skipped, last.left) == ("stopped", 4, 0, 2)
    assert found.command_code == 3
    assert "failed in synthesize: driver-died: the cohort" in text_of(found)
