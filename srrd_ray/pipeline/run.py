"""The order of the stages, from a cohort on disk to a report; each stage names the units that it needs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from srrd_ray.cohort.pseudonyms import pseudonymise, read_key
from srrd_ray.cohort.tables import Cohort, read_cohort
from srrd_ray.core.errors import ClusterError, CohortError, ConfigError, SrrdError, StoreError
from srrd_ray.core.hashing import hash_json
from srrd_ray.core.records import STAGES, CohortKnee, Fault, Outcome, StageName
from srrd_ray.execution.lock import locked
from srrd_ray.execution.runner import COHORT, Engine, Stage, Token
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.acts import Acts
from srrd_ray.pipeline.configuration import read_config
from srrd_ray.pipeline.manifest import Ledger, refuse_other_run
from srrd_ray.pipeline.summary import summary
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.parallel import parallel_map
from srrd_ray.storage.paths import cached_listing, list_sizes

log = logging.getLogger(__name__)


def run(
    cohort_root: Path,
    out: Path,
    config_path: Path | None,
    *,
    until: StageName,
    overwrite: bool,
    verify: bool = False,
    pseudonym_key: Path | None = None,
) -> int:
    """Return the exit code of a whole run: 0 all done, 1 some knee failed, 2 a cohort that must not be learnt from, 3 cluster or storage.

    `verify` reads every byte of what is finished and redoes what was altered. `pseudonym_key` is a file with the secret that
    makes pseudonyms of the participants; neither it nor its path is kept.

    Raises
    ------
    ConfigError, CohortError
        Before any work, for a wrong configuration, cohort or folder.
    """
    config = read_config(config_path)
    if out.resolve().is_relative_to(cohort_root.resolve()):
        raise ConfigError("output-in-input", "the run would lie inside the cohort", todo="Choose another --out.")
    cohort = read_cohort(cohort_root)
    if pseudonym_key is not None:
        cohort = pseudonymise(cohort, read_key(pseudonym_key))
    layout = RunLayout(root=out.resolve())
    identity = hash_json([(k.knee.key, k.oa, k.kl_grade, k.age, k.sex) for k in cohort.knees])
    with locked(layout.root):
        refuse_other_run(layout, config, identity, overwrite=overwrite)
        ledger = Ledger(layout=layout, config=config, cohort=identity, knees=len(cohort.knees), until=until)
        code = _run_stages(ledger, cohort, verify=verify)
    sys.stdout.write(summary(ledger))
    return code


def _run_stages(ledger: Ledger, cohort: Cohort, *, verify: bool) -> int:
    ledger.write("running", None)
    engine = Engine(ledger=ledger, knees=[knee.knee for knee in cohort.knees], verify=verify)
    acts = Acts(layout=ledger.layout, cohort=cohort, config=ledger.config)
    pipeline = Pipeline(engine=engine, acts=acts)
    with engine.cluster:
        for name in STAGES[: STAGES.index(ledger.until) + 1]:
            try:
                pipeline.step(name)
            except Exception as error:  # also a defect of ours ends the run on record, with a report of what there is
                return _stop(pipeline, name, error)
    code = 1 if ledger.failed() else 0
    ledger.write("finished", code)
    return code


def _stop(pipeline: Pipeline, name: StageName, error: Exception) -> int:
    """Return the exit code of a run that cannot go on, after recording why and reporting what there is."""
    log.error("%-16s stopped: %s", name, error, exc_info=not isinstance(error, SrrdError))
    ledger = pipeline.engine.ledger
    code = 3 if isinstance(error, StoreError | ClusterError) else 2 if isinstance(error, CohortError) else 1
    ledger.outcomes.append(Outcome(knee=None, stage=name, status="failed", seconds=0.0, error=Fault.from_error(error)))
    ledger.write("stopped", code)
    if name not in ("report", "ingest"):
        pipeline.acts.units.report(WorkItem(name=COHORT, key=""))
    return code


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """Every stage with its settings and needs."""

    engine: Engine
    acts: Acts

    def step(self, name: StageName) -> None:
        """Carry out one stage; those before it stand."""
        match name:
            case "ingest" | "synthesize" | "register" | "patches" | "measure" | "predict":
                self._spread(name)
            case "learn-synthesis" | "teach" | "tune" | "distil":
                self._learn(name)
            case "tables" | "classify" | "evaluate" | "report":
                self._gather(name)

    def _spread(self, name: StageName) -> None:
        """Stages over knees and shards."""
        engine, acts, config = self.engine, self.acts, self.acts.config
        shards = {shard: plan.knees for shard, plan in acts.shards.items()}
        match name:
            case "ingest":
                with cached_listing(acts.cohort.root):
                    hashes = parallel_map(_fingerprint, acts.cohort.knees, acts.cohort.root)
                sources = {knee.knee.key: one for knee, one in zip(acts.cohort.knees, hashes, strict=True)}
                engine.each_knee(
                    replace(self._stage(name, config.ingest, sources=sources), complete=acts.with_source),
                    acts.units.ingest,
                )
            case "synthesize":
                engine.each_knee(
                    self._stage(name, config.synthesis, "ingest", cohort="learn-synthesis"), acts.units.synthesize
                )
            case "register":
                engine.each_knee(self._stage(name, config.registration, "ingest", "synthesize"), acts.units.register)
            case "patches":
                engine.each_shard(self._stage(name, config.patches, "ingest", "register"), shards, acts.units.patches)
            case "measure":
                stage = self._stage(name, config.morphometry, "ingest", "register", shard="patches")
                engine.each_knee(replace(stage, complete=acts.with_shard), acts.units.measure)
            case _:
                stage = self._stage(name, config.seed, shard="patches", cohort="distil")
                engine.each_shard(replace(stage, complete=acts.with_folds), shards, acts.units.predict)

    def _learn(self, name: StageName) -> None:
        """Stages over the whole cohort that train, and the tables before them."""
        config = self.acts.config
        workers = config.cluster.training_workers
        match name:
            case "learn-synthesis":
                stage = self._whole(name, (config.synthesis, config.seed, workers), "ingest")
            case "teach":
                stage = self._whole(name, (config.distillation, config.seed, workers), "patches", "tables")
            case "tune":
                stage = self._whole(name, (config.distillation, config.tune, config.seed), "teach")
            case _:
                stage = self._whole(name, (config.distillation, config.seed, workers), "tune")
        self.engine.once(stage, partial(self._learnt, name), here=True)

    def _learnt(self, name: StageName, unit: WorkItem) -> Produced:
        """Learn; torch and MONAI take seconds to import, which a run does without where all is learnt."""
        from srrd_ray.pipeline.learning import Learning

        return Learning(acts=self.acts, knees=tuple(self.engine.knees)).step(name, unit)

    def _gather(self, name: StageName) -> None:
        """Stages over tables."""
        engine, acts, config = self.engine, self.acts, self.acts.config
        match name:
            case "tables":
                stage = self._whole(name, (config.distillation.folds, config.seed), "register", "measure")
                engine.once(stage, partial(acts.units.tables, acts.cohort.knees, engine.knees))
            case "classify":
                stage = self._whole(name, (config.diagnosis, config.seed), "tables", "predict")
                engine.once(stage, partial(acts.units.classify, acts.shards_of(engine.knees)))
            case "evaluate":
                stage = self._whole(name, None, "tables", "classify")
                engine.once(stage, partial(acts.units.evaluate, acts.cohort.root))
            case _:
                engine.once(self._whole(name, None, "evaluate"), acts.units.report)

    def _stage(
        self,
        name: StageName,
        settings: object,
        *needs: StageName,
        shard: StageName | None = None,
        cohort: StageName | None = None,
        sources: dict[str, str] | None = None,
    ) -> Stage:
        """Return a stage over knees or shards: its units need the same knees in `needs`, their `shard`, the `cohort`."""

        def tokens(unit: WorkItem) -> Iterable[Token]:
            yield from ((need, knee.key) for need in needs for knee in unit.knees)
            if shard is not None:
                yield from ((shard, name) for name in sorted({self.acts.shard_of[knee] for knee in unit.knees}))
            if cohort is not None:
                yield cohort, COHORT

        return Stage(name=name, settings=settings, needs=tokens, sources=sources or {})

    def _whole(self, name: StageName, settings: object, *needs: StageName) -> Stage:
        """Return a stage over the cohort: it needs every unit of `needs` that stands."""

        def tokens(_: WorkItem) -> Iterable[Token]:
            return [token for token in self.engine.hashes if token[0] in needs]

        return Stage(name=name, settings=settings, needs=tokens)


def _fingerprint(knee: CohortKnee) -> str:
    """Return what identifies the source files of a knee without reading them: names, sizes, times of change."""
    roots = [series.path for series in (knee.ct, knee.mr) if series is not None] + [path for *_, path in knee.masks]
    return hash_json([file for root in roots for file in list_sizes(root)])
