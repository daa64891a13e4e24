"""One job an output folder: a lock file with its owner and a heartbeat."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.paths import create_text, touch

HEARTBEAT_S = 20.0
STALE_S = 180.0
LOCK = ".lock"
"""Name of the lock in the folder that it guards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The job that a lock names, with the seconds since its heartbeat.

    It also has the time since when the job holds the lock (UTC; empty where the lock does not say).
    """

    host: str
    pid: int
    since: str
    heartbeat_s: float

    @property
    def stale(self) -> bool:
        """Whether the job is dead.

        Its process is gone (same host), or its heartbeat is older than `STALE_S`.
        """
        here = self.host == socket.gethostname() and Path("/proc/self").exists()
        return (here and not _lives(self.pid)) or self.heartbeat_s > STALE_S


def _lives(pid: int) -> bool:
    """Return whether a process of this machine runs.

    One that is dead but whose parent has not yet read its exit status does not run.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError:  # it is there, and not ours to look at
        return True
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def owner_of(root: Path) -> Owner | None:
    """Return who holds the lock of a run folder, dead or alive; None where it is free."""
    path = root / LOCK
    try:
        heartbeat_s = time.time() - path.stat().st_mtime
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        host, pid, since = str(content["host"]), int(content["pid"]), str(content.get("since", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        host, pid, since = "unknown", 0, ""
    return Owner(host=host, pid=pid, since=since, heartbeat_s=heartbeat_s)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of a run folder for the length of a block.

    A lock whose process is gone (same host), or whose heartbeat is older than `STALE_S`, is taken over.

    Raises
    ------
    StoreError
        `output-locked` naming the owner and the age; `output-unwritable` where nothing can be written there.
    """
    path = root / LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        _take(path)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            "output-unwritable", "cannot write into the output folder", where=root.name,
            got=str(error.strerror), todo="Choose another --out, on storage that every node can write.",
        ) from error  # fmt: skip
    stop = Event()
    thread = Thread(target=_beat, args=(path, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    for _ in range(2):
        try:
            create_text(path, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}))
        except FileExistsError:
            _refuse_living(path)
            path.unlink(missing_ok=True)
        else:
            return
    raise StoreError(
        "output-locked", "another job took the output folder at this moment", where=path.parent.name
    )


def _refuse_living(path: Path) -> None:
    owner = owner_of(path.parent)
    if owner is None or owner.stale:
        return
    raise StoreError(
        "output-locked",
        "another job works in this output folder",
        where=path.parent.name,
        got=f"process {owner.pid} on {owner.host}, heartbeat {owner.heartbeat_s:.0f} s ago",
        todo="Wait for it or stop it; the lock of a dead job is taken over "
        f"{STALE_S:.0f} s after its last heartbeat.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _beat(path: Path, stop: Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with suppress(StoreError):  # a store that does not answer now may do so at the next beat
            touch(path)
