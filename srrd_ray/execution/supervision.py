"""A small parent of the process that drives a run, so that the death of a driver is always recorded.

A native library may end a process, the system may kill it for want of memory: nothing in Python can record
that. So ``srrd run`` starts the driver as a child, passes signals on to it and its standard error through,
and records its end where it could not. The two hold the ends of one socket: over it the child sends its exit
code when it ends in order, and it ends at once when the parent is gone, so that no orphan keeps the lock of a
run. Nothing heavy is imported here.
"""

from __future__ import annotations

import codecs
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_LINES = 20
PUMP_S = 2.0
"""The rest of what a dead child wrote is there at once; what it started may hold the pipe open for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    code
        The exit code that it sent; None where it died.
    status
        As `subprocess` gives it.
    lines
        Its last lines on standard error.
    signals
        The signals that were passed on to it.
    """

    code: int | None
    status: int
    lines: tuple[str, ...]
    signals: tuple[signal.Signals, ...]

    @property
    def cause(self) -> str:
        """Why the child ended."""
        if self.signals:
            return f"signal {self.signals[-1].name}"
        if self.status < 0:
            hint = ", most often for want of memory" if -self.status == signal.SIGKILL else ""
            return f"signal {signal.Signals(-self.status).name} ({signal.strsignal(-self.status)}){hint}"
        return f"exit status {self.status}"


def child(program: str, *arguments: str) -> Ended:
    """Return how a child process ended that ran a Python `program`.

    Its end of the socket is the first argument of the program.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, _passing_on() as (signals, receivers):
        # Its own process group: a Ctrl-C reaches it once, through the parent, not also from the terminal.
        process = subprocess.Popen(  # noqa: S603 - this interpreter, a program of this package
            [sys.executable, *_flags(), "-c", program, str(theirs.fileno()), *arguments],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(theirs.fileno(),), process_group=0,
        )  # fmt: skip
        theirs.close()
        receivers.append(process)
        for early in tuple(signals):
            process.send_signal(early)
        lines: deque[str] = deque(maxlen=LAST_LINES)
        assert process.stderr is not None
        pump = Thread(target=_pump, args=(process.stderr, lines), daemon=True)
        pump.start()
        status = process.wait()
        pump.join(PUMP_S)
        return Ended(code=_receive_code(ours), status=status, lines=tuple(lines), signals=tuple(signals))


def _flags() -> list[str]:
    """Return what makes the child's interpreter warn, and search for modules, as this one does."""
    safe = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]  # the working directory is not searched
    return [*safe, *(f"-W{option}" for option in sys.warnoptions)]


@contextmanager
def _passing_on() -> Iterator[tuple[list[signal.Signals], list[subprocess.Popen[bytes]]]]:
    """Pass signals on to the receivers for the length of a block; those that were ignored stay ignored."""
    signals: list[signal.Signals] = []
    receivers: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        signals.append(signal.Signals(number))
        for one in receivers:
            one.send_signal(number)

    before = {one: signal.getsignal(one) for one in PASSED_ON}
    for one in (one for one in PASSED_ON if before[one] != signal.SIG_IGN):
        signal.signal(one, pass_on)
    try:
        yield signals, receivers
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _pump(stream: IO[bytes], lines: deque[str]) -> None:
    """Copy the child's standard error as it comes, and keep the last lines.

    A reader that is gone stops nothing.
    """
    decoder, line = codecs.getincrementaldecoder("utf-8")(errors="replace"), ""
    while chunk := os.read(stream.fileno(), 65536):
        text = decoder.decode(chunk)
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
        *whole, line = (line + text).replace("\r", "\n").split("\n")
        lines.extend(one for one in whole if one.strip())
    lines.extend([line] if line.strip() else [])


def _receive_code(ours: socket.socket) -> int | None:
    ours.setblocking(False)
    with suppress(BlockingIOError, ConnectionError):
        code = ours.recv(1)
        return code[0] if code else None
    return None


def leashed() -> Callable[[int], None]:
    """Return a function that reports this process's exit code to its parent.

    It is called as the last thing before the process exits. The process ends when the parent is gone.
    """
    parent = socket.socket(fileno=int(sys.argv[1]))
    parent.set_inheritable(False)
    Thread(target=_hold, args=(parent,), daemon=True).start()
    return lambda code: parent.sendall(bytes([code]))


def _hold(parent: socket.socket) -> None:
    with suppress(ConnectionError):
        parent.recv(1)  # nothing is ever sent: it returns when the parent is gone
    os._exit(3)
