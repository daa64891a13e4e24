"""What is learnt over the whole cohort: synthesis, teacher and baseline, the search, the distilled student."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import pandas as pd

from srrd_ray.cluster.training import LearnerFactory, Training, discard, fit
from srrd_ray.cluster.tuning import Search, Trial, search_all, winner
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Learner
from srrd_ray.core.records import Knee, StageName
from srrd_ray.distillation.config import HyperParameters
from srrd_ray.distillation.search import sample_settings
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.acts import Acts
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.stages import distil, synthesize
from srrd_ray.stages.distil import DistilPlan
from srrd_ray.stages.gather import read_folds
from srrd_ray.stages.models import ModelName
from srrd_ray.storage.record_files import read_record, write_record
from srrd_ray.storage.tables import write_table

log = logging.getLogger(__name__)

Name = TypeVar("Name", Knee, str)

Searched: TypeAlias = tuple[Search[HyperParameters], tuple[Trial[HyperParameters], ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Winners:
    """``models/winners.json``: the settings that the search chose, by outer fold."""

    folds: dict[int, HyperParameters]


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """The trainings of one run, over the knees that are left."""

    acts: Acts
    knees: Sequence[Knee]

    def step(self, name: StageName, unit: WorkItem) -> Produced:
        """Carry out one of the stages that learn."""
        match name:
            case "learn-synthesis":
                return self.synthesis(unit)
            case "teach":
                return self.teach(unit)
            case "tune":
                return self.tune(unit)
            case _:
                return self.distil(unit)

    def synthesis(self, unit: WorkItem) -> Produced:
        """Train the CycleGAN on unaligned slices of the knees, of at most `learn_from` that the seed draws."""
        layout, config = self.acts.layout, self.acts.config
        seed = seed_from(config.seed, "synthesis")
        knees = subsample(self.knees, config.synthesis.learn_from, seed)
        _say_draw("learn-synthesis", len(knees), len(self.knees), "knees")
        mr, ct = ([layout.volume(knee, image) for knee in knees] for image in ("mr", "ct"))
        training = self._training(
            "synthesis", unit, partial(synthesize.training_learners, mr, ct, config.synthesis, seed)
        )
        weights = self._fit("learn-synthesis", training)
        synthesize.save_model(weights, layout.model("synthesis"), config.synthesis)
        discard(training)
        return Produced(paths=(layout.model("synthesis"),))

    def teach(self, unit: WorkItem) -> Produced:
        """Train the teacher and the student without MR, one of each for every fold."""
        return self._regressors("teach", unit, distil.programme_teacher_baseline, ("teacher", "baseline"))

    def tune(self, unit: WorkItem) -> Produced:
        """Search temperature and loss weights for every fold, on its own training patients alone."""
        layout, plan = self.acts.layout, self._plan()
        folds = plan.fold_numbers()
        searches = search_all([self._search(plan, fold, unit) for fold in folds], self.acts.config.tune)
        found = {fold: trials for fold, (_, trials) in zip(folds, _logged(searches), strict=True)}
        rows = [row for fold, trials in found.items() for row in _rows(fold, trials)]
        write_table(layout.table("tune"), pd.DataFrame(rows))
        winners = Winners(folds={fold: winner(trials).setting for fold, trials in found.items()})
        write_record(self._winners, winners, "winners")
        log.info("%-16s winners: %s", "tune", "; ".join(_words(fold, one) for fold, one in winners.folds.items()))
        return Produced(paths=(layout.table("tune"), self._winners))

    def distil(self, unit: WorkItem) -> Produced:
        """Train the student under the teacher's guidance, with the settings that the search chose for its fold."""
        return self._regressors("distil", unit, distil.programme_distilled, ("distilled",))

    @property
    def _winners(self) -> Path:
        return self.acts.layout.model("winners.json")

    def _plan(self) -> DistilPlan:
        layout, config = self.acts.layout, self.acts.config
        winners = read_record(Winners, self._winners, "winners").folds if self._winners.is_file() else {}
        return DistilPlan(
            layout=layout,
            shards=tuple(layout.shard_named(name) for name in self._shards(config)),
            folds=read_folds(layout),
            config=config.distillation,
            seed=config.seed,
            winners=winners,
        )

    def _shards(self, config: RunConfig) -> tuple[str, ...]:
        """Return the shards that are learnt from: all, or as many as hold `learn_from` knees."""
        most, all_shards = (
            config.distillation.learn_from // config.patches.knees_per_shard,
            self.acts.shards_of(self.knees),
        )
        shards = subsample(all_shards, max(most, 1), seed_from(config.seed, "shards"))
        _say_draw("distillation", len(shards), len(all_shards), "shards")
        return shards

    def _regressors(
        self,
        name: str,
        unit: WorkItem,
        programme: Callable[[DistilPlan], Iterator[Learner]],
        models: tuple[ModelName, ...],
    ) -> Produced:
        plan = self._plan()
        training = self._training(name, unit, partial(programme, plan))
        weights = self._fit(name, training)
        folders = distil.save_models(plan, weights, models)
        discard(training)
        return Produced(paths=folders)

    def _search(self, plan: DistilPlan, fold: int, unit: WorkItem) -> Search[HyperParameters]:
        config = self.acts.config
        span, default = config.distillation.search, config.distillation.hyper
        return Search(
            name=f"fold-{fold}-{unit.key[:16]}",
            settings=sample_settings(span, default, config.tune.trials, seed_from(config.seed, "tune", fold)),
            run=partial(distil.trial_scores, plan, fold),
            epochs=span.epochs,
            storage=self.acts.layout.tune,
        )

    def _training(self, name: str, unit: WorkItem, programme: LearnerFactory) -> Training:
        """Return a training whose name stands for its inputs, so that only the very same one is resumed."""
        storage = self.acts.layout.root / ".training"
        return Training(name=f"{name}-{unit.key[:16]}", learners=programme, storage=storage)

    def _fit(self, stage: str, training: Training) -> Path:
        return fit(training, self.acts.config.cluster, lambda line: log.info("%-16s %s", stage, line))


def _say_draw(what: str, sampled: int, there: int, of: str) -> None:
    if sampled < there:
        log.warning("%-16s learns from %d of %d %s (learn_from); all are predicted", what, sampled, there, of)


def subsample(names: Sequence[Name], most: int, seed: int) -> tuple[Name, ...]:
    """Return all of `names`, or the `most` that the seed draws, in their order; the draw does not depend on it."""
    if len(names) <= most:
        return tuple(names)
    chosen = set(sorted(names, key=lambda name: seed_from(seed, str(name)))[:most])
    return tuple(name for name in names if name in chosen)


def _logged(searches: Iterator[Searched]) -> Iterator[Searched]:
    """Yield the searches, each with a log line for every trial."""
    for one, trials in searches:
        for t in trials:
            score = f"{t.scores[-1]:.3f}" if t.scores else "none"
            log.info("%-16s %s trial %d %s: ICC %s", "tune", one.name.rsplit("-", 1)[0], t.number, _state(t), score)
            if t.failure:
                log.warning("%-16s %s trial %d: %s", "tune", one.name.rsplit("-", 1)[0], t.number, t.failure)
        yield one, trials


def _state(trial: Trial[HyperParameters]) -> str:
    return "failed" if trial.failure else "stopped" if trial.stopped else "completed"


def _rows(fold: int, trials: Sequence[Trial[HyperParameters]]) -> Iterator[dict[str, object]]:
    """Yield the rows of ``tables/tune.parquet``: one for each epoch of each trial."""
    best = winner(trials).number
    for one in trials:
        status = "winner" if one.number == best else _state(one)
        facts = {"fold": fold, "trial": one.number, **asdict(one.setting), "status": status}
        yield from ({**facts, "epoch": epoch, "icc": score} for epoch, score in enumerate(one.scores, start=1))


def _words(fold: int, chosen: HyperParameters) -> str:
    weights = f"KD {chosen.kd_weight:.2f}, features {chosen.feature_weight:.2f}, relations {chosen.relation_weight:.2f}"
    return f"fold {fold}: T {chosen.temperature:.1f}, {weights}"
