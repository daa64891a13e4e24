"""The record of a driver that died, written by its parent.

It is read from the manifest of the run and from the last lines of the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from srrd_ray.core.errors import ClusterError, SrrdError
from srrd_ray.core.records import Fault
from srrd_ray.core.scrub import Scrubber
from srrd_ray.execution.lock import locked
from srrd_ray.pipeline.manifest import Manifest, read_manifest, stop_outcome, write_manifest
from srrd_ray.storage.layout import RunLayout

OURS = re.compile(r"\d\d:\d\d:\d\d ")
"""A line of the log of this software."""
QUOTED = 6
NATIVE = (
    "Intel oneMKL FATAL ERROR: Cannot load undefined symbol",
    "Fatal Python error: Segmentation fault Bus error Aborted Illegal instruction Killed",
    "Current thread most recent call first",
    "terminate called after throwing an instance of std::bad_alloc what() MemoryError out of memory",
)
"""Words that native code dies with: they name nobody, so the scrubber keeps them."""


def death_of(root: Path | None, how: str, lines: Sequence[str], *, signalled: bool) -> ClusterError:
    """Return the error of a driver that ended before its run did, after it is recorded in the run.

    Nothing is written where the run is not going on, or another job works on it by now.
    """
    if root is None:  # of a command that no run records
        return stopped_by_signal(None, how) if signalled else _died(None, how, _last_output(lines, ()))
    layout = RunLayout(root=root)
    manifest = _open_manifest(layout)
    stage = None if manifest is None else _stage_of(manifest)
    people = (
        {outcome.knee.participant for outcome in manifest.outcomes if outcome.knee is not None}
        if manifest
        else ()
    )
    error = stopped_by_signal(stage, how) if signalled else _died(stage, how, _last_output(lines, people))
    if stage is not None:
        with suppress(SrrdError), locked(root):
            _record(layout, stage, Fault.from_error(error))
    return error


def stopped_by_signal(stage: str | None, how: str) -> ClusterError:
    """Return the error of a run that a signal ended."""
    return _error("driver-stopped", "the run was told to stop", stage, how)


def _died(stage: str | None, how: str, output: str) -> ClusterError:
    suffix = f", its last words: {output}" if output else ""
    return _error("driver-died", "the process that drives the run died", stage, how + suffix)


def _error(code: str, what: str, stage: str | None, got: str) -> ClusterError:
    where = f"stage {stage}" if stage else ""
    return ClusterError(
        code, what, where=where, got=got, todo="Run the same command again: finished work is kept."
    )


def _open_manifest(layout: RunLayout) -> Manifest | None:
    """Return the manifest of a run that is going on; null for any other, and for one that cannot be read."""
    with suppress(SrrdError):
        manifest = read_manifest(layout)
        return manifest if manifest is not None and manifest.state == "running" else None
    return None


def _stage_of(manifest: Manifest) -> str:
    """Return the stage that was going on: the first that has not ended."""
    ended = {one.stage for one in manifest.stages}
    return next((planned.stage for planned in manifest.plan if planned.stage not in ended), manifest.until)


def _record(layout: RunLayout, stage: str, fault: Fault) -> None:
    manifest = _open_manifest(layout)
    if manifest is not None:
        outcomes = (*manifest.outcomes, stop_outcome(stage, fault))
        write_manifest(layout, replace(manifest, state="stopped", exit_code=3, outcomes=outcomes))


def _last_output(lines: Sequence[str], participants: Iterable[str]) -> str:
    """Return the output after the last line of our own log, scrubbed."""
    ours = [number for number, line in enumerate(lines) if OURS.match(line)]
    output = lines[ours[-1] + 1 if ours else 0 :][-QUOTED:]
    scrubber = Scrubber.for_participants(sorted(participants))
    return " / ".join(scrubber.scrub_text(line.strip()) for line in output)
