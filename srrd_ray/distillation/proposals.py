"""Which settings a search tries: at random, or by what was learnt from the trials that have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import seed_from
from srrd_ray.distillation.config import Candidate, SearchConfig

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Tried: TypeAlias = tuple[Candidate, tuple[float, ...]]
"""A setting, and its score after every epoch; no score where its trial diverged."""
FIRST = 2
"""The first trials: no teacher, and the configured setting."""
LOGARITHMIC = ("temperature", "feature_weight", "relation_weight")
AT_RANDOM = 10
"""Trials that the estimator wants to have seen before it proposes one itself (the default of its library)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A key that is drawn from `low` to `high`, uniformly or uniformly in its logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """Return a value at random."""
        if self.log:
            return float(np.exp(rng.uniform(*np.log((self.low, self.high)))))
        return float(rng.uniform(self.low, self.high))

    def holds(self, value: float) -> bool:
        """Return whether it could have been drawn."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """A key that has one of a few values."""

    values: tuple[int, ...]

    def draw(self, rng: np.random.Generator) -> float:
        """Return a value at random."""
        return int(rng.choice(self.values))

    def holds(self, value: float) -> bool:
        """Return whether it could have been drawn."""
        return value in self.values


def searched(search: SearchConfig) -> dict[str, Range | Choices]:
    """Return the keys that are searched, in the order in which they are drawn."""
    spans: dict[str, tuple[float, ...]] = {
        "temperature": search.temperature,
        "feature_weight": search.feature_weight,
        "relation_weight": search.relation_weight,
        "kd_weight": search.kd_weight,
        "noise": search.noise,
        "offset": search.offset,
        "scale": search.scale,
    }
    keys: dict[str, Range | Choices] = {
        key: Range(low=span[0], high=span[1], log=key in LOGARITHMIC) for key, span in spans.items() if span
    }
    return {**keys, "width": Choices(values=search.width)} if search.width else keys


def first_settings(default: Candidate) -> tuple[Candidate, ...]:
    """Return the settings that every search tries first: no teacher, and the configured one."""
    return default.without_teacher(), default


def sample_settings(
    search: SearchConfig, default: Candidate, trials: int, seed: int
) -> tuple[Candidate, ...]:
    """Return the settings of a search: no teacher, the default, and random samples;
    the same for the same seed.

    Learning rate and weight decay stay, so that baseline and distilled have the same optimisation.
    """
    rng, keys = np.random.default_rng(seed_from(seed, "tune")), searched(search)
    drawn = (
        default.having({key: span.draw(rng) for key, span in keys.items()}) for _ in range(trials - FIRST)
    )
    return (*first_settings(default), *drawn)[:trials]


def propose(search: SearchConfig, default: Candidate, seed: int, tried: Sequence[Tried]) -> Candidate:
    """Return the setting that a Parzen estimator (TPE, Bergstra 2011) asks for after those `tried`.

    It depends on the arguments alone: nothing is kept from one proposal to the next. Trials that were stopped
    count below those that were not, by how far they came, and those that diverged below all. A setting that
    could not have been drawn (no teacher) is left out.
    """
    require_estimator()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=AT_RANDOM)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    keys = searched(search)
    distributions = dict(_distributions(keys))
    for candidate, scores in tried:
        values = {key: candidate.values()[key] for key in keys}
        if all(span.holds(values[key]) for key, span in keys.items()):
            _tell(study, values, distributions, scores, ended=len(scores) == search.epochs)
    return default.having(study.ask(fixed_distributions=distributions).params)


def require_estimator() -> None:
    """Refuse where the library of the estimator is not installed.

    Raises
    ------
    ConfigError
        `search-missing`.
    """
    if find_spec("optuna") is None:
        raise ConfigError(
            "search-missing", "tune.algorithm tpe needs a library that is not installed", got="no optuna",
            todo="pip install 'srrd-ray[search]', or set tune.algorithm to random.",
        )  # fmt: skip


def _distributions(keys: Mapping[str, Range | Choices]) -> Iterator[tuple[str, BaseDistribution]]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    for key, span in keys.items():
        if isinstance(span, Choices):
            yield key, CategoricalDistribution(span.values)
        else:
            yield key, FloatDistribution(span.low, span.high, log=span.log)


def _tell(
    study: Study,
    values: Mapping[str, float],
    distributions: Mapping[str, BaseDistribution],
    scores: Sequence[float],
    *,
    ended: bool,
) -> None:
    """Add a trial to what the estimator learns from."""
    from optuna.trial import TrialState, create_trial

    state = TrialState.COMPLETE if ended else TrialState.PRUNED
    study.add_trial(
        create_trial(
            state=state, value=scores[-1] if ended else None, params=dict(values),
            distributions=dict(distributions), intermediate_values=dict(enumerate(scores, start=1)),
        )
    )  # fmt: skip
