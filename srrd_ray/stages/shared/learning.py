"""What the stages that train share.

It is a subsample of a large cohort, one training run to its end, and the plan of all folds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Learner
from srrd_ray.core.records import Knee
from srrd_ray.distillation.config import Candidate, DistillationConfig
from srrd_ray.execution.stage import Work
from srrd_ray.execution.training import LearnerFactory, Trainer, Training
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.gather import read_folds
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record, write_record
from srrd_ray.storage.scalars import write_scalars

if TYPE_CHECKING:
    from srrd_ray.stages.shared.fold_training import DistilPlan
    from srrd_ray.stages.shared.models import ModelName

log = logging.getLogger(__name__)

Name = TypeVar("Name", Knee, str)

DISTILLATION_KEYS = {
    "training_workers": "cluster.training_workers",
    "knees_per_shard": "patches.knees_per_shard",
}
WINNERS = "winners.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Winners:
    """``models/winners.json``: the settings that the search chose, by outer fold."""

    folds: dict[int, Candidate]


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationSettings:
    """What teacher and students depend on.

    Gradients are summed over workers, and whole shards are sampled.
    """

    distillation: DistillationConfig
    seed: int
    training_workers: int
    knees_per_shard: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """``models/losses-<stage>.json``: by learner, its epochs in order, each with ``epoch`` and its losses."""

    learners: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)


def losses_path(layout: RunLayout, stage: str) -> Path:
    """Return where the losses of a stage are kept."""
    return layout.model(f"losses-{stage}.json")


def read_losses(log: Path) -> Losses:
    """Return the losses in the log of a training.

    Epochs that were done again after an interruption count once, as last done.
    """
    learners: dict[str, dict[int, dict[str, float]]] = {}
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    for line in map(json.loads, text.splitlines()):
        losses = {name: value for name, value in line.items() if isinstance(value, float)}
        learners.setdefault(line["learner"], {})[line["epoch"]] = {"epoch": float(line["epoch"]), **losses}
    return Losses(
        learners={name: tuple(epochs[n] for n in sorted(epochs)) for name, epochs in learners.items()}
    )


def trainer_of(work: Work[Any]) -> Trainer:
    """Return what trains; a stage that declares that it trains has it."""
    assert work.trainer is not None, "this stage is run by an executor that can train"
    return work.trainer


@contextmanager
def fit(work: Work[Any], stage: str, learners: LearnerFactory) -> Iterator[Path]:
    """Yield the folder of the trained weights.

    Once they have been saved elsewhere, it is removed with the checkpoints, and the losses are kept, for
    TensorBoard too. The name of the training contains the hash of its inputs, so that only the very same
    training is resumed.
    """
    training = Training(
        name=f"{stage}-{work.item.input_hash[:16]}", learners=learners, storage=work.layout.trainings
    )
    yield trainer_of(work).fit(training, lambda line: log.info("%-16s %s", stage, line))
    losses = read_losses(training.log)
    write_record(losses_path(work.layout, stage), losses, "losses")
    write_scalars(work.layout.tensorboard(stage), losses.learners)
    training.discard()


def plan_of(work: Work[DistillationSettings], *, with_winners: bool = False) -> DistilPlan:
    """Return what the models of all folds are trained on.

    It has the settings that the search chose, where they are known.
    """
    from srrd_ray.stages.shared.fold_training import DistilPlan, with_school_networks

    layout, settings = work.layout, work.settings
    winners = read_record(Winners, layout.model(WINNERS), "winners").folds if with_winners else {}
    return DistilPlan(
        layout=layout,
        shards=tuple(layout.shard_named(name) for name in _sampled_shards(work)),
        folds=read_folds(layout),
        config=with_school_networks(settings.distillation),
        seed=settings.seed,
        winners=winners,
    )


def train_models(
    work: Work[DistillationSettings],
    stage: str,
    plan: DistilPlan,
    learners: Callable[[DistilPlan], Iterator[Learner]],
    models: tuple[ModelName, ...],
) -> Produced:
    """Return the folders of models that were trained, one network a fold."""
    from srrd_ray.stages.shared.fold_training import save_models

    with fit(work, stage, partial(learners, plan)) as weights:
        paths = save_models(plan, weights, models)
    return Produced(paths=(*paths, losses_path(work.layout, stage)))


def _sampled_shards(work: Work[DistillationSettings]) -> tuple[str, ...]:
    """Return the shards used for training: all, or as many as hold `learn_from` knees."""
    settings, there = work.settings, work.cohort.shards
    learn_from, size = settings.distillation.learn_from, settings.knees_per_shard
    shards = sample_shards(there, learn_from, size, settings.seed)
    log_subsample("distillation", len(shards), len(there), "shards")
    return shards


def sample_shards(there: Sequence[str], learn_from: int, knees_per_shard: int, seed: int) -> tuple[str, ...]:
    """Return all shards, or as many whole ones as hold `learn_from` knees, at least one."""
    most = max(learn_from // knees_per_shard, 1)
    return subsample(tuple(sorted(there)), most, seed_from(seed, "shards"))


def subsample(names: Sequence[Name], most: int, seed: int) -> tuple[Name, ...]:
    """Return all of `names`, or the `most` that the seed samples, in their order.

    The sample does not depend on the order.
    """
    if len(names) <= most:
        return tuple(names)
    chosen = set(sorted(names, key=lambda name: seed_from(seed, str(name)))[:most])
    return tuple(name for name in names if name in chosen)


def log_subsample(what: str, sampled: int, there: int, of: str) -> None:
    """Log that a cohort is larger than what is used for training."""
    if sampled < there:
        log.warning("%-16s learns from %d of %d %s (learn_from); all are predicted", what, sampled, there, of)
