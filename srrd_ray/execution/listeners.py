"""Listeners of the runner that need nothing of the pipeline: log lines, and cleaning after killed workers."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from srrd_ray.core.one_line import printable
from srrd_ray.core.records import STATUSES, Outcome, Status
from srrd_ray.execution.events import Event, ItemEnded, StageEnded
from srrd_ray.storage.atomic import remove_partial_files
from srrd_ray.storage.layout import RunLayout

log = logging.getLogger("srrd_ray")


@dataclass(slots=True)
class ProgressLog:
    """Writes one log line for each knee and stage, and one with the counts of a stage at its end."""

    counts: Counter[Status] = field(default_factory=Counter)
    lost_bones: int = 0

    def __call__(self, event: Event) -> None:
        """Log an event."""
        if isinstance(event, ItemEnded):
            for outcome in event.result.outcomes:
                self.lost_bones += outcome.lost_bone
                self.counts[outcome.status] += not outcome.lost_bone
                self._log(outcome, event.item.name, event.total)
        elif isinstance(event, StageEnded):
            counts = [f"{self.counts[status]} {status}" for status in STATUSES if self.counts[status]]
            counts += [f"bones lost: {self.lost_bones}"] if self.lost_bones else []
            log.info("%-16s %s in %.1f s", event.stage, ", ".join(counts) or "nothing to do", event.seconds)
            self.counts.clear()
            self.lost_bones = 0

    def _log(self, outcome: Outcome, item: str, total: int) -> None:
        level = logging.DEBUG if outcome.status == "skipped" else logging.INFO
        if outcome.error:
            level = logging.WARNING
        name = outcome.subject if outcome.knee else item
        message = printable(outcome.error.message) if outcome.error else f"{outcome.seconds:.1f} s"
        number = self.counts.total()
        log.log(
            level, "%-16s %3d/%d  %s  %s  %s", outcome.stage, number, total, name, outcome.status, message
        )


@dataclass(slots=True)
class Cleaner:
    """Removes the partial files of killed workers from the folders of a stage, when the stage ends.

    Parameters
    ----------
    resumes
        Whether an earlier run in the folder was cut short: it may have left some beside items that are
        skipped now, as others of its workers finished them.
    """

    layout: RunLayout
    resumes: bool = False
    folders: set[Path] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Take note of the folders of an item, and clean them at the end of the stage."""
        if isinstance(event, ItemEnded) and (self.resumes or not event.skipped):
            self.folders |= {self.layout.knee_folder(knee) for knee in event.item.knees}
            if event.result.sidecar is not None:
                self.folders |= {
                    (self.layout.root / output.path).parent for output in event.result.sidecar.outputs
                }
        elif isinstance(event, StageEnded):
            for folder in sorted(self.folders):
                remove_partial_files(folder)
            self.folders.clear()
