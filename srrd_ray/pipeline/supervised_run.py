"""Commands that use a cluster as supervised child processes: their death is told, that of a run is recorded.

The request of ``srrd run`` crosses the command line as JSON, the others as they were typed.
"""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srrd_ray.execution.supervision import child
from srrd_ray.storage.paths import parse_path

if TYPE_CHECKING:
    from srrd_ray.pipeline.run import RunRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCommand:
    """What ``srrd run`` was asked for, as text that survives a command line."""

    cohort: str
    out: str
    config: str | None
    until: str
    overwrite: bool
    verify: bool
    pseudonym_key: str | None
    log_level: int = logging.INFO

    @classmethod
    def from_json(cls, text: str) -> RunCommand:
        """Return the command that `supervised` passed to the child."""
        return cls(**json.loads(text))

    def request(self) -> RunRequest:
        """Return the request with its paths parsed."""
        from srrd_ray.pipeline.run import RunRequest  # here: the parent imports nothing heavy

        config, key = (None if path is None else Path(path) for path in (self.config, self.pseudonym_key))
        return RunRequest(
            cohort=parse_path(Path(self.cohort)), out=parse_path(Path(self.out)), config=config,
            until=self.until, overwrite=self.overwrite, verify=self.verify, pseudonym_key=key,
        )  # fmt: skip


def supervised(command: RunCommand) -> int:
    """Return the exit code of a run that a child drives.

    Raises
    ------
    ClusterError
        `driver-died`, or `driver-stopped` after a signal to this process, where the child ended before the
        run had; `run.json` then records it too.
    """
    root = parse_path(Path(command.out)).resolve()
    return watched(root, "from srrd_ray.cli import drive; drive()", json.dumps(asdict(command)))


def watched(root: Path | None, program: str, *arguments: str) -> int:
    """Return the exit code of a Python `program` that drives the run in a folder; it has to be `leashed`.

    Without a folder it carries out a command that no run records.

    Raises
    ------
    ClusterError
        As `supervised`.
    KeyboardInterrupt
        From that error, after Ctrl-C.
    """
    ended = child(program, *arguments)
    if ended.code is not None:
        return ended.code
    from srrd_ray.pipeline.driver_death import death_of

    death = death_of(root, ended.cause, ended.lines, signalled=bool(ended.signals))
    if ended.signals and ended.signals[-1] == signal.SIGINT:
        raise KeyboardInterrupt from death
    raise death
