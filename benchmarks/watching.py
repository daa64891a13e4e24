"""What a benchmark sees of a command: its processes, their memory, and the log lines that tell its stage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ENDED = re.compile(r"^\S+ (\S+) +(?:\d+ \w+, )*\d+ \w+ in ([\d.]+) s$")
LINE = re.compile(r"^\d\d:\d\d:\d\d (\S+)")


def processes(root: int, *, others: bool = True) -> Iterator[int]:
    """Yield the process `root`, all that descend from it, and Ray's daemons, also of `others`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            except OSError:
                continue
    for pid in parents:
        line, at = [], pid
        while at in parents and at > 1:
            line.append(at)
            at = parents[at]
        if root in line or (others and is_ray(pid)):
            yield pid


def is_ray(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return False
    return (
        b"ray::" in command[:16] or b"/ray/core/src/ray/" in command or b"/ray/_private/workers/" in command
    )


def pss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
