"""One job an output folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.execution import holder, lock
from srrd_ray.execution.holder import Holder
from srrd_ray.execution.lock import Held, locked, owner_of
from srrd_ray.storage import claims, objects
from srrd_ray.storage.atomic import write_text
from tests.running import writer

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from srrd_ray.execution import lock
lock.HEARTBEAT_S = 0.2
with lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TRY = """
import sys
from pathlib import Path
from srrd_ray.core.errors import StoreError
from srrd_ray.execution.lock import locked
try:
    with locked(Path(sys.argv[1])):
        print("taken over")
except StoreError as error:
    print(error)
"""
ELSEWHERE = Holder(host="elsewhere", pid=1, since="2026-01-02T03:04:05+00:00", token="a")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of the real lock become hundredths."""
    for module, name, seconds in (
        (lock, "HEARTBEAT_S", 0.05), (lock, "SILENT_S", 0.3), (lock, "POLL_S", 0.02), (claims, "SETTLE_S", 0.05),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


def leave(root: Path, left: Holder, age_s: float = 0.0) -> Path:
    """Leave a lock; its time of change is that of a storage whose clock is `age_s` behind."""
    path = root / ".lock"
    path.write_text(left.text())
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@contextmanager
def moved(change: Callable[[int], None]) -> Iterator[None]:
    """Call `change` with a growing number every 50 ms, as a job on another node would."""
    stop = threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(0.05):
            number += 1
            change(number)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def refusal(root: Path) -> str:
    with pytest.raises(StoreError, match="output-locked") as caught, locked(root):
        pass
    return str(caught.value)


def taken_over(root: Path) -> bool:
    with locked(root):
        return Holder.parse((root / ".lock").read_text()).pid == os.getpid()


def test_a_second_job_is_refused_with_the_owner_and_how_it_is_known_to_live(tmp_path: Path) -> None:
    with locked(tmp_path):
        text = refusal(tmp_path)
    assert f"process {os.getpid()} on {socket.gethostname()} since 20" in text
    assert "its process runs" in text


def test_the_lock_is_gone_afterwards_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over_at_once(tmp_path: Path) -> None:
    leave(tmp_path, replace(Holder.here(), pid=2**22 + 1))
    owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.stale, owner.evidence) == (True, "its process is gone")
    assert taken_over(tmp_path)


def test_the_number_of_a_dead_process_may_be_anothers_by_now(tmp_path: Path) -> None:
    leave(tmp_path, replace(Holder.here(), pid=1))
    assert taken_over(tmp_path)


def test_a_process_that_is_anothers_and_hidden_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, Holder.here())

    def deny(_: int, __: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", deny)
    monkeypatch.setattr(holder, "_started", lambda _: "")
    assert "its process runs" in refusal(tmp_path)


def test_a_zombie_holds_no_lock(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine = replace(Holder.here(), pid=child.pid, started=holder._started(child.pid))
    leave(tmp_path, mine)
    assert "its process runs" in refusal(tmp_path)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert taken_over(tmp_path)
    child.communicate()


@pytest.mark.parametrize("age_s", [-86400, -200, 0, 200, 86400])
@pytest.mark.parametrize("what", ["time of change", "text"])
def test_a_lock_that_moves_is_alive_whatever_the_clocks_say(tmp_path: Path, what: str, age_s: float) -> None:
    path = leave(tmp_path, ELSEWHERE, age_s)

    def beat(number: int) -> None:
        if what == "text":
            path.write_text(replace(ELSEWHERE, beat=number).text())
        os.utime(path, (time.time() - age_s,) * 2)

    with moved(beat):
        assert "process 1 on elsewhere" in refusal(tmp_path)
        owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.stale, owner.evidence) == (False, "its heartbeat moves")


@pytest.mark.parametrize("age_s", [-86400, 0, 86400])
def test_a_lock_that_does_not_move_is_dead_whatever_the_clocks_say(tmp_path: Path, age_s: float) -> None:
    leave(tmp_path, ELSEWHERE, age_s)
    started = time.monotonic()
    owner = owner_of(tmp_path)
    assert time.monotonic() - started >= lock.SILENT_S
    assert owner is not None
    assert (owner.host, owner.since, owner.evidence) == ("elsewhere", ELSEWHERE.since, "no heartbeat")
    assert taken_over(tmp_path)


def test_a_lock_whose_holder_was_in_another_boot_or_container_is_watched(tmp_path: Path) -> None:
    here = Holder.here()
    for other in (replace(here, boot="other"), replace(here, namespace="pid:[1]"), replace(here, boot="")):
        path = leave(tmp_path, other)
        with moved(lambda _, path=path: os.utime(path)):  # type: ignore[misc]
            assert "its heartbeat moves" in refusal(tmp_path)


def test_a_lock_that_is_released_while_it_is_watched_is_free(tmp_path: Path) -> None:
    path = leave(tmp_path, ELSEWHERE)
    with moved(lambda _: path.unlink(missing_ok=True)):
        assert owner_of(tmp_path) is None
    path = leave(tmp_path, ELSEWHERE)
    threading.Timer(0.1, path.unlink).start()
    with locked(tmp_path):
        pass


def test_a_view_that_lags_behind_takes_no_living_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last: dict[Path, tuple[float, claims.Seen | None]] = {}

    def through_a_cache(path: Path) -> claims.Seen | None:
        """As an attribute cache of a network file system gives it: up to a fifth of a second old."""
        if path not in last or time.monotonic() - last[path][0] > 0.2:
            last[path] = time.monotonic(), claims.see(path)
        return last[path][1]

    path = leave(tmp_path, ELSEWHERE)
    monkeypatch.setattr(lock, "see", through_a_cache)
    with moved(lambda n: write_text(path, replace(ELSEWHERE, beat=n).text())):
        assert "its heartbeat moves" in refusal(tmp_path)


def run_as(*prefix: str, root: Path) -> str:
    """What a second job says that is started behind `prefix`."""
    found = subprocess.run(
        [*prefix, sys.executable, "-c", TRY, str(root)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return found.stdout + found.stderr


HIDDEN = (
    'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
)
ELSEWHERES = {
    "pid namespace": ("unshare", "--pid", "--fork", "--mount-proc"),
    "pid namespace under the outer proc": ("unshare", "--pid", "--fork"),
    "hidepid": ("unshare", "--mount", "sh", "-c", HIDDEN, "sh"),
    "no proc": ("unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"),
}


@pytest.mark.parametrize("where", list(ELSEWHERES))
def test_a_living_lock_is_respected_from_where_its_process_cannot_be_seen(where: str) -> None:
    prefix = ELSEWHERES[where]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    root = Path("/tmp") / f"srrd-lock-{os.getpid()}-{where.replace(' ', '-')}"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(root)], cwd=ROOT, stdout=subprocess.PIPE) as job:
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == b"held\n"
            root.chmod(0o777)
            assert "[output-locked]" in run_as(*prefix, root=root)
        finally:
            job.send_signal(signal.SIGINT)
            job.wait(20)
            shutil.rmtree(root)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StoreError, match="output-unwritable"), locked(blocker / "run"):
        pass


def test_the_lock_tells_who_holds_it_since_when_and_whether_they_live(tmp_path: Path) -> None:
    assert owner_of(tmp_path) is None
    before = datetime.now(UTC).replace(microsecond=0)
    with locked(tmp_path):
        owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.host, owner.pid, owner.stale) == (socket.gethostname(), os.getpid(), False)
    assert before <= datetime.fromisoformat(owner.since) <= datetime.now(UTC)


def test_a_lock_that_nobody_looks_at_is_neither_alive_nor_dead(tmp_path: Path) -> None:
    leave(tmp_path, ELSEWHERE)
    owner = owner_of(tmp_path, watch=False)
    assert owner is not None
    assert (owner.stale, owner.evidence) == (False, None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"host": "a"}', '{"host": "a", "pid": "x"}', "\x00\xff"]
)
def test_a_torn_lock_has_an_unknown_owner_and_is_dead_where_it_does_not_move(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / ".lock").write_text(text)
    owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.host, owner.since, owner.stale) == ("unknown", "", True)
    assert taken_over(tmp_path)


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_no_number_of_a_process_reaches_another(tmp_path: Path, pid: int) -> None:
    leave(tmp_path, replace(Holder.here(), pid=pid))
    owner = owner_of(tmp_path)
    assert owner is not None
    assert owner.evidence == "no heartbeat"


def test_what_a_lock_says_is_fit_for_a_terminal(tmp_path: Path) -> None:
    leave(tmp_path, replace(ELSEWHERE, host="a\x1b[2Jb\nc"))
    owner = owner_of(tmp_path, watch=False)
    assert owner is not None
    assert owner.host == "a?[2Jb?c"


def test_a_heartbeat_changes_the_text_of_the_lock_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        first = Holder.parse((tmp_path / ".lock").read_text())
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / ".lock").read_text())["beat"] < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        text = (tmp_path / ".lock").read_text()
    assert json.loads(text)["beat"] >= 2
    assert asdict(Holder.parse(text)) == asdict(first)


def lose(root: Path, held: list[Held]) -> None:
    """Work under a lock that another job then takes over; a signal ends it."""
    with locked(root) as mine:
        held.append(mine)
        (root / ".lock").unlink()
        write_text(root / ".lock", ELSEWHERE.text())
        time.sleep(10)


def test_a_job_whose_lock_another_has_is_interrupted_and_leaves_that_lock(tmp_path: Path) -> None:
    held: list[Held] = []
    with pytest.raises(StoreError, match="output-lost"):
        lose(tmp_path, held)
    assert (tmp_path / ".lock").read_text() == ELSEWHERE.text()
    with pytest.raises(StoreError, match="output-lost"):
        held[0].require()


def test_a_run_whose_lock_another_has_writes_nothing_over_its_manifest(tmp_path: Path) -> None:
    held = Held(root=tmp_path)
    written = writer(tmp_path, require_lock=held.require)
    written.write("running", None)
    before = (tmp_path / "run.json").read_bytes()
    held.lost.set()
    with pytest.raises(StoreError, match="output-lost"):
        written.write("stopped", 3)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_lock_that_is_removed_by_hand_is_made_again(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".lock").unlink()
        deadline = time.monotonic() + 10
        while not (tmp_path / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert f"process {os.getpid()}" in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_is_the_users_stays_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_of_many_jobs_that_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    leave(tmp_path, replace(Holder.here(), pid=2**22 + 1))
    ready, done, got = threading.Barrier(8), threading.Barrier(8), []

    def job(number: int) -> None:
        ready.wait()
        try:
            with locked(tmp_path):
                got.append(number)
                done.wait(30)
        except StoreError:
            done.wait(30)

    threads = [threading.Thread(target=job, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_in_an_object_store_is_held_beats_and_is_released(bucket: Path) -> None:
    with locked(bucket / "run"):
        assert "its process runs" in refusal(bucket / "run")
        deadline = time.monotonic() + 10
        while json.loads((bucket / "run/.lock").read_text())["beat"] < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert json.loads((bucket / "run/.lock").read_text())["beat"] >= 2
    assert not (bucket / "run/.lock").exists()


def test_a_lock_in_an_object_store_is_watched_and_taken_over_where_it_does_not_move(bucket: Path) -> None:
    path = bucket / "run" / ".lock"
    write_text(path, ELSEWHERE.text())
    with moved(lambda n: write_text(path, replace(ELSEWHERE, beat=n).text())):
        assert "its heartbeat moves" in refusal(bucket / "run")
    with locked(bucket / "run"):
        assert Holder.parse(path.read_text()).pid == os.getpid()


def test_a_lock_in_an_object_store_that_another_has_is_left_to_it(bucket: Path) -> None:
    with pytest.raises(StoreError, match="output-lost"):
        lose(bucket / "run", [])
    assert (bucket / "run" / ".lock").read_text() == ELSEWHERE.text()


@pytest.mark.parametrize("store", ["refuses conditions", "ignores conditions"])
def test_of_two_jobs_in_a_store_without_conditions_one_gets_the_lock(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    put, got, ready = objects.client().put_object, [], threading.Barrier(2)

    def plain_put(**arguments: object) -> object:
        conditions = {name: arguments.pop(name, None) for name in ("IfMatch", "IfNoneMatch")}
        if store == "refuses conditions" and any(conditions.values()):
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        return put(**arguments)

    monkeypatch.setattr(objects.client(), "put_object", plain_put)
    monkeypatch.setattr(claims, "SETTLE_S", 0.5)

    def job() -> None:
        ready.wait()
        try:
            with locked(bucket / "run"):
                got.append(1)
                time.sleep(1)
        except StoreError as error:
            assert error.code in ("output-locked", "output-lost")  # noqa: PT017

    threads = [threading.Thread(target=job) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
