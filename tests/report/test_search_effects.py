from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from srrd_ray.distillation.config import DistillationConfig, SearchConfig
from srrd_ray.distillation.proposals import LOGARITHMIC, sample_settings, searched
from srrd_ray.report.search_effects import KEYS, correlations, effects, groups, guided, searched_keys
from srrd_ray.report.style import styled

EVERY = SearchConfig(
    feature_weight=(0.03, 3.0), relation_weight=(0.01, 10.0), noise=(0.0, 60.0), offset=(0.0, 20.0),
    scale=(0.0, 0.1), width=(4, 8, 16),
)  # fmt: skip
DEFAULT = DistillationConfig().candidate


def trials(count: int, space: SearchConfig = EVERY) -> pd.DataFrame:
    """Searches of two folds whose ICC rises with the temperature alone, the second fold's lower by 0.3."""
    rows = [
        {
            "fold": fold, "trial": number, **setting.values(), "epoch": epoch, "status": "completed",
            "icc": 0.05 * setting.hyper.temperature - 0.3 * fold - 0.1 / epoch,
        }
        for fold in (0, 1)
        for number, setting in enumerate(sample_settings(space, DEFAULT, count, seed=fold))
        for epoch in (1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_every_key_that_can_be_searched_has_a_name_and_its_axis() -> None:
    keys = searched(EVERY)
    assert set(KEYS) == set(keys)
    assert {name for name, key in KEYS.items() if key.log} == {*LOGARITHMIC, "width"}


def test_keys_that_were_not_searched_are_left_out() -> None:
    assert set(searched_keys(trials(8))) == set(KEYS)
    assert set(searched_keys(trials(8, SearchConfig()))) == set(searched(SearchConfig()))
    assert searched_keys(trials(2)) == {}


def test_a_table_of_an_older_run_has_its_keys() -> None:
    old = trials(8).drop(columns=["noise", "offset", "scale", "width"])
    assert set(searched_keys(old)) == {"temperature", "kd_weight", "feature_weight", "relation_weight"}


def test_the_trial_without_teacher_is_no_part_of_the_effect_of_a_key() -> None:
    table = trials(8)
    assert (guided(table)["trial"] > 0).all()
    assert guided(table).groupby("fold")["gain"].mean().abs().max() < 1e-12


def test_the_key_that_matters_is_seen_whatever_the_fold_and_with_its_interval() -> None:
    rows = {row[0]: row[1:] for row in correlations(trials(20)).rows}
    assert rows["temperature"][1] == "38"
    value, low, high = (
        float(part.strip("()")) for part in str(rows["temperature"][0]).replace("to ", "").split()
    )
    assert low <= value <= high
    assert value > 0.9
    assert abs(float(str(rows["KD weight"][0]).split()[0])) < 0.6


def test_a_few_trials_have_no_correlation() -> None:
    assert {row[1] for row in correlations(trials(3)).rows} == {"too few trials"}


def test_trials_that_all_score_the_same_have_no_correlation() -> None:
    assert {row[1] for row in correlations(trials(8).assign(icc=0.2)).rows} == {"not estimable"}


def test_groups_are_even_and_never_part_one_value() -> None:
    values = np.repeat([4.0, 8.0, 16.0], [9, 4, 7])
    at, mean, sd = groups(values, values)
    assert set(at) <= {4.0, 8.0, 16.0}
    assert mean[0] == 4.0
    assert sd[0] == 0.0
    rising = np.arange(40.0)
    at, mean, sd = groups(rising, 2 * rising)
    assert np.diff(at) == pytest.approx(8)
    assert mean == pytest.approx(2 * at)
    assert sd == pytest.approx(2 * np.std(np.arange(8), ddof=1))


def test_each_searched_key_is_drawn_with_the_spread_of_its_trials() -> None:
    with styled():
        figure = effects(trials(20))
    drawn = {axes.get_xlabel(): axes for axes in figure.axes if axes.axison}
    assert set(drawn) == {key.name for key in KEYS.values()}
    for name, axes in drawn.items():
        labels = axes.get_legend_handles_labels()[1]
        assert {"± SD", "mean of a group", "fold 0", "fold 1"} <= set(labels), name
