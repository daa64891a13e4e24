"""What a run says of its driver that died: read from its book and from the last words of the process, written by the one that is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from srrd_ray import serial
from srrd_ray.errors import ClusterError, SrrdError
from srrd_ray.layout import RunLayout
from srrd_ray.ledger import Ledger, RunRecord
from srrd_ray.lock import locked
from srrd_ray.records import STAGES, Fault, Outcome, StageName
from srrd_ray.scrub import Scrubber

OURS = re.compile(r"\d\d:\d\d:\d\d ")
"""A line of our own log."""
QUOTED = 6
NATIVE = (
    "Intel oneMKL FATAL ERROR: Cannot load undefined symbol",
    "Fatal Python error: Segmentation fault Bus error Aborted Illegal instruction Killed Current thread most recent call first",
    "terminate called after throwing an instance of std::bad_alloc what() MemoryError out of memory",
)
"""Words that native code dies with: they name nobody, so they pass the scrubber, as all words of this package do."""


def death_of(root: Path, how: str, lines: Sequence[str], *, told: bool) -> ClusterError:
    """Return the error of a driver that ended before its run did, after the run has been given it as its end.

    Nothing is written where the run does not stand as going on, or another job works on it by now.
    """
    layout = RunLayout(root=root)
    book = _open_book(layout)
    stage = None if book is None else _stage_of(book)
    people = {outcome.knee.participant for outcome in book.outcomes if outcome.knee is not None} if book else ()
    error = told_to_stop(stage, how) if told else _died(stage, how, _last_words(lines, people))
    if stage is not None:
        with suppress(SrrdError), locked(root):
            _record(layout, stage, Fault.of(error))
    return error


def told_to_stop(stage: StageName | None, how: str) -> ClusterError:
    """Return the error of a run that a signal ended."""
    return _error("driver-stopped", "the run was told to stop", stage, how)


def _died(stage: StageName | None, how: str, words: str) -> ClusterError:
    said = f", its last words: {words}" if words else ""
    return _error("driver-died", "the process that drives the run died", stage, how + said)


def _error(code: str, what: str, stage: StageName | None, got: str) -> ClusterError:
    where = f"stage {stage}" if stage else ""
    return ClusterError(code, what, where=where, got=got, todo="Run the same command again: finished units are kept.")


def _open_book(layout: RunLayout) -> RunRecord | None:
    """Return the book of a run that stands as going on; None for any other, and for one that cannot be read."""
    with suppress(SrrdError, FileNotFoundError):
        book = serial.from_json(RunRecord, layout.run_json.read_text(encoding="utf-8"))
        return book if book.state == "running" else None
    return None


def _stage_of(book: RunRecord) -> StageName:
    ended = {one.stage for one in book.stages}
    return next((name for name in STAGES[: STAGES.index(book.until)] if name not in ended), book.until)


def _record(layout: RunLayout, stage: StageName, fault: Fault) -> None:
    book = _open_book(layout)
    if book is None:
        return
    end = Outcome(knee=None, stage=stage, status="failed", seconds=0.0, error=fault)
    Ledger(
        layout=layout, config=book.config, cohort=book.cohort, knees=book.knees, until=book.until,
        outcomes=[*book.outcomes, end], stages=list(book.stages),
    ).write("stopped", 3)  # fmt: skip


def _last_words(lines: Sequence[str], participants: Iterable[str]) -> str:
    """Return what was said after the last line of our own log, scrubbed."""
    ours = [number for number, line in enumerate(lines) if OURS.match(line)]
    said = lines[ours[-1] + 1 if ours else 0 :][-QUOTED:]
    scrubber = Scrubber.of(sorted(participants))
    return " / ".join(scrubber.text(line.strip()) for line in said)
