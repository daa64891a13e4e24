"""Files broken byte by byte, read by every reader: each gives a volume or an error of ours, in bounded time and memory.

    python benchmarks/fuzz.py                          every target, a minute each
    python benchmarks/fuzz.py nifti dicom --seconds 600 --seed 7

A case that ends otherwise (another exception, more than `--limit` seconds, more memory, a killed process) is kept
in the folder `--keep` under its number, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzzing import TARGETS, try_case

MEMORY_GIB = 6
"""Address space of a process that reads: libraries take some 4 GiB of it before they read anything."""


def _child(name: str, work: Path, first: int, seconds: float, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB << 30,) * 2)
    signal.signal(signal.SIGALRM, _too_long)
    end, seen = time.monotonic() + seconds, Counter[str]()
    sound, folder = work / "sound", work / "case"
    sound.mkdir(parents=True, exist_ok=True)
    TARGETS[name].make(sound)
    seed = first
    while time.monotonic() < end:
        (work / "seed").write_text(str(seed))
        signal.alarm(limit)
        outcome = try_case(TARGETS[name], sound, folder, seed)
        signal.alarm(0)
        seen[outcome.split(":")[0]] += 1
        if outcome.startswith("BAD"):
            shutil.copytree(folder, work / f"bad-{seed}", dirs_exist_ok=True)
            sys.stdout.write(f"{name} {seed}: {outcome}\n")
        seed += 1
    (work / "seen").write_text(repr(dict(seen.most_common())))


def _too_long(*_: object) -> None:
    raise TimeoutError("the case takes too long")


def fuzz(name: str, work: Path, *, first: int, seconds: float, limit: int) -> bool:
    """Return whether all cases of a target ended well; what a killed process did is told by its last seed."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    child = multiprocessing.get_context("spawn").Process(
        target=_child, args=(name, work, first, seconds, limit)
    )
    child.start()
    child.join(seconds + 120)
    if child.is_alive():
        child.kill()
        child.join()
    seen = (work / "seen").read_text() if (work / "seen").exists() else ""
    killed = child.exitcode != 0
    if killed:
        seed = (work / "seed").read_text() if (work / "seed").exists() else "none"
        sys.stdout.write(f"{name} {seed}: BAD process ended with {child.exitcode}\n")
    sys.stdout.write(f"{name}: {seen}\n")
    sys.stdout.flush()
    return not killed and not list(work.glob("bad-*"))


def main() -> int:
    """Return 0 where every case of every target ended well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "targets", nargs="*", default=list(TARGETS), metavar="TARGET", help=", ".join(TARGETS)
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=20, help="seconds that a case may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "srrd-fuzz")
    given = parser.parse_args()
    good = [
        fuzz(name, given.keep / name, first=given.seed, seconds=given.seconds, limit=given.limit)
        for name in given.targets
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
