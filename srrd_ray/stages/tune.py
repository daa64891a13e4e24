"""Stage ``tune``: the search over distillation temperature and loss weights, one for every fold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TypeAlias

import pandas as pd

from srrd_ray.core.hashing import seed_from
from srrd_ray.distillation.config import HyperParameters
from srrd_ray.execution.config import TuneConfig
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.training import Search, Trial, winner
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.learning import (
    DISTILLATION_KEYS,
    WINNERS,
    DistillationSettings,
    Winners,
    plan_of,
    trainer_of,
)
from srrd_ray.storage.record_files import write_record
from srrd_ray.storage.tables import write_table

log = logging.getLogger(__name__)

COLUMNS = ("fold", "trial", *(one.name for one in fields(HyperParameters)), "status", "epoch", "icc")

Trials: TypeAlias = tuple[Trial[HyperParameters], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneSettings(DistillationSettings):
    """What the search depends on, its budget included."""

    tune: TuneConfig


def tune(work: Work[TuneSettings]) -> Produced:
    """Search temperature and loss weights for every fold, on its own training patients alone.

    A fold with a single one has nobody to validate on: it keeps the configured settings.
    """
    from srrd_ray.distillation.search import sample_settings  # torch takes seconds to import
    from srrd_ray.stages.shared.fold_training import training_patients, trial_scores

    layout, settings = work.layout, work.settings
    plan, config = plan_of(work), settings.distillation
    folds = [fold for fold in plan.fold_numbers() if training_patients(plan, fold) > 1]
    searches = [
        Search(
            name=f"fold-{fold}-{work.item.input_hash[:16]}",
            settings=sample_settings(
                config.search, config.hyper, settings.tune.trials, seed_from(settings.seed, "tune", fold)
            ),
            run=partial(trial_scores, plan, fold),
            epochs=config.search.epochs,
            storage=layout.tune,
        )
        for fold in folds
    ]
    trials: dict[int, Trials] = {}
    ended = trainer_of(work).search(searches, settings.tune) if searches else ()
    for fold, (search, found) in zip(folds, ended, strict=True):
        _log_trials(search.name.rsplit("-", 1)[0], found)
        trials[fold] = found
    _write(work, trials, dict.fromkeys(plan.fold_numbers(), config.hyper))
    return Produced(paths=(layout.table("tune"), layout.model(WINNERS)))


def _write(work: Work[TuneSettings], trials: dict[int, Trials], default: dict[int, HyperParameters]) -> None:
    rows = [row for fold, found in trials.items() for row in _rows(fold, found)]
    write_table(work.layout.table("tune"), pd.DataFrame(rows, columns=list(COLUMNS)))
    for fold in sorted(set(default) - set(trials)):
        log.warning("%-16s fold %d has one patient to learn from: nothing is searched", "tune", fold)
    winners = Winners(folds=default | {fold: winner(found).setting for fold, found in trials.items()})
    write_record(work.layout.model(WINNERS), winners, "winners")
    described = "; ".join(_describe(fold, setting) for fold, setting in winners.folds.items())
    log.info("%-16s winners: %s", "tune", described)


def _log_trials(fold: str, trials: Trials) -> None:
    for trial in trials:
        score = f"{trial.scores[-1]:.3f}" if trial.scores else "none"
        log.info("%-16s %s trial %d %s: ICC %s", "tune", fold, trial.number, _state(trial), score)
        if trial.failure:
            log.warning("%-16s %s trial %d: %s", "tune", fold, trial.number, trial.failure)


def _state(trial: Trial[HyperParameters]) -> str:
    if trial.failure:
        return "failed"
    return "stopped" if trial.stopped else "completed"


def _rows(fold: int, trials: Sequence[Trial[HyperParameters]]) -> Iterator[dict[str, object]]:
    """Yield the rows of ``tables/tune.parquet``: one for each epoch of each trial."""
    best = winner(trials).number
    for trial in trials:
        status = "winner" if trial.number == best else _state(trial)
        facts = {"fold": fold, "trial": trial.number, **asdict(trial.setting), "status": status}
        yield from (
            {**facts, "epoch": epoch, "icc": score} for epoch, score in enumerate(trial.scores, start=1)
        )


def _describe(fold: int, chosen: HyperParameters) -> str:
    return (
        f"fold {fold}: T {chosen.temperature:.1f}, KD {chosen.kd_weight:.2f}, "
        f"features {chosen.feature_weight:.2f}, relations {chosen.relation_weight:.2f}"
    )


STAGE = Stage(
    name="tune",
    scope="cohort",
    function=tune,
    settings=TuneSettings,
    keys=DISTILLATION_KEYS,
    needs=("patches", "tables", "teach"),
    outside=("school",),
    outputs=("tables/tune", "models/winners.json", "tune"),
    trains=True,
)
