"""Who holds a lock, as the lock says it: machine, boot, namespace and process, so that others can look."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

Life: TypeAlias = Literal["running", "gone", "unknown"]
PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The text of a lock.

    Parameters
    ----------
    boot, namespace, started
        Boot of the kernel, namespaces of the process, start of the process in ticks: two processes of one
        machine may have the same number in two containers, or one after the other. Empty where not known.
    token
        Drawn at random: no two locks are the same.
    beat
        Grows with each heartbeat.
    """

    host: str = "unknown"
    pid: int = 0
    since: str = ""
    boot: str = ""
    namespace: str = ""
    started: str = ""
    token: str = ""
    beat: int = 0

    @classmethod
    def here(cls) -> Holder:
        """Return this process as a new holder."""
        return cls(
            host=socket.gethostname(), pid=os.getpid(), since=datetime.now(UTC).isoformat(timespec="seconds"),
            boot=_boot(), namespace=_namespace(), started=_started(os.getpid()), token=uuid4().hex,
        )  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Return the holder that a text names; one without a name where it cannot be read."""
        try:
            content = json.loads(text)
            texts = (_plain(str(content.get(name, ""))) for name in TEXTS)
            since, boot, namespace, started, token = texts
            return cls(
                host=_plain(str(content["host"])), pid=int(content["pid"]), since=since, boot=boot,
                namespace=namespace, started=started, token=token,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def text(self) -> str:
        """Return what is written into the lock."""
        return json.dumps(asdict(self), sort_keys=True)

    def next_beat(self) -> Holder:
        """Return the holder at its next heartbeat."""
        return replace(self, beat=self.beat + 1)

    def life(self) -> Life:
        """Return whether the process runs, as far as this process can look.

        It can where both have one kernel and one table of processes. That a process does not show in /proc is
        no proof: the processes of others may be hidden there.
        """
        known = self.boot and self.namespace and self.pid > 0
        if not known or (self.boot, self.namespace) != (_boot(), _namespace()):
            return "unknown"
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return "gone"
        except PermissionError:
            pass  # it runs, as somebody else's
        except (OSError, OverflowError):
            return "unknown"
        return self._seen_in_proc()

    def _seen_in_proc(self) -> Life:
        started = _started(self.pid)
        if started and started != self.started:
            return "gone"  # another process has its number by now, or it is a zombie
        return "running"


TEXTS = ("since", "boot", "namespace", "started", "token")


def _plain(text: str) -> str:
    """Return a text of a file that others may write as it can be shown on a terminal."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:128])


def _boot() -> str:
    return _read(PROC / "sys/kernel/random/boot_id")


def _namespace() -> str:
    """Return the namespaces of process numbers and of clocks; empty where /proc shows another's processes."""
    try:
        if (PROC / "self").readlink().name != str(os.getpid()):
            return ""
        return " ".join(str((PROC / "self" / "ns" / name).readlink()) for name in ("pid", "time"))
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process of this machine started, in ticks since boot.

    It is empty where it cannot be seen, and ``ended`` for one that is dead but not yet waited for.
    """
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return "ended" if fields[0] in ("Z", "X") else fields[19]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
