"""Where the sockets of a local Ray lie: a system allows them short paths only."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from srrd_ray.core.errors import ClusterError

log = logging.getLogger(__name__)

LONGEST = 103
"""Bytes of a socket's path that every system allows."""
BELOW = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""What Ray adds to the folder for temporary files."""
SHORT = Path("/tmp")  # noqa: S108 - Ray's own choice where TMPDIR is not set


def choose_folders(short: Path = SHORT) -> tuple[str | None, str | None]:
    """Return what `find_folders` does, and log its remark."""
    sockets, spilled, remark = find_folders(short)
    if remark:
        log.warning("%s: %s is used", remark, short)
    return sockets, spilled


def find_folders(short: Path = SHORT) -> tuple[str | None, str | None, str]:
    """Return the folder of Ray's sockets and that of what memory cannot hold; null where Ray's own will do.

    The last says why it is not Ray's own, or nothing. Batch systems set a TMPDIR that is longer than sockets
    allow: then they lie in `short`, and what memory cannot hold still goes to TMPDIR.

    Raises
    ------
    ClusterError
        `tmpdir-unusable` where neither can be used.
    """
    usual = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir())
    fits = len(os.fsencode(usual)) + len(BELOW) <= LONGEST
    if fits and _can_write(usual):
        return None, None, ""
    if not _can_write(short):
        raise ClusterError(
            "tmpdir-unusable", "Ray has no folder for its sockets", where="TMPDIR",
            got=f"{len(os.fsencode(usual))} bytes" if not fits else "nothing can be written there",
            expected=f"a folder that can be written, of at most {LONGEST - len(BELOW)} bytes",
            todo="Set RAY_TMPDIR to a short path on a local disk.",
        )  # fmt: skip
    remark = f"TMPDIR is {'no place' if fits else 'too long'} for Ray's sockets"
    return str(short / "ray"), str(usual.resolve()) if _can_write(usual) else None, remark


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
