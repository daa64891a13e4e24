from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srrd_ray.core.errors import ConfigError, InputError, StoreError
from srrd_ray.distillation.config import Augmentation, HyperParameters, SearchConfig
from srrd_ray.distillation.search import trial, validation_rows
from srrd_ray.stages.shared.fold_training import (
    distilled_learners,
    read_data,
    save_models,
    teacher_and_baseline_learners,
    training_part,
    training_patients,
    trial_inputs,
)
from srrd_ray.stages.shared.model_facts import caution
from srrd_ray.stages.shared.models import load_model
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import read_table, write_table
from srrd_ray.storage.weights import load_tensors
from tests.distillation.toys import toy
from tests.stages.small_run import FOLDS, PATIENTS, drive, plan_of, train_all, write_run


@pytest.fixture
def trained(learnt: RunLayout) -> RunLayout:
    return learnt


def test_cubes_without_mr_value_or_coverage_are_not_learnt_from(trained: RunLayout) -> None:
    data, whole = read_data(plan_of(trained)), toy(8 * PATIENTS)
    assert len(data) == len(whole) - 3
    np.testing.assert_array_equal(data.targets, whole.targets[3:])
    np.testing.assert_array_equal(data.ct, whole.ct[3:])


def test_a_cohort_with_nothing_to_learn_from_says_where_to_look(tmp_path: Path) -> None:
    layout = write_run(tmp_path)
    table = read_table(layout.table("measures"))
    write_table(layout.table("measures"), table.assign(coverage=0.0), "morphometry")
    with pytest.raises(InputError, match=r"\[patches-none\].*registration"):
        read_data(plan_of(layout))


def test_every_fold_has_its_three_models_in_order(trained: RunLayout, tmp_path: Path) -> None:
    plan = plan_of(trained)
    first = drive(teacher_and_baseline_learners(plan), tmp_path, epochs=0)
    assert first == [f"fold-{k}_{name}" for k in range(3) for name in ("teacher", "baseline")]
    assert drive(distilled_learners(plan), tmp_path, epochs=0) == [f"fold-{k}_distilled" for k in range(3)]


def test_nothing_of_a_fold_depends_on_the_patients_that_it_tests(trained: RunLayout, tmp_path: Path) -> None:
    changed, other = toy(8 * PATIENTS), toy(8 * PATIENTS, seed=9)
    tested = np.array([FOLDS[str(p)] == 0 for p in changed.patients])
    for name in ("ct", "mr", "targets"):
        getattr(changed, name)[tested] = getattr(other, name)[tested]
    layout = write_run(tmp_path, changed)
    train_all(layout)
    for name in ("teacher", "baseline", "distilled"):
        before, after = (load_tensors(run.model(name) / "fold-0.safetensors")[0] for run in (trained, layout))
        assert all(torch.equal(after[key], value) for key, value in before.items())
        cards = [load_model(run.model(name)).card.folds for run in (trained, layout)]
        assert cards[0][0] == cards[1][0]
        assert cards[0][1] != cards[1][1]


def test_training_again_gives_the_same_files(trained: RunLayout, tmp_path: Path) -> None:
    layout = write_run(tmp_path)
    train_all(layout)
    for name in ("teacher", "baseline", "distilled"):
        assert load_model(layout.model(name)).card == load_model(trained.model(name)).card


def test_baseline_and_distilled_start_at_the_same_weights(trained: RunLayout) -> None:
    plan = plan_of(trained)
    assert plan.seed_of(1, "baseline") == plan.seed_of(1, "distilled") != plan.seed_of(1, "teacher")


def test_the_winner_of_a_fold_is_used_and_recorded_for_that_fold_alone(
    trained: RunLayout, tmp_path: Path
) -> None:
    plan = plan_of(trained)
    winner = replace(
        plan.config.candidate,
        hyper=HyperParameters(temperature=5.0, kd_weight=0.8, feature_weight=0.0, relation_weight=0.0),
        nuisance=Augmentation(noise=30.0),
        width=8,
    )
    plan = replace(plan, winners={1: winner})
    drive(distilled_learners(plan), tmp_path, epochs=0)
    save_models(replace(plan, layout=write_run(tmp_path / "run")), tmp_path, ("distilled",))
    model = load_model(tmp_path / "run" / "models" / "distilled")
    assert [fold.hyper == winner.hyper for fold in model.card.folds] == [False, True, False]
    assert [fold.nuisance == winner.nuisance for fold in model.card.folds] == [False, True, False]
    assert [model.networks[fold].config.width for fold in range(3)] == [4, 8, 4]


def test_a_plan_travels_to_another_process(trained: RunLayout) -> None:
    plan = plan_of(trained)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_a_model_card_names_no_participant(trained: RunLayout) -> None:
    text = (trained.model("distilled") / "model.json").read_text()
    assert not any(f'"{patient}"' in text for patient in FOLDS)


def test_weights_that_are_not_those_of_the_card_are_refused(trained: RunLayout, tmp_path: Path) -> None:
    layout = write_run(tmp_path)
    plan = plan_of(layout)
    drive(teacher_and_baseline_learners(plan), tmp_path / "w", epochs=0)
    (folder,) = save_models(plan, tmp_path / "w", ("baseline",))
    with (folder / "fold-1.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(StoreError, match=r"\[model-altered\].*fold-1"):
        load_model(folder)


def test_a_card_with_an_unknown_key_or_version_is_refused(trained: RunLayout, tmp_path: Path) -> None:
    card = json.loads((trained.model("baseline") / "model.json").read_text())
    for change, error in (({"pickle": "x"}, ConfigError), ({"schema": "srrd-model/9"}, StoreError)):
        (tmp_path / "model.json").write_text(json.dumps(card | change))
        with pytest.raises(error):
            load_model(tmp_path)


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\[model-missing\]"):
        load_model(tmp_path)


def test_a_trial_scores_every_epoch_and_repeats_itself(trained: RunLayout) -> None:
    plan = plan_of(trained)
    inputs = trial_inputs(plan, 0)
    assert set(inputs.data.patients) == {p for p, fold in FOLDS.items() if fold != 0}
    config = replace(plan.config, search=SearchConfig(epochs=2))
    scores = [list(trial(inputs, config.candidate, config, seed=1)) for _ in range(2)]
    assert len(scores[0]) == 2
    assert scores[0] == scores[1]
    assert all(np.isfinite(score) and score <= 1 for score in scores[0])  # an ICC has no lower bound


def test_a_trial_validates_on_whole_patients(trained: RunLayout) -> None:
    data = training_part(read_data(plan_of(trained)), FOLDS, 2)
    held = validation_rows(data.patients, 3, seed=4)
    assert 0 < held.sum() < len(data)
    assert not set(data.patients[held]) & set(data.patients[~held])


def test_a_model_of_few_patients_says_so_on_its_card(trained: RunLayout) -> None:
    card = load_model(trained.model("distilled")).card
    assert [one.patients for one in card.folds] == [4, 4, 4]
    assert card.caution.startswith("learnt from 4 patients, fewer than 20")
    assert caution([20, 25]) == ""


def test_a_fold_that_tests_everybody_has_nothing_to_learn_from(trained: RunLayout) -> None:
    plan = replace(plan_of(trained), folds=dict.fromkeys(FOLDS, 0))
    assert training_patients(plan, 0) == 0
    with pytest.raises(
        InputError, match=r"\[patches-none\] no cube to learn from in fold 0: got cubes of 6 patients"
    ):
        training_part(read_data(plan), plan.folds, 0)


def test_two_patients_make_two_models_and_no_search(trained: RunLayout, tmp_path: Path) -> None:
    plan = replace(plan_of(trained), folds={"p3": 0, "p4": 1})
    assert [training_patients(plan, fold) for fold in (0, 1)] == [1, 1]
    drive(teacher_and_baseline_learners(plan), tmp_path)
    drive(distilled_learners(plan), tmp_path)
    for fold in plan.fold_numbers():
        tensors, _ = load_tensors(tmp_path / f"fold-{fold}_distilled.safetensors")
        assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
