"""One job an output folder: a lock file with its owner and a heartbeat."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from srrd_ray.errors import StoreError
from srrd_ray.io.places import create_text, touch

HEARTBEAT_S = 20.0
STALE_S = 180.0


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of a run folder for the length of a block.

    A lock whose process is gone (same host), or whose heartbeat is older than `STALE_S`, is taken over.

    Raises
    ------
    StoreError
        `output-locked` naming the owner and the age; `output-unwritable` where nothing can be written there.
    """
    path = root / ".lock"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _take(path)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            "output-unwritable", "cannot write into the output folder", where=root.name, got=str(error.strerror),
            todo="Choose another --out, on storage that every node can write.",
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
            create_text(path, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        except FileExistsError:
            _refuse_living(path)
            path.unlink(missing_ok=True)
        else:
            return
    raise StoreError("output-locked", "another job took the output folder at this moment", where=path.parent.name)


def _refuse_living(path: Path) -> None:
    age = time.time() - path.stat().st_mtime
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        host, pid = str(owner["host"]), int(owner["pid"])
    except (ValueError, KeyError, TypeError):
        host, pid = "unknown", 0
    gone = host == socket.gethostname() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists()
    if gone or age > STALE_S:
        return
    raise StoreError(
        "output-locked",
        "another job works in this output folder",
        where=path.parent.name,
        got=f"process {pid} on {host}, heartbeat {age:.0f} s ago",
        todo=f"Wait for it or stop it; the lock of a dead job is taken over {STALE_S:.0f} s after its last heartbeat.",
    )


def _beat(path: Path, stop: Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with suppress(StoreError):  # a store that does not answer now may do so at the next beat
            touch(path)
