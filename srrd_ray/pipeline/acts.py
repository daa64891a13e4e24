"""What each stage does with one unit: the stage functions, bound to a run, saying which files they wrote. No Ray here.

A stage is imported when it acts: the libraries of all of them take seconds and hundreds of megabytes, which every worker of a
cluster would pay for the one stage it carries out, and a run that is finished for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from srrd_ray.cohort.tables import Cohort, with_parsed_paths
from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import BONES, CohortKnee, Knee, Outcome
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.stages.patches import ShardPlan, plan_shards, write_shard_of
from srrd_ray.storage.layout import RunLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitActs:
    """The stages that workers carry out. They travel with every task, so they hold nothing that grows with the cohort."""

    layout: RunLayout
    config: RunConfig

    def ingest(self, unit: WorkItem) -> Produced:
        """Read CT and MR of a knee."""
        from srrd_ray.stages.ingest import ingest

        knee = paired_source(unit)
        return Produced(paths=tuple(v.path for v in ingest(knee, self.layout, self.config.ingest)))

    def synthesize(self, unit: WorkItem) -> Produced:
        """Turn the MR of a knee into synthetic CT."""
        from srrd_ray.stages.synthesize import synthesize_knee

        model = self.layout.model("synthesis")
        stored = synthesize_knee(unit.knees[0], self.layout, model, self.config.synthesis)
        return Produced(paths=(stored.path,))

    def register(self, unit: WorkItem) -> Produced:
        """Align femur and tibia of a knee."""
        from srrd_ray.stages.register import register_knee

        knee = unit.knees[0]
        register_knee(knee, self.layout, self.config.registration)
        written = [self.layout.transform(knee, bone) for bone in BONES]
        written += [self.layout.volume(knee, "ct_bones"), self.layout.volume(knee, "mr_bones")]
        return Produced(paths=(*written, self.layout.part("registration", knee)))

    def patches(self, unit: WorkItem) -> Produced:
        """Cut the cubes of the knees of a shard that are left, and write the shard."""
        plan = ShardPlan(index=self.layout.shard_number(unit.name), knees=unit.knees)
        outcomes = write_shard_of(plan, self.layout, self.config.patches)
        shard = self.layout.shard(plan.index)
        return Produced(paths=(shard, shard.with_suffix(".parquet")), failed=_failed(outcomes))

    def measure(self, unit: WorkItem) -> Produced:
        """Measure the bone of a knee in MR under each of its cubes."""
        from srrd_ray.stages.measure import measure_knee

        knee = unit.knees[0]
        shard = self.layout.shard_named(unit.shard)
        measure_knee(knee, self.layout, shard, self.config.morphometry)
        return Produced(paths=(self.layout.part("measures", knee),))

    def predict(self, unit: WorkItem) -> Produced:
        """Predict the cubes of a shard by models that never saw their patients."""
        from srrd_ray.stages.predict import predict_shard

        path = self.layout.shard_part("predictions", unit.name)
        predict_shard(self.layout, self.layout.shard_named(unit.name), path, unit.folds)
        return Produced(paths=(path,))

    def tables(self, cohort: Sequence[CohortKnee], left: Sequence[Knee], _: WorkItem) -> Produced:
        """Gather the rows of the knees that are left, and deal their patients out to folds."""
        from srrd_ray.stages import gather

        gather.check_duplicate_images(self.layout, left)
        paths = [gather.gather_parts(self.layout, name, left) for name in ("registration", "measures")]
        seed = seed_from(self.config.seed, "folds")
        knees = gather.write_knees(self.layout, cohort, left, self.config.distillation.folds, seed)
        return Produced(paths=(*paths, knees))

    def classify(self, shards: Sequence[str], _: WorkItem) -> Produced:
        """Gather the predictions of all shards, and tell osteoarthritis from healthy by them."""
        from srrd_ray.stages.classify import classify
        from srrd_ray.stages.gather import gather_predictions

        table = gather_predictions(self.layout, shards)
        classify(self.layout, self.config.diagnosis, self.config.seed)
        return Produced(paths=(table, self.layout.table("diagnosis"), self.layout.model("diagnosis")))

    def evaluate(self, cohort: Path, _: WorkItem) -> Produced:
        """Compute the figures of the run; the only stage that reads a simulated cohort's truth."""
        from srrd_ray.stages.evaluate import evaluate

        evaluate(self.layout, cohort, self.config.seed)
        of_truth = [self.layout.table(name) for name in ("truth", "target_errors")]
        return Produced(paths=(self.layout.metrics, *(path for path in of_truth if path.is_file())))

    def report(self, _: WorkItem) -> Produced:
        """Write the report."""
        from srrd_ray.stages.report import build_report

        return Produced(paths=(build_report(self.layout),))


@dataclass(frozen=True, kw_only=True)
class Acts:
    """The stages of one run. Every act takes a unit and returns what it wrote; all are safe to run twice."""

    layout: RunLayout
    cohort: Cohort
    config: RunConfig

    @cached_property
    def shards(self) -> dict[str, ShardPlan]:
        """The shards of the cohort by name. They depend on the cohort's list alone, not on which knees fail."""
        plans = plan_shards([knee.knee for knee in self.cohort.knees], self.config.patches)
        return {self.layout.shard(plan.index).stem: plan for plan in plans}

    @cached_property
    def shard_of(self) -> dict[Knee, str]:
        """The name of the shard of every knee."""
        return {knee: name for name, plan in self.shards.items() for knee in plan.knees}

    def shards_of(self, knees: Sequence[Knee]) -> tuple[str, ...]:
        """Return the names of the shards that hold any of `knees`, in order."""
        return tuple(sorted({self.shard_of[knee] for knee in knees}))

    @property
    def units(self) -> UnitActs:
        """The acts that workers carry out."""
        return UnitActs(layout=self.layout, config=self.config)

    def with_source(self, unit: WorkItem) -> WorkItem:
        """Return the unit of a knee with what the cohort holds of it."""
        return replace(unit, source=self._rows[unit.name])

    def with_shard(self, unit: WorkItem) -> WorkItem:
        """Return the unit of a knee with the name of its shard."""
        return replace(unit, shard=self.shard_of[unit.knees[0]])

    def with_folds(self, unit: WorkItem) -> WorkItem:
        """Return the unit of a shard with the folds of its patients; table ``knees`` stands."""
        patients = [knee.participant for knee in self.shards[unit.name].knees]
        return replace(unit, folds={patient: self._folds[patient] for patient in patients if patient in self._folds})

    @cached_property
    def _folds(self) -> Mapping[str, int]:
        from srrd_ray.stages.gather import read_folds

        return read_folds(self.layout)

    @cached_property
    def _rows(self) -> Mapping[str, CohortKnee]:
        return {knee.knee.key: knee for knee in self.cohort.knees}


def paired_source(unit: WorkItem) -> CohortKnee:
    """Return the knee of a unit as the cohort holds it, with both images.

    Raises
    ------
    InputError
        `pair-incomplete`.
    """
    missing = " and ".join(name for name in ("ct", "mr") if unit.source is None or getattr(unit.source, name) is None)
    if unit.source is None or missing:
        raise InputError(
            "pair-incomplete",
            f"no {missing.upper()} of this knee",
            where=unit.name,
            expected="CT and MR",
            todo="The pipeline learns from pairs; for CT alone use srrd infer.",
        )
    return with_parsed_paths(unit.source)


def _failed(outcomes: list[Outcome]) -> tuple[Outcome, ...]:
    return tuple(outcome for outcome in outcomes if outcome.status == "failed")
