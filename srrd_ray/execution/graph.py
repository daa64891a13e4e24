"""Stages run in order: their work items, the input hashes from their declarations, the remaining knees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from srrd_ray.core import serial
from srrd_ray.core.records import CohortKnee, Knee
from srrd_ray.execution.lock import LOCK
from srrd_ray.execution.runner import Runner, Where
from srrd_ray.execution.sidecars import input_hash
from srrd_ray.execution.stage import COHORT, AnyStage, CohortInputs, Outside, StageFunction
from srrd_ray.execution.work import Result, Task, WorkItem
from srrd_ray.storage.layout import RunLayout

Token: TypeAlias = tuple[str, str]
"""A work item of a stage, as (stage, name of the item)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """The inputs of all stages from outside.

    These are the knees with their sources, the shards, the settings, and the hash of anything declared.
    `hash_outside` returns the hash of an outside input for the work item of that name.
    """

    config: object
    sources: Mapping[str, CohortKnee]
    shards: Mapping[str, tuple[Knee, ...]]
    cohort: CohortInputs
    hash_outside: Callable[[Outside, str], str]


@dataclass(slots=True)
class StageGraph:
    """Runs stages whose needs have been run before; a knee that fails is left out of all later stages.

    A stage that only draws or compares (`Stage.for_the_eye`) loses no knee.

    Parameters
    ----------
    stages
        All stages of the pipeline, by which needs and paths are resolved.
    remaining
        The knees that did not fail so far.
    hashes
        Output hash of every work item that is up to date.
    redone
        The work items that ran in this run: what depends on them is redone.
    """

    runner: Runner
    layout: RunLayout
    stages: tuple[AnyStage, ...]
    inputs: Inputs
    remaining: list[Knee]
    hashes: dict[Token, str] = field(default_factory=dict)
    redone: set[Token] = field(default_factory=set)
    shard_of: dict[Knee, str] = field(init=False)

    def __post_init__(self) -> None:
        self.shard_of = {knee: name for name, knees in self.inputs.shards.items() for knee in knees}

    def run_stage(self, stage: AnyStage) -> None:
        """Run one stage for all remaining knees."""
        items, redo = self.items_of(stage)
        total = len(self.remaining) if stage.scope != "cohort" else 1
        ended = self.runner.run_items(self._task(stage), items, redo=redo, where=_where(stage), total=total)
        self.take(stage, ended)

    def items_of(self, stage: AnyStage) -> tuple[list[WorkItem], frozenset[str]]:
        """Return the work items of a stage, and the names of those that depend on what was redone."""
        items = self._items(stage)
        redo = (item.name for item in items if self.redone_for(stage, item))
        return items, frozenset(redo)

    def redone_for(self, stage: AnyStage, item: WorkItem) -> set[str]:
        """Return the stages of the redone work items that an item depends on."""
        return {token[0] for token in self._needs(stage, item) if token in self.redone}

    def take(self, stage: AnyStage, ended: Iterable[tuple[WorkItem, Result, bool]]) -> None:
        """Take the result of each work item of a stage and whether it was skipped; then drop failed knees."""
        failed_knees: set[Knee] = set()
        for item, result, skipped in ended:
            token = stage.name, item.name
            if result.sidecar is not None:
                self.hashes[token] = result.sidecar.output_hash
                self.redone |= set() if skipped else {token}
            if not stage.for_the_eye:
                failed_knees |= {o.lost_knee for o in result.outcomes if o.lost_knee is not None}
        self.remaining = [knee for knee in self.remaining if knee not in failed_knees]

    def _task(self, stage: AnyStage) -> Task:
        function = StageFunction(
            stage_function=stage.function,
            layout=self.layout.restricted(self.readable(stage)),
            settings=stage.select(self.inputs.config),
            cohort=self._cohort(stage),
            trainer=self.runner.executor.trainer if stage.trains else None,
        )
        return Task(
            stage=stage.name,
            layout=self.layout,
            function=function,
            shared_storage_probe=self.layout.root / LOCK,
            memory_mb=stage.memory_mb,
        )

    def readable(self, stage: AnyStage) -> frozenset[str]:
        """Return the kinds of path that a stage may open: its own outputs and those of its needs."""
        found = {kind for need in self._needed(stage) for kind in need.outputs} | set(stage.outputs)
        return frozenset(found | ({"run.json"} if "manifest" in stage.outside else set()))

    def _cohort(self, stage: AnyStage) -> CohortInputs:
        """Return what a stage over the whole cohort declares of it.

        For other stages it is the cohort's folder at most, so that their tasks stay small.
        """
        whole, remaining = self.inputs.cohort, tuple(self.remaining)
        if stage.scope != "cohort":
            return CohortInputs(root=whole.root if "truth" in stage.outside else None)
        return CohortInputs(
            remaining=remaining,
            shards=tuple(name for name, _ in self._shards()),
            knees=whole.knees if "diagnoses" in stage.outside else (),
            root=whole.root if "truth" in stage.outside else None,
        )

    def _items(self, stage: AnyStage) -> list[WorkItem]:
        """Return the work items of a stage, each with its input hash."""
        settings = serial.to_json(stage.select(self.inputs.config))
        items = []
        for name, knees in self._named(stage):
            item = WorkItem(name=name, input_hash="", knees=knees)
            inputs = [self.hashes[token] for token in self._needs(stage, item)]
            inputs += [knee.key for knee in knees]
            inputs += [self.inputs.hash_outside(kind, name) for kind in stage.outside]
            items.append(
                self._completed(stage, replace(item, input_hash=input_hash(stage.name, settings, inputs)))
            )
        return items

    def _completed(self, stage: AnyStage, item: WorkItem) -> WorkItem:
        """Return an item with its shard and its source, where its stage declares that it needs them."""
        if stage.scope != "knee":
            return item
        needs_shard = any(need.scope == "shard" for need in self._needed(stage))
        return replace(
            item,
            shard=self.shard_of[item.knees[0]] if needs_shard else "",
            source=self.inputs.sources[item.name] if "images" in stage.outside else None,
        )

    def _named(self, stage: AnyStage) -> Sequence[tuple[str, tuple[Knee, ...]]]:
        match stage.scope:
            case "knee":
                return [(knee.key, (knee,)) for knee in self.remaining]
            case "shard":
                return list(self._shards())
            case "cohort":
                return [(COHORT, ())]

    def _shards(self) -> Iterator[tuple[str, tuple[Knee, ...]]]:
        """Yield the shards that hold a knee that remains, with those knees."""
        remaining = set(self.remaining)
        for name, knees in self.inputs.shards.items():
            kept = tuple(knee for knee in knees if knee in remaining)
            if kept:
                yield name, kept

    def _needed(self, stage: AnyStage) -> list[AnyStage]:
        return [need for need in self.stages if need.name in stage.needs]

    def _needs(self, stage: AnyStage, item: WorkItem) -> Iterable[Token]:
        """Yield the work items that an item depends on.

        They are those of the same knees, of their shards, or of the whole cohort.
        """
        if stage.scope == "cohort":
            yield from (token for token in self.hashes if token[0] in stage.needs)
            return
        for need in self._needed(stage):
            match need.scope:
                case "knee":
                    yield from ((need.name, knee.key) for knee in item.knees)
                case "shard":
                    yield from (
                        (need.name, name) for name in sorted({self.shard_of[knee] for knee in item.knees})
                    )
                case "cohort":
                    yield need.name, COHORT


def _where(stage: AnyStage) -> Where:
    """Return where the work items of a stage run."""
    if stage.scope != "cohort":
        return "spread"
    return "here" if stage.trains else "one worker"
