"""How a command ends: its messages, its exit code, and never a traceback.

What is no `SrrdError` becomes one here at the latest. Streams may be closed, full, or lack a letter.
"""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from srrd_ray.core.errors import FREE_SPACE, ClusterError, SrrdError, StoreError, exit_code
from srrd_ray.core.one_line import printable

INTERRUPTED = 128 + signal.SIGINT
PIPE_CLOSED = 128 + signal.SIGPIPE
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM)
LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


def ended_with(command: Callable[[], int], level: int = logging.INFO) -> int:
    """Return the exit code of a command, which logs to standard error from `level`, as `end_command` does."""
    open_streams()
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("srrd_ray").setLevel(level)
    return end_command(command)


def end_command(command: Callable[[], int]) -> int:
    """Return the exit code of a command, after saying on standard error what stopped it.

    130 after Ctrl-C, 141 where the reader of its output has gone, else as `exit_code`.
    """
    open_streams()
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        _drop(sys.stdout)
        return PIPE_CLOSED
    except KeyboardInterrupt as stop:
        _say(str(stop.__cause__) if isinstance(stop.__cause__, SrrdError) else "interrupted")
        return INTERRUPTED
    except Exception as error:  # the last boundary: whatever it is, it is said in words
        refusal = to_own_error(error)
        _say(str(refusal))
        return exit_code(refusal)
    return code


def to_own_error(error: Exception) -> SrrdError:
    """Return an exception of a library or the system as an error with a code and a remedy; ours as it is.

    >>> print(to_own_error(PermissionError(13, "Permission denied", "/data/knee.nii")).code)
    access-denied
    """
    if isinstance(error, SrrdError):
        return error
    if isinstance(error, MemoryError):
        return ClusterError(
            "memory-exhausted", "there is not enough memory",
            todo="Use a machine with more, a smaller region, or --blocks for an OME-Zarr.",
        )  # fmt: skip
    if isinstance(error, OSError) and error.errno is not None:
        return _system_error(error)
    from srrd_ray.core.records import Fault  # here: it takes numpy, and most commands end without a fault

    fault = Fault.from_error(error)
    return SrrdError(
        fault.code, "a fault that SRRD-Ray does not know", got=fault.message,
        todo="Please report it with these words; `srrd support` packs what is needed of a run.",
    )  # fmt: skip


def _system_error(error: OSError) -> StoreError:
    where = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes | Path) else ""
    got = str(error.strerror)
    if error.errno in FULL:
        return StoreError(
            "output-full", "the output takes no more bytes", where=where, got=got, todo=FREE_SPACE
        )
    if error.errno in DENIED:
        todo = "Ask for the right to use it, or choose another place."
        return StoreError("access-denied", "the system refuses access", where=where, got=got, todo=todo)
    if error.errno in LIMITS:
        todo = "Raise the limit (`ulimit -a`), or do less at once."
        return StoreError("system-limit", "a limit of the system is reached", where=where, got=got, todo=todo)
    todo = "Check that the disk or the share is there and sound, then run the same command again."
    return StoreError("system-error", "the system could not read or write", where=where, got=got, todo=todo)


def open_streams() -> None:
    """Make standard output and error accept every letter, and exist: a parent may have closed them.

    A letter that the encoding of a terminal lacks is written as in JSON, so that JSON stays JSON.
    """
    codecs.register_error("srrd-escape", _escape)
    logging.raiseExceptions = False  # a log line that cannot be written stops nothing
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for good
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="srrd-escape")


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"srrd: {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: object) -> None:
    """Send what is still in the buffer of a stream nowhere, so that the interpreter ends in silence."""
    if isinstance(stream, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
