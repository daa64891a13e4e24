"""What the tables of a cohort and the configuration already tell of a run: what it cannot do, or not show.

The folds, the shards and the patients behind each are those that the stages themselves would make, as long
as no knee fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srrd_ray.cohort.check import CheckReport, Finding, Severity, check
from srrd_ray.cohort.tables import Cohort, survey
from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import ConfigError, SrrdError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import COMPARTMENTS, CohortKnee
from srrd_ray.diagnosis.splits import patient_folds
from srrd_ray.distillation.proposals import require_estimator
from srrd_ray.pipeline.configuration import RunConfig, read_config
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.stages.patches import plan_shards
from srrd_ray.stages.shared.learning import sample_shards
from srrd_ray.statistics import MIN_POSITIVES
from srrd_ray.statistics.bootstrap import LEAST_PATIENTS
from srrd_ray.synthesis.config import OF_NETWORK, CycleGanConfig

log = logging.getLogger(__name__)

UNTIL = "Or stop before it: --until measure."


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One limit. Where it `stops`, the run would end without a result; else some figures would be null."""

    error: ConfigError
    stops: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A run that is asked for: its configuration, the knees that have an image, and the stages by name."""

    config: RunConfig
    knees: tuple[CohortKnee, ...]
    stages: frozenset[str]

    @property
    def patients(self) -> int:
        return len({one.knee.participant for one in self.knees})


def limits_of(config: RunConfig, cohort: Cohort, stages: Sequence[str]) -> tuple[Limit, ...]:
    """Return all limits of the `stages` of a run, those that stop it first."""
    knees = tuple(one for one in cohort.knees if one.ct or one.mr)
    asked = _Asked(config=config, knees=knees, stages=frozenset(stages))
    found = [
        *_images(asked), *_network(asked), *_workers(asked), *_estimator(asked), *_folds(asked),
        *_classes(asked), *_few(asked),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda limit: not limit.stops))


def require_possible(config: RunConfig, cohort: Cohort, stages: Sequence[str]) -> None:
    """Log what a run will not be able to show, before any work.

    Raises
    ------
    ConfigError
        The first limit that would stop it, and how many more there are.
    """
    found = limits_of(config, cohort, stages)
    stopping = [limit.error for limit in found if limit.stops]
    if stopping:
        first = stopping[0]
        more = f" {len(stopping) - 1} more; `srrd check --config` lists them all." if stopping[1:] else ""
        raise ConfigError(
            first.code, first.what, where=first.where, got=first.got, expected=first.expected,
            todo=first.todo + more,
        )  # fmt: skip
    for limit in found:
        log.warning("%s", limit.error)


def check_for_run(root: Path, config: Path | None) -> CheckReport:
    """Return every finding of a cohort, with the limits of a run of it.

    Those that stop a run are faults where its configuration is given; for the defaults they are flags.
    """
    settings, report = read_config(config), check(root)
    if any(finding.severity == "STOP" for finding in report.findings):
        return report
    limits = limits_of(settings, survey(root)[0], [stage.name for stage in STAGES])
    return report.extended([_finding(limit, given=config is not None) for limit in limits])


def _finding(limit: Limit, *, given: bool) -> Finding:
    text = str(limit.error) if given else f"{limit.error} (with the defaults of srrd run)"
    severity: Severity = "STOP" if limit.stops and given else "FLAG"
    return Finding(
        participant=None, side=None, modality=None, code=limit.error.code, message=text, severity=severity
    )


def _stop(error: SrrdError) -> Limit:
    assert isinstance(error, ConfigError)
    return Limit(error=error, stops=True)


def _images(asked: _Asked) -> Iterator[Limit]:
    """Yield what is missing to learn the synthesis."""
    if "learn-synthesis" not in asked.stages:
        return
    for modality in ("mr", "ct"):
        if not any(getattr(one, modality) for one in asked.knees):
            yield _stop(
                ConfigError(
                    "images-missing", f"no knee of the cohort has a {modality.upper()} image",
                    where="learn-synthesis", todo="Bring one at least, or stop before it: --until ingest.",
                )
            )  # fmt: skip


def _network(asked: _Asked) -> Iterator[Limit]:
    """Yield settings of a network that another one is used in place of."""
    given, usual = asked.config.synthesis, CycleGanConfig()
    unused = [name for name in OF_NETWORK if getattr(given, name) != getattr(usual, name)]
    if "learn-synthesis" in asked.stages and given.start == "school" and unused:
        yield _stop(
            ConfigError(
                "setting-invalid", "a network of your own, but the synthesis begins at weights of another",
                where="learn-synthesis", got=", ".join(f"synthesis.{name}" for name in unused),
                expected="none of them, or synthesis.start: random",
                todo="Leave them out; or set synthesis.start: random and synthesis.epochs.",
            )
        )  # fmt: skip


def _workers(asked: _Asked) -> Iterator[Limit]:
    """Yield trainings whose workers would have nothing of their own in a step."""
    config, workers = asked.config, asked.config.cluster.training_workers
    most = len(BONES) * len(COMPARTMENTS) * config.patches.per_region * len(asked.knees)
    for stage, key, rows in (
        ("learn-synthesis", "synthesis.batch", config.synthesis.batch),
        ("teach", "distillation.batch_size", config.distillation.batch_size),
        ("teach", "all cubes of the cohort, at most", most),
    ):
        if stage in asked.stages and workers > rows:
            yield _stop(
                ConfigError(
                    "workers-idle", "more training workers than rows to deal out to them", where=stage,
                    got=f"cluster.training_workers {workers}", expected=f"at most {rows} ({key})",
                    todo="Lower cluster.training_workers.",
                )
            )  # fmt: skip


def _estimator(asked: _Asked) -> Iterator[Limit]:
    """Yield an algorithm of the search whose library is not installed."""
    if "tune" not in asked.stages or asked.config.tune.algorithm != "tpe":
        return
    try:
        require_estimator()
    except ConfigError as error:
        yield _stop(error)


def _folds(asked: _Asked) -> Iterator[Limit]:
    """Yield folds without patients, and folds that would have nobody to learn from or to search on."""
    if "tables" not in asked.stages:
        return
    patients, folds = [one.knee.participant for one in asked.knees], asked.config.distillation.folds
    try:
        fold_of = patient_folds(
            patients, [one.oa for one in asked.knees], folds, seed_from(asked.config.seed, "folds")
        )
    except ConfigError as error:
        yield _stop(
            ConfigError(
                error.code, error.what, where="distillation.folds", got=error.got,
                todo=f"{error.todo} {UNTIL}",
            )
        )  # fmt: skip
        return
    if "teach" in asked.stages:
        yield from _learning(asked, fold_of)


def _learning(asked: _Asked, fold_of: dict[str, int]) -> Iterator[Limit]:
    distillation, size = asked.config.distillation, asked.config.patches.knees_per_shard
    if distillation.learn_from < min(size, len(asked.knees)):
        yield _stop(
            ConfigError(
                "learn-from-shard", "fewer knees to learn from than one shard holds",
                where="distillation.learn_from", got=str(distillation.learn_from),
                expected=f"{size} at least (patches.knees_per_shard)",
                todo="Whole shards are sampled: raise the one or lower the other.",
            )
        )  # fmt: skip
        return
    shards = plan_shards([one.knee for one in asked.knees], size)
    names = sample_shards(tuple(shards), distillation.learn_from, size, asked.config.seed)
    sampled = {knee for name in names for knee in shards[name]}
    both = {one.knee.participant for one in asked.knees if one.ct and one.mr and one.knee in sampled}
    for fold in range(distillation.folds):
        learners = sum(fold_of[patient] != fold for patient in both)
        if learners < 2:
            yield _thin_fold(fold, learners)


def _thin_fold(fold: int, learners: int) -> Limit:
    """Return the limit of a fold that has one patient to learn from, who cannot also validate, or none."""
    if learners:
        what, todo = "the search has nobody to validate on", "The configured settings are used there."
    else:
        what, todo = "nobody with CT and MR is left to learn from", f"Bring more patients. {UNTIL}"
    error = ConfigError(
        "fold-thin", what, where=f"fold {fold}", got=f"{learners} training patients", expected="2 at least",
        todo=todo,
    )  # fmt: skip
    return Limit(error=error, stops=not learners)


def _classes(asked: _Asked) -> Iterator[Limit]:
    """Yield labels of which no classifier, or no AUC, can be made."""
    if "classify" not in asked.stages:
        return
    labels = [one.oa for one in asked.knees]
    people = [{one.knee.participant for one in asked.knees if one.oa == label} for label in (1, 0)]
    counts = f"{labels.count(1)} knees with, {labels.count(0)} without, {labels.count(None)} unknown"
    if min(map(len, people)) < 2:
        what, expected = "no out-of-fold classifier", "two patients of each class"
    elif labels.count(1) < MIN_POSITIVES:
        what, expected = "no AUC", f"{MIN_POSITIVES} knees with osteoarthritis"
    else:
        return
    error = ConfigError(
        "classes-few", f"{what} can be estimated", where="knees.tsv, oa", got=counts, expected=expected,
        todo="The figures of the diagnosis will be null, with their reason.",
    )  # fmt: skip
    yield Limit(error=error, stops=False)


def _few(asked: _Asked) -> Iterator[Limit]:
    """Yield a number of patients that is too small for intervals, or for an ICC at all."""
    if "evaluate" not in asked.stages or not 2 <= asked.patients < LEAST_PATIENTS:
        return
    what, expected, figures = (
        ("no agreement can be estimated", f"3 for an ICC, {LEAST_PATIENTS} for its interval", "Both")
        if asked.patients < 3
        else ("no bootstrap interval can be estimated", f"{LEAST_PATIENTS} at least", "Intervals")
    )
    error = ConfigError(
        "patients-few", what, where="cohort", got=f"{asked.patients} patients", expected=expected,
        todo=f"{figures} will be null, with their reason.",
    )  # fmt: skip
    yield Limit(error=error, stops=False)
