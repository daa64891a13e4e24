"""Wall time and peak memory of a command by stage: ``python benchmarks/demo.py srrd run --cohort C --out RUN``.

Memory is the proportional set size (PSS) of the command, everything it started, and every Ray process of this user, so
that shared pages count once. The stage is read off the log lines of the command.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

ENDED = re.compile(r"^\S+ (\S+) +(?:\d+ \w+, )*\d+ \w+ in ([\d.]+) s$")
LINE = re.compile(r"^\d\d:\d\d:\d\d (\S+)")


def processes(root: int) -> Iterator[int]:
    """Yield the process `root`, all that descend from it, and Ray's daemons."""
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
        if root in line or is_ray(pid):
            yield pid


def is_ray(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return False
    return b"ray::" in command[:16] or b"/ray/core/src/ray/" in command or b"/ray/_private/workers/" in command


def pss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def main() -> int:
    started = time.monotonic()
    command = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
    stage, peaks, seconds = "start", defaultdict(float), {}

    def read() -> None:
        nonlocal stage
        for line in command.stderr or ():
            sys.stderr.write(line)
            if (ended := ENDED.match(line)) is not None:
                seconds[ended[1]] = float(ended[2])
                stage = f"after {ended[1]}"
            elif (found := LINE.match(line)) is not None:
                stage = found[1]

    reader = Thread(target=read, daemon=True)
    reader.start()
    while command.poll() is None:
        peaks[stage] = max(peaks[stage], sum(pss_mb(pid) for pid in processes(command.pid)))
        time.sleep(1.0)
    reader.join()
    print(f"\n{'stage':<24} {'seconds':>8} {'peak MB':>8}")
    for name, peak in peaks.items():
        print(f"{name:<24} {seconds.get(name, 0.0):>8.1f} {peak:>8.0f}")
    print(f"{'all':<24} {time.monotonic() - started:>8.1f} {max(peaks.values()):>8.0f}")
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
