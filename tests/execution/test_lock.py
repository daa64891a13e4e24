"""One job an output folder."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.execution import lock
from srrd_ray.execution.lock import locked, owner_of


def leave(root: Path, host: str, pid: int, age: float = 0.0) -> None:
    path = root / ".lock"
    path.write_text(json.dumps({"host": host, "pid": pid}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_second_job_is_refused_with_owner_and_age(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(StoreError, match=rf"output-locked.*process {os.getpid()} on"),
        locked(tmp_path),
    ):
        pass


def test_the_lock_is_gone_afterwards_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_the_lock_of_a_dead_process_of_this_host_is_taken_over(tmp_path: Path) -> None:
    leave(tmp_path, socket.gethostname(), 2**22 + 1)
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_the_lock_of_another_host_is_respected_until_its_heartbeat_is_old(tmp_path: Path) -> None:
    leave(tmp_path, "elsewhere", 1, age=lock.STALE_S - 60)
    with pytest.raises(StoreError, match="on elsewhere"), locked(tmp_path):
        pass
    leave(tmp_path, "elsewhere", 1, age=lock.STALE_S + 60)
    with locked(tmp_path):
        pass


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
    assert 0 <= owner.heartbeat_s < 60


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "a"}', '{"host": "a", "pid": "x"}'])
def test_a_torn_lock_has_an_unknown_owner_and_is_stale_with_age_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock").write_text(text)
    owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.host, owner.since, owner.stale) == ("unknown", "", False)
    os.utime(tmp_path / ".lock", (time.time() - lock.STALE_S - 60,) * 2)
    old = owner_of(tmp_path)
    assert old is not None
    assert old.stale
