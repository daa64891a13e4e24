"""Stage ``tune``: the search over loss weights, augmentation and capacity, one for every fold."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, assert_never

import pandas as pd

from srrd_ray.core.hashing import seed_from
from srrd_ray.distillation.config import Candidate, DistillationConfig
from srrd_ray.distillation.proposals import (
    first_settings,
    propose,
    require_estimator,
    sample_settings,
    searched,
)
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

if TYPE_CHECKING:
    from srrd_ray.stages.shared.fold_training import DistilPlan

COLUMNS = ("fold", "trial", *DistillationConfig().candidate.values(), "status", "epoch", "icc")

Trials: TypeAlias = tuple[Trial[Candidate], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneSettings(DistillationSettings):
    """What the search depends on, its budget included."""

    tune: TuneConfig


def tune(work: Work[TuneSettings]) -> Produced:
    """Search what is searched for every fold, on its own training patients alone.

    A fold with a single one has nobody to validate on: it keeps the configured settings.
    """
    from srrd_ray.stages.shared.fold_training import training_patients  # torch takes seconds to import

    layout, settings = work.layout, work.settings
    if settings.tune.algorithm == "tpe":
        require_estimator()
    plan = plan_of(work)
    folds = [fold for fold in plan.fold_numbers() if training_patients(plan, fold) > 1]
    searches = [_search(work, plan, fold) for fold in folds]
    trials: dict[int, Trials] = {}
    ended = trainer_of(work).search(searches, settings.tune) if searches else ()
    for fold, (search, found) in zip(folds, ended, strict=True):
        _log_trials(search.name.rsplit("-", 1)[0], found)
        trials[fold] = found
    _write(work, trials, dict.fromkeys(plan.fold_numbers(), plan.config.candidate))
    return Produced(paths=(layout.table("tune"), layout.model(WINNERS)))


def _search(work: Work[TuneSettings], plan: DistilPlan, fold: int) -> Search[Candidate]:
    """Return the search of a fold."""
    from srrd_ray.stages.shared.fold_training import trial_scores

    settings, space = work.settings, plan.config.search
    default, count, seed = plan.config.candidate, settings.tune.trials, seed_from(settings.seed, "tune", fold)
    proposals: tuple[partial[Candidate], ...] = ()
    match settings.tune.algorithm:
        case "random":
            known = sample_settings(space, default, count, seed)
        case "tpe":
            known = first_settings(default)[:count]
            later = range(len(known), count)
            proposals = tuple(partial(propose, space, default, seed_from(seed, "tpe", n)) for n in later)
        case _ as unknown:
            assert_never(unknown)
    return Search(
        name=f"fold-{fold}-{work.item.input_hash[:16]}",
        settings=known,
        proposals=proposals,
        run=partial(trial_scores, plan, fold),
        epochs=space.epochs,
        storage=work.layout.tune,
        values=Candidate.values,
    )


def _write(work: Work[TuneSettings], trials: dict[int, Trials], default: dict[int, Candidate]) -> None:
    rows = [row for fold, found in trials.items() for row in _rows(fold, found)]
    write_table(work.layout.table("tune"), pd.DataFrame(rows, columns=list(COLUMNS)))
    for fold in sorted(set(default) - set(trials)):
        log.warning("%-16s fold %d has one patient to learn from: nothing is searched", "tune", fold)
    winners = Winners(folds=default | {fold: winner(found).setting for fold, found in trials.items()})
    write_record(work.layout.model(WINNERS), winners, "winners")
    keys = searched(work.settings.distillation.search)
    described = "; ".join(_describe(fold, setting, keys) for fold, setting in winners.folds.items())
    log.info("%-16s winners: %s", "tune", described)


def _log_trials(fold: str, trials: Trials) -> None:
    for trial in trials:
        score = f"{trial.scores[-1]:.3f}" if trial.scores else "none"
        log.info("%-16s %s trial %d %s: ICC %s", "tune", fold, trial.number, _state(trial), score)
        if trial.failure:
            log.warning("%-16s %s trial %d: %s", "tune", fold, trial.number, trial.failure)


def _state(trial: Trial[Candidate]) -> str:
    if trial.failure:
        return "failed"
    return "stopped" if trial.stopped else "completed"


def _rows(fold: int, trials: Sequence[Trial[Candidate]]) -> Iterator[dict[str, object]]:
    """Yield the rows of ``tables/tune.parquet``: one for each epoch of each trial."""
    best = winner(trials).number
    for trial in trials:
        status = "winner" if trial.number == best else _state(trial)
        facts = {"fold": fold, "trial": trial.number, **trial.setting.values(), "status": status}
        yield from (
            {**facts, "epoch": epoch, "icc": score} for epoch, score in enumerate(trial.scores, start=1)
        )


def _describe(fold: int, chosen: Candidate, keys: Iterable[str]) -> str:
    """Return what was chosen of the keys that were searched."""
    values = chosen.values()
    return f"fold {fold}: " + ", ".join(f"{key} {values[key]:.3g}" for key in keys)


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
