from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log

import numpy as np
import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.settings import SettingsError
from srrd_ray.distillation import proposals
from srrd_ray.distillation.config import (
    Augmentation,
    Candidate,
    DistillationConfig,
    HyperParameters,
    SearchConfig,
)
from srrd_ray.distillation.proposals import first_settings, propose, sample_settings, searched

DEFAULT = Candidate(hyper=HyperParameters(lr=1e-3), nuisance=Augmentation(scale=0.02), width=8)
TERMS = SearchConfig(feature_weight=(0.03, 3.0), relation_weight=(0.01, 10.0))
EVERY = replace(TERMS, noise=(0.0, 60.0), offset=(0.0, 20.0), scale=(0.0, 0.1), width=(4, 8, 16))


def test_a_search_tries_no_teacher_and_the_default_first_and_keeps_the_optimisation() -> None:
    settings = sample_settings(SearchConfig(), DEFAULT, trials=6, seed=3)
    assert settings[:2] == (DEFAULT.without_teacher(), DEFAULT) == first_settings(DEFAULT)
    assert len(set(settings)) == 6
    assert {(s.hyper.lr, s.nuisance, s.width) for s in settings} == {(1e-3, DEFAULT.nuisance, 8)}
    assert all(1 <= s.hyper.temperature <= 8 and 0 <= s.hyper.kd_weight <= 0.9 for s in settings)
    assert {(s.hyper.feature_weight, s.hyper.relation_weight) for s in settings} == {(0.0, 0.0)}
    assert settings == sample_settings(SearchConfig(), DEFAULT, trials=6, seed=3)


def test_what_is_drawn_at_random_stays_what_it_was_before_there_were_further_keys() -> None:
    rng = np.random.default_rng(seed_from(3, "tune"))
    drawn = sample_settings(TERMS, DEFAULT, trials=3, seed=3)[2].hyper
    for key, low, high in (
        ("temperature", 1.0, 8.0), ("feature_weight", 0.03, 3.0), ("relation_weight", 0.01, 10.0),
    ):  # fmt: skip
        assert getattr(drawn, key) == float(np.exp(rng.uniform(*np.log((low, high)))))
    assert drawn.kd_weight == float(rng.uniform(0.0, 0.9))


def test_augmentation_and_capacity_are_drawn_from_their_ranges_where_these_are_given() -> None:
    drawn = sample_settings(EVERY, DEFAULT, trials=40, seed=1)[2:]
    assert {one.width for one in drawn} == {4, 8, 16}
    assert all(0 <= one.nuisance.noise <= 60 and 0 <= one.nuisance.offset <= 20 for one in drawn)
    assert len({one.nuisance for one in drawn}) == 38


def test_each_searched_key_is_a_key_of_a_setting() -> None:
    assert set(searched(EVERY)) <= set(DEFAULT.values())
    values = dict.fromkeys(searched(EVERY), 0.5) | {"width": 16}
    assert {key: DEFAULT.having(values).values()[key] for key in values} == values


def distance(candidate: Candidate) -> float:
    """A score that is best at a temperature of 2 and with noise of 30 HU, whatever the rest."""
    return -(log(candidate.hyper.temperature / 2) ** 2) - ((candidate.nuisance.noise - 30) / 30) ** 2


def searched_by(choose: partial[Candidate], trials: int) -> list[tuple[Candidate, tuple[float, ...]]]:
    tried: list[tuple[Candidate, tuple[float, ...]]] = []
    for number in range(trials):
        one = choose(seed=number, tried=tried)
        tried.append((one, (distance(one),) * EVERY.epochs))
    return tried


def test_the_estimator_finds_what_is_good_and_depends_on_its_arguments_alone() -> None:
    tried = searched_by(partial(propose, EVERY, DEFAULT), 30)
    early, late = (np.mean([scores[-1] for _, scores in part]) for part in (tried[:10], tried[20:]))
    assert late > early / 2  # scores are negative: half of the distance
    assert propose(EVERY, DEFAULT, 5, tried) == propose(EVERY, DEFAULT, 5, tried)
    assert propose(EVERY, DEFAULT, 5, tried) != propose(EVERY, DEFAULT, 5, tried[:-1])


def test_trials_without_teacher_and_those_that_diverged_do_not_stop_the_estimator() -> None:
    tried = [(one, ()) for one in sample_settings(EVERY, DEFAULT, trials=14, seed=2)]
    assert all(
        span.holds(propose(EVERY, DEFAULT, 1, tried).values()[k]) for k, span in searched(EVERY).items()
    )


def test_a_range_of_one_value_is_that_value() -> None:
    fixed = replace(SearchConfig(), noise=(40.0, 40.0))
    assert propose(fixed, DEFAULT, 1, []).nuisance.noise == 40.0


def test_the_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"\[search-missing\].*srrd-ray\[search\]"):
        propose(EVERY, DEFAULT, 1, [])


def test_capacity_cannot_be_searched_where_students_have_the_readers_networks() -> None:
    with pytest.raises(
        SettingsError, match=r"search\.width: \[8\], expected nothing with labels of the reader"
    ):
        DistillationConfig(search=SearchConfig(width=(8,)))
    with pytest.raises(SettingsError, match=r"search\.width.*multiples of student\.groups \(4\)"):
        DistillationConfig(labels="measured", search=SearchConfig(width=(8, 10)))
    assert DistillationConfig(labels="measured", search=SearchConfig(width=(8, 16))).candidate.width == 8


def test_a_range_has_two_values_or_none() -> None:
    with pytest.raises(SettingsError, match=r"noise: \[5\.0\], expected .*two of them or none"):
        SearchConfig(noise=(5.0,))
