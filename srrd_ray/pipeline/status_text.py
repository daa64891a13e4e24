"""The text of `srrd status`: the state of the run, a line a stage, failures by their code, the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from srrd_ray.core.records import Outcome
from srrd_ray.pipeline.status import RunStatus, StageStatus

NAMED = 5
"""Knees named for each kind of failure; all of them are in the JSON."""


def text_of(status: RunStatus) -> str:
    """Return the text, with a newline at its end."""
    lines = [*_head(status), "", *_table(status), "", *_failures(status.failed), *_end(status)]
    return "\n".join(lines) + "\n"


def _head(status: RunStatus) -> Iterator[str]:
    yield f"run:    {status.run}"
    yield f"state:  {_state(status)}"
    if status.owner is not None:
        stale = "; the next run takes the lock over" if status.owner.stale else ""
        since = f" since {status.owner.since}" if status.owner.since else ""
        owner = f"process {status.owner.pid} on {status.owner.host}{since}"
        evidence = f": {status.owner.evidence}{stale}" if status.owner.evidence else ""
        yield f"lock:   {owner}{evidence}"
    knees = "number not known yet" if status.knees is None else str(status.knees)
    yield f"knees:  {knees}"
    if status.changed is not None:
        when = datetime.fromtimestamp(status.changed, UTC).isoformat(timespec="seconds")
        yield f"record: run.json of {when}, SRRD-Ray {status.software or 'unknown: it cannot be read'}"


def _state(status: RunStatus) -> str:
    match status.phase:
        case "running":
            return "running"
        case "interrupted":
            return (
                "interrupted: no job works on it. Run the same command again: finished work items are kept."
            )
        case _:
            return (
                f"{status.phase} with exit code {'unknown' if status.exit_code is None else status.exit_code}"
            )


def _table(status: RunStatus) -> Iterator[str]:
    yield (
        f"{'stage':<16} {'state':<12} {'of':<7} {'done':>6} {'skipped':>8} {'failed':>7} "
        f"{'lost bones':>11} {'left':>6} "
        f"{'seconds':>9}"
    )
    yield from map(_row, status.stages)


def _row(one: StageStatus) -> str:
    if one.state == "not asked":
        return f"{one.stage:<16} {one.state}"
    seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
    return (
        f"{one.stage:<16} {one.state:<12} {one.of:<7} {one.done:>6} {one.skipped:>8} {_count(one.failed):>7} "
        f"{_count(one.lost_bones):>11} {_count(one.left):>6} {seconds:>9}"
    ).rstrip()


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _failures(failed: tuple[Outcome, ...]) -> Iterator[str]:
    """Yield a line a stage and code, with the message of its first failure."""
    groups: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in failed:
        groups[outcome.stage, outcome.error.code if outcome.error else ""].append(outcome)
    for (stage, code), some in groups.items():
        names = [one.subject if one.knee else "the cohort" for one in some[:NAMED]]
        more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
        yield f"failed in {stage}: {code}: {', '.join(names)}{more}"
        yield f"  {some[0].error.message if some[0].error else ''}"


def _end(status: RunStatus) -> Iterator[str]:
    yield f"report: {status.report or 'not written yet'}"
