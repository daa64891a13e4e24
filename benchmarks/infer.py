"""How many knees an hour `srrd infer` reads from CT alone, and whether its memory stays flat.

``python benchmarks/infer.py CT FOLDER [--knees 1000] [--cpus 2]``: that many names of one CT, read by the reader that ships as a folder of CTs. Seconds of CPU
are those of all processes; memory is told of the driver and of the largest worker, in tenths of the run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TENTHS = 10
DONE = re.compile(r" done  [\d.]+ s$")


@dataclass
class Watched:
    """What was seen of a command: CPU seconds by process, and (knees done, MiB of the driver, of the largest worker)."""

    cpu: dict[tuple[int, float], float] = field(default_factory=dict)
    memory: list[tuple[int, float, float]] = field(default_factory=list)

    def look(self, pid: int, done: int) -> None:
        """Look at the processes of the command once."""
        try:
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        driver = worker = 0.0
        for one in processes:
            try:
                used, size, name = one.cpu_times(), one.memory_info().rss / 2**20, " ".join(one.cmdline()[:1])
            except psutil.Error:
                continue
            self.cpu[one.pid, one.create_time()] = used.user + used.system
            if name.startswith("ray::"):
                worker = max(worker, size)
            elif "python" in one.name() or "srrd" in one.name():
                driver = max(driver, size)
        self.memory.append((done, driver, worker))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ct", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=1000)
    parser.add_argument("--cpus", type=int, default=2)
    arguments = parser.parse_args()
    cts = arguments.folder / "cts"
    cts.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.knees):
        name = cts / f"knee-{number:05d}{''.join(arguments.ct.suffixes[-2:])}"
        if not name.exists():
            os.link(arguments.ct.resolve(), name)
    log, watched, started = arguments.folder / "log.txt", Watched(), time.monotonic()
    command = [
        "srrd",
        "infer",
        "--ct",
        str(cts),
        "--out",
        str(arguments.folder / "out"),
        "--cpus",
        str(arguments.cpus),
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL)
        first = None
        while process.poll() is None:
            done = sum(bool(DONE.search(line)) for line in log.read_text().splitlines())
            if done and first is None:
                first = time.monotonic() - started
            watched.look(process.pid, done)
            time.sleep(2)
    seconds = time.monotonic() - started
    report(arguments.knees, seconds, first or seconds, watched)
    return process.returncode


def report(knees: int, seconds: float, first: float, watched: Watched) -> None:
    """Print what was measured."""
    print(
        f"{knees} knees in {seconds:.0f} s, the first after {first:.0f} s: {3600 * (knees - 1) / (seconds - first):.0f} knees an hour"
    )
    print(f"{sum(watched.cpu.values()) / knees:.1f} CPU s a knee, all processes, start included")
    print("| knees done | driver, MiB | largest worker, MiB |\n|---|---|---|")
    for tenth in range(TENTHS):
        seen = [row for row in watched.memory if tenth * knees <= TENTHS * row[0] < (tenth + 1) * knees]
        if seen:
            print(
                f"| from {tenth * knees // TENTHS} | {max(row[1] for row in seen):.0f} | {max(row[2] for row in seen):.0f} |"
            )


if __name__ == "__main__":
    sys.exit(main())
