"""The declaration of a stage: all that the pipeline knows of it, in one frozen value.

The value is in the file of the stage's function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from srrd_ray.core.records import CohortKnee, Knee, Scope
from srrd_ray.execution.training import Trainer
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.storage.layout import RunLayout

Outside: TypeAlias = Literal["images", "diagnoses", "truth", "manifest", "segmenter", "school", "synthesis"]
"""Inputs from outside the stages.

These are a knee's images and masks, the cohort's tables, a simulated cohort's truth, run.json, the weights
of the network that finds bones, the readers and the synthesis that learnt from simulated knees.
"""
COHORT = "cohort"
"""Name of the only work item of a stage over the whole cohort."""

Settings = TypeVar("Settings")
SettingsOf = TypeVar("SettingsOf", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoSettings:
    """The settings of a stage that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortInputs:
    """What a stage over the whole cohort receives: remaining knees, their shards, and what it declares.

    `knees` are all knees of the tables (declared by ``diagnoses``), `root` is the cohort's folder
    (``truth``).
    """

    remaining: tuple[Knee, ...] = ()
    shards: tuple[str, ...] = ()
    knees: tuple[CohortKnee, ...] = ()
    root: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Work(Generic[SettingsOf]):
    """What the function of a stage receives, and all that it may read.

    `layout` opens the outputs of the needed stages and of the stage itself, nothing else. `trainer` is there
    where the stage declares that it trains.
    """

    item: WorkItem
    layout: RunLayout
    settings: SettingsOf
    cohort: CohortInputs = field(default_factory=CohortInputs)
    trainer: Trainer | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage(Generic[Settings]):
    """One stage of the pipeline.

    Parameters
    ----------
    name
        As in outcomes, sidecars and log lines.
    scope
        What one work item covers.
    function
        Runs one work item and returns what it wrote; safe to run twice.
    settings
        Record of all settings that its results depend on. Each field is a key of the run's configuration, or
        `keys` maps it to a dotted one.
    needs
        The stages whose outputs it reads.
    outside
        What it also reads, from outside the stages.
    outputs
        The kinds of path (see `RunLayout`) that it alone writes.
    memory_mb
        Memory of one work item; null for ``cluster.knee_memory_mb``.
    trains
        The function runs in the driver and trains or searches through `Work.trainer`.
    for_the_eye
        Its outputs are looked at or compared, no more: a knee that fails here goes on all the same.
    """

    name: str
    scope: Scope
    function: Callable[[Work[Settings]], Produced]
    settings: type[Settings]
    keys: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    outside: tuple[Outside, ...] = ()
    outputs: tuple[str, ...] = ()
    memory_mb: int | None = None
    trains: bool = False
    for_the_eye: bool = False

    def select(self, config: object) -> Settings:
        """Return the settings of the stage out of the run's configuration."""
        return self.settings(**{name: value_at(config, key) for name, key in self.setting_keys().items()})

    def setting_keys(self) -> dict[str, str]:
        """Return the dotted key of the configuration for each field of the settings."""
        found = fields(self.settings)  # type: ignore[arg-type]  # a dataclass
        return {one.name: self.keys.get(one.name, one.name) for one in found}


AnyStage: TypeAlias = Stage[Any]
"""A stage whose settings are of any type: the pipeline only passes them on."""


def value_at(config: object, key: str) -> object:
    """Return the value of a dotted key of nested records."""
    return reduce(getattr, key.split("."), config)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFunction(Generic[Settings]):
    """The function of a stage, bound to one run.

    It travels with the tasks, so it holds nothing that grows with the cohort but for stages over the whole
    cohort.
    """

    stage_function: Callable[[Work[Settings]], Produced]
    layout: RunLayout
    settings: Settings
    cohort: CohortInputs = field(default_factory=CohortInputs)
    trainer: Trainer | None = None

    def __call__(self, item: WorkItem) -> Produced:
        """Return what the stage wrote for one work item."""
        return self.stage_function(
            Work(
                item=item,
                layout=self.layout,
                settings=self.settings,
                cohort=self.cohort,
                trainer=self.trainer,
            )
        )
