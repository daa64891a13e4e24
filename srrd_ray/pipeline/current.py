"""What of a folder belongs to its run as `run.json` has it: the outputs of the stages that have ended in it.

A folder may also hold outputs of an earlier configuration or cohort that the run has not come to yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import StageTime
from srrd_ray.execution.events import Event, ItemEnded
from srrd_ray.execution.stage import AnyStage
from srrd_ray.pipeline.manifest import read_manifest
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.stages.report import STAGE as REPORT
from srrd_ray.storage.layout import RunLayout

FIGURES = {
    "metrics.json": "metrics.json",
    "models/README.md": "models/README.md",
    "report.html": "report.html",
    "qc/pages": "qc/index.html",
}
"""What people and programs read first, by kind of path; it depends on everything."""
PAGES = REPORT.outputs


def outputs_of_run(
    layout: RunLayout, ended: Iterable[StageTime], stages: tuple[AnyStage, ...] = STAGES
) -> RunLayout:
    """Return the layout open to `run.json`, the pages and what the stages that have `ended` have written."""
    names = {one.stage for one in ended}
    kinds = {kind for stage in stages if stage.name in names for kind in stage.outputs}
    return layout.restricted(frozenset(kinds | {"run.json", *PAGES}))


def read_outputs_of_run(layout: RunLayout) -> RunLayout:
    """Return the layout open to what belongs to the run that `run.json` describes.

    Raises
    ------
    ConfigError
        `not-a-run` where there is no `run.json`; as `read_manifest`.
    """
    manifest = read_manifest(layout, outcomes=False)
    if manifest is None:
        raise ConfigError(
            "not-a-run", "no run.json is there", where=layout.root.name, expected="the --out of srrd run",
            todo="Give the folder of a run.",
        )  # fmt: skip
    return outputs_of_run(layout, manifest.stages)


@dataclass(slots=True)
class OldFigures:
    """Removes the figures of an earlier run from a folder as soon as anything that they depend on is new."""

    layout: RunLayout
    stages: tuple[AnyStage, ...] = STAGES
    removed: set[str] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Look at an event: what was found up to date, or failed again, writes nothing new."""
        if isinstance(event, ItemEnded) and not event.skipped and event.result.sidecar is not None:
            later = self._after(event.stage) - self.removed
            self.removed |= later
            self.remove(keep=FIGURES.keys() - later)

    def _after(self, stage: str) -> set[str]:
        """Return the figures of later stages than one."""
        names = [one.name for one in self.stages]
        later = self.stages[names.index(stage) + 1 :] if stage in names else ()
        return {name for one in later for name in FIGURES if name in one.outputs}

    def remove(self, keep: Iterable[str] = ()) -> None:
        """Remove the figures but those kinds that are new."""
        for kind in FIGURES.keys() - set(keep):
            (self.layout.root / FIGURES[kind]).unlink(missing_ok=True)
