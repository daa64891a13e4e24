"""A driver that dies without a word leaves a run that says so, whatever ended it; real processes, and a real run folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.lock import owner_of
from srrd_ray.pipeline.status import RunStatus, read_status
from srrd_ray.pipeline.supervised_run import watched
from srrd_ray.storage.layout import RunLayout
from tests.imaging import makers
from tests.pipeline.test_status import manifest
from tests.running import run

ROOT = Path(__file__).resolve().parents[2]
SAID = "12:00:00 ingest 6 done in 1.0 s\nIntel oneMKL FATAL ERROR: Cannot load /home/jane/sub-00003/libtorch_cpu.so\n"
SAY = f"import sys; sys.stderr.write({SAID!r}); sys.stderr.flush()\n"
DEATHS = {
    "exit status 2": "import ctypes; ctypes.CDLL(None).exit(2)",
    "exit status 0": "import os; os._exit(0)",
    "exit status 1": "raise ValueError('of ours')",
    "signal SIGKILL (Killed), most often for want of memory": "import os; os.kill(os.getpid(), 9)",
    "signal SIGSEGV (Segmentation fault)": "import faulthandler; faulthandler._sigsegv()",
}
IN_ORDER = "import sys\nfrom srrd_ray.execution.supervision import leashed\ncode = int(sys.argv[2])\nleashed()(code)\n"
LOCKED = "import os, sys\nfrom pathlib import Path\nfrom srrd_ray.execution.lock import locked\nwith locked(Path(sys.argv[2])): "
AT_WORK = """
import os, sys, time
from pathlib import Path
from srrd_ray.execution.lock import locked
from srrd_ray.execution.supervision import leashed
root = Path(sys.argv[2])
try:
    leashed()
    with locked(root):
        (root / "pid").write_text(str(os.getpid()))
        time.sleep(120)
except KeyboardInterrupt:
    sys.stderr.write("cleaned up\\n")
    sys.exit(130)
"""
PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
from pathlib import Path
from srrd_ray.core.console import ended_with
from srrd_ray.pipeline.supervised_run import watched
sys.exit(ended_with(lambda: watched(Path(sys.argv[1]), sys.argv[2], sys.argv[1])))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run that goes on in its second stage."""
    manifest(tmp_path / "run", 1)
    return tmp_path / "run"


def death(root: Path, program: str, *arguments: str) -> str:
    with pytest.raises(ClusterError) as caught:
        watched(root, program, *arguments)
    return str(caught.value)


def status(root: Path) -> RunStatus:
    return read_status(RunLayout(root=root))


@pytest.mark.parametrize("how", DEATHS)
def test_a_run_says_how_its_driver_died_in_which_stage_and_what_it_said_last(
    root: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    message = death(root, SAY + DEATHS[how])
    assert message.startswith(
        f"[driver-died] the process that drives the run died in stage learn-synthesis: got {how}"
    )
    assert "Intel oneMKL FATAL ERROR: Cannot load" in message
    assert "Run the same command again: finished work is kept." in message
    assert not {word for word in ("jane", "00003", "libtorch", "ingest 6") if word in message}
    found = status(root)
    assert (found.phase, found.exit_code) == ("stopped", 3)
    assert [(o.stage, o.knee, o.error.code) for o in found.failed if o.error] == [
        ("learn-synthesis", None, "driver-died")
    ]
    assert found.failed[0].error is not None
    assert found.failed[0].error.message == message
    assert SAID in capfd.readouterr().err, "what it says passes through as it is"


@pytest.mark.parametrize("how", ["exit status 2", "signal SIGKILL (Killed), most often for want of memory"])
def test_a_command_says_how_it_died_and_what_to_do(how: str) -> None:
    with pytest.raises(ClusterError) as caught:
        watched(None, SAY + DEATHS[how])
    message = str(caught.value)
    assert message.startswith(f"[driver-died] the process that drives the run died: got {how}")
    assert "Intel oneMKL FATAL ERROR: Cannot load" in message
    assert "jane" not in message
    assert "Run the same command again" in message


def test_a_command_that_ends_in_order_is_not_spoken_for() -> None:
    assert watched(None, IN_ORDER + "sys.exit(code)", "2") == 2


@pytest.mark.parametrize("code", [0, 2, 3])
def test_a_driver_that_ends_in_order_is_not_spoken_for(root: Path, code: int) -> None:
    before = (
        root / "run.json"
    ).read_bytes()  # as an earlier run left it, which this one was refused to go on with
    assert watched(root, IN_ORDER + "sys.exit(code)", str(code)) == code
    assert watched(root, IN_ORDER + DEATHS["exit status 1"], str(code)) == code, (
        "what happens as it exits is no matter"
    )
    assert (root / "run.json").read_bytes() == before


def test_the_lock_of_a_driver_that_died_is_gone(root: Path) -> None:
    death(root, LOCKED + "os.kill(os.getpid(), 9)", str(root))
    assert owner_of(root) is None
    assert status(root).phase == "stopped"


def test_a_run_that_another_job_goes_on_with_is_left_alone(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(root), AT_WORK], cwd=ROOT) as other:
        pid = pid_of(root)
        assert "driver-died" in death(root, DEATHS["exit status 2"])
        owner = owner_of(root)
        assert owner is not None
        assert owner.pid == pid
        assert status(root).phase == "running"
        other.terminate()


def test_a_run_that_had_ended_and_one_that_never_began_are_left_alone(tmp_path: Path) -> None:
    written = manifest(tmp_path / "run", 1)
    written.write("finished", 0)
    assert "[driver-died]" in death(tmp_path / "run", DEATHS["exit status 2"])
    assert status(tmp_path / "run").exit_code == 0
    assert "[driver-died]" in death(tmp_path / "none", DEATHS["exit status 2"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_recorded(root: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(root), AT_WORK], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    child = pid_of(root)
    parent.send_signal(how)
    said = parent.communicate(timeout=60)[1]
    assert parent.returncode == (130 if how == signal.SIGINT else 3)
    assert not runs(child)
    assert ("cleaned up" in said) == (how == signal.SIGINT)
    assert "Traceback" not in said
    assert (
        f"srrd: [driver-stopped] the run was told to stop in stage learn-synthesis: got signal {how.name}"
        in said
    )
    assert (status(root).phase, owner_of(root)) == ("stopped", None)


@pytest.mark.parametrize(("told", "how"), [(KeyboardInterrupt(), "SIGINT"), (SystemExit(15), "SIGTERM")])
def test_a_driver_that_is_told_to_stop_says_so_before_it_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: BaseException, how: str
) -> None:
    def raise_signal(_: StageGraph, __: object) -> None:
        raise told

    monkeypatch.setattr(
        StageGraph, "run_stage", raise_signal
    )  # a signal in the middle of a stage; `ray job stop` grants 3 s after it
    with pytest.raises(type(told)):
        run(makers.cohort(tmp_path / "cohort"), tmp_path / "run", until="ingest")
    (failed,) = status(tmp_path / "run").failed
    assert failed.error is not None
    assert (
        f"[driver-stopped] the run was told to stop in stage ingest: got signal {how}" in failed.error.message
    )
    assert (status(tmp_path / "run").phase, owner_of(tmp_path / "run")) == ("stopped", None)


def test_a_driver_ends_when_its_parent_is_killed_and_the_lock_is_free_for_the_next(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(root), AT_WORK], cwd=ROOT) as parent:
        child = pid_of(root)
        parent.kill()
    until = time.monotonic() + 30
    while runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs(child)
    owner = owner_of(root)
    assert owner is not None
    assert owner.stale
    assert watched(root, IN_ORDER, "0") == 0


def test_what_the_driver_started_may_live_on_with_its_standard_error(root: Path) -> None:
    started = time.monotonic()
    death(root, "import subprocess, os; subprocess.Popen(['sleep', '60']); os._exit(2)")
    assert time.monotonic() - started < 30


def test_the_parent_imports_nothing_heavy() -> None:
    code = (
        "import sys, srrd_ray.pipeline.supervised_run; print([m for m in sys.modules if m in sys.argv[1:]])"
    )
    heavy = [
        "ray",
        "torch",
        "pandas",
        "scipy",
        "zarr",
        "jsonschema",
        "srrd_ray.pipeline.manifest",
        "srrd_ray.pipeline.run",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def pid_of(root: Path) -> int:
    """The process of a driver at work, once it is."""
    until = time.monotonic() + 60
    while not (root / "pid").is_file() or not (root / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    return int((root / "pid").read_text())


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
