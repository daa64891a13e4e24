"""Kill a process of a run in every stage, and compare the results with an undisturbed run, byte for byte.

``python benchmarks/chaos.py driver --cohort COHORT --out FOLDER [--config run.yaml]`` kills the driver (SIGKILL) once in
every stage, in turn itself and the command that looks after it, and starts the same command again each time; ``worker`` kills one Ray worker in every stage instead and lets the
run go on (or, where that was the process that guides a training, starts the same command again). Exit code 0: the same bytes, the same exit code, nothing half-written left over.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO

from watching import ENDED, processes

from srrd_ray.execution.lock import owner_of
from srrd_ray.pipeline.stages import STAGES as DECLARED

STAGES = tuple(stage.name for stage in DECLARED)

RESULTS = ("volumes", "patches", "tables", "models", "metrics.json")
"""What has to be the same; `run.json` and the report hold times."""
LONGEST_WAIT_S = 25.0
LOST = 3
"""The exit code of a run that lost its driver, or a process without which its cluster cannot go on; the same command does."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("victim", choices=("driver", "worker"))
    parser.add_argument("--cohort", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for both runs; an undisturbed one is kept"
    )
    parser.add_argument("--config")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    command = [
        "srrd",
        "run",
        "--cohort",
        given.cohort,
        *(["--config", given.config] if given.config else []),
        "--out",
    ]
    calm, killed = given.out / "calm", given.out / f"killed-{given.victim}"
    expected = subprocess.run([*command, str(calm)], check=False).returncode
    code, kills = run_with_kills([*command, str(killed)], given.victim, random.Random(given.seed))
    differ = find_differences(calm, killed)
    print(f"\n{'stage':<18} {'killed after':>12}  what was running")
    for stage, seconds, line in kills:
        print(f"{stage:<18} {seconds:>10.1f} s  {line}")
    print(f"\nexit codes: undisturbed {expected}, killed {code}; {len(kills)} kills")
    print(f"files that differ: {len(differ)}", *differ[:20], sep="\n  ")
    return 0 if not differ and code == expected else 1


def run_with_kills(
    command: Sequence[str], victim: str, rng: random.Random
) -> tuple[int, list[tuple[str, float, str]]]:
    """Return the last exit code of a command that is killed once in every stage, and the kills."""
    waiting, kills = list(STAGES), []
    while True:
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        lines: Queue[str] = Queue()
        before = len(kills)
        Thread(target=_read, args=(run.stderr, lines), daemon=True).start()
        for stage, line in _stages(run, lines, waiting):
            delay = rng.uniform(0.0, LONGEST_WAIT_S) if stage not in ("classify", "evaluate") else 0.0
            last = _wait(run, lines, delay, line)
            pid = _driver(run.pid, command[-1], len(kills)) if victim == "driver" else _worker(run.pid, rng)
            with suppress(ProcessLookupError):  # the run ended first
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    kills.append((stage, delay, last))
            waiting.remove(stage)
            if victim == "driver":
                break
        if run.wait() not in (-signal.SIGKILL, *([LOST] if len(kills) > before else [])):
            return run.returncode, kills
        time.sleep(3.0)  # Ray's processes notice that their driver is gone


def _stages(
    run: subprocess.Popen[str], lines: Queue[str], waiting: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield every waiting stage when it begins, with the line that tells so."""
    order: dict[str, str] = dict(pairwise(STAGES))
    if STAGES[0] in waiting:
        yield STAGES[0], "start"
    while run.poll() is None or not lines.empty():
        try:
            line = lines.get(timeout=0.2)
        except Empty:
            continue
        ended = ENDED.match(line)
        if ended and order.get(ended[1]) in waiting:
            yield order[ended[1]], line.strip()


def _wait(run: subprocess.Popen[str], lines: Queue[str], seconds: float, line: str) -> str:
    """Return the last line read within `seconds`, or when the stage has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and run.poll() is None:
        try:
            peeked = lines.queue[0] if lines.queue else None
            if peeked is not None and ENDED.match(peeked):
                return line
            line = lines.get(timeout=0.2).strip()
        except Empty:
            continue
    return line


def _driver(command: int, out: str, kills: int) -> int:
    """Return the process that drives the run, or, every other time and before there is one, the command that looks after it."""
    owner = owner_of(Path(out))
    return command if owner is None or owner.stale or kills % 2 else owner.pid


def _worker(driver: int, rng: random.Random) -> int:
    """Return one Ray worker of this run that is at work, or 0. The agents of a node are none:
    with them the node dies, here the whole cluster.
    """
    named = {pid: _title(pid) for pid in processes(driver, others=False)}
    busy = [
        pid
        for pid, name in named.items()
        if name.startswith("ray::") and "IDLE" not in name and "Agent" not in name
    ]
    return rng.choice(sorted(busy)) if busy else 0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _read(stream: IO[str] | None, lines: Queue[str]) -> None:
    for line in stream or ():
        sys.stderr.write(line)
        lines.put(line)


def find_differences(calm: Path, killed: Path) -> list[str]:
    """Return the results that are missing, left over or not the same bytes."""
    before, after = ({p.relative_to(root).as_posix(): p for p in _results(root)} for root in (calm, killed))
    return [
        name
        for name in sorted({*before, *after})
        if name not in before or name not in after or before[name].read_bytes() != after[name].read_bytes()
    ]


def _results(root: Path) -> Iterator[Path]:
    for part in RESULTS:
        path = root / part
        yield from ([path] if path.is_file() else (p for p in path.rglob("*") if p.is_file()))


if __name__ == "__main__":
    sys.exit(main())
