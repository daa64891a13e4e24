from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core import serial
from srrd_ray.diagnosis import ALL, DiagnosisConfig
from srrd_ray.stages.classify import COLUMNS, DiagnosisModels, classify, features_of, read_models, sha256_of
from srrd_ray.storage.tables import read_table, write_table
from tests.run_folder import Made, make_run

QUICK = DiagnosisConfig(inverse_penalties=(0.03, 0.3), inner_folds=2)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("template"), patients=16)


@pytest.fixture
def made(template: Made, tmp_path: Path) -> Made:
    return template.copied(tmp_path / "copy")


def test_every_knee_is_predicted_by_each_model_in_its_own_fold(made: Made) -> None:
    found = classify(made.layout, QUICK, seed=0)
    table = read_table(made.layout.table("diagnosis"), COLUMNS)
    knees = read_table(made.layout.table("knees")).set_index(["participant", "side"])
    assert len(found) == len(table) == 3 * len(made.knees)
    assert sorted(set(table["model"])) == ["baseline", "distilled", "teacher"]
    assert table["probability"].between(0, 1).all()
    for row in table.itertuples():
        assert (row.fold, row.label) == tuple(knees.loc[(row.participant, row.side), ["fold", "oa"]])


def test_the_tables_and_model_are_the_same_bytes_twice(made: Made) -> None:
    paths = [made.layout.table("diagnosis"), made.layout.model("diagnosis") / "model.json"]
    classify(made.layout, QUICK, seed=3)
    first = [path.read_bytes() for path in paths]
    classify(made.layout, QUICK, seed=3)
    assert first == [path.read_bytes() for path in paths]


def test_the_stored_model_repeats_the_predictions(made: Made) -> None:
    found = classify(made.layout, QUICK, seed=0)
    models = read_models(made.layout)
    predictions = read_table(made.layout.table("predictions"))
    features = features_of(predictions[predictions["model"] == "teacher"])
    by_fold = {model.fold: model for model in models.folds["teacher"]}
    for prediction in found[: len(features.knees)]:
        row = features.knees.index(prediction.knee)
        model = by_fold[prediction.fold]
        assert model.probability(features.values[row : row + 1])[0] == pytest.approx(prediction.probability)
        assert sha256_of(model) == prediction.model_sha256
    assert models.final["distilled"].fold == ALL


def test_models_survive_their_json(made: Made) -> None:
    classify(made.layout, QUICK, seed=0)
    models = read_models(made.layout)
    assert serial.from_json(DiagnosisModels, serial.to_json(models)) == models


def test_labels_of_the_tested_fold_do_not_reach_its_predictions(made: Made) -> None:
    knees = read_table(made.layout.table("knees"))
    before = {
        (p.knee, p.model_sha256): p.probability for p in classify(made.layout, QUICK, seed=0) if p.fold == 0
    }
    knees.loc[knees["fold"] == 0, "oa"] = 1 - knees.loc[knees["fold"] == 0, "oa"]
    write_table(made.layout.table("knees"), knees)
    after = {
        (p.knee, p.model_sha256): p.probability for p in classify(made.layout, QUICK, seed=0) if p.fold == 0
    }
    assert before == after


def test_a_knee_without_a_label_is_predicted_but_not_learned_from(made: Made) -> None:
    knees = read_table(made.layout.table("knees"))
    knees["oa"] = knees["oa"].astype("Int64")
    knees.loc[3, "oa"] = None
    write_table(made.layout.table("knees"), knees)
    row = knees.loc[3]
    found = [
        p
        for p in classify(made.layout, QUICK, seed=0)
        if (p.knee.participant, p.knee.side) == (row["participant"], row["side"])
    ]
    assert [p.label for p in found] == [None] * 3
    assert np.isnan(read_table(made.layout.table("diagnosis"))["label"].astype(float)).sum() == 3


def test_one_class_gives_no_predictions_and_a_reason(made: Made) -> None:
    knees = read_table(made.layout.table("knees"))
    knees["oa"] = 1
    write_table(made.layout.table("knees"), knees)
    assert classify(made.layout, QUICK, seed=0) == ()
    assert read_table(made.layout.table("diagnosis"), COLUMNS).empty
    assert "only one class" in read_models(made.layout).not_estimable["distilled"]
