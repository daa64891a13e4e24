from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.diagnosis import DiagnosisConfig
from srrd_ray.report.diagnosis_section import diagnosis_section
from srrd_ray.report.page import Grid, Note
from srrd_ray.report.run import Run
from srrd_ray.segmentation.knee_shape import SHAPE_COLUMNS
from srrd_ray.stages.classify import classify
from srrd_ray.stages.compare_diagnosis import COLUMNS, TABLE, compare_diagnoses, labelled_knees, some_patients
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.shared import metrics
from srrd_ray.storage import schemas
from srrd_ray.storage.tables import read_table, write_table
from tests.run_folder import Made, make_run

QUICK = DiagnosisConfig(inverse_penalties=(0.03, 0.3), inner_folds=2)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 40)


def shape_of(made: Made, *, without: int = 0) -> None:
    """Write the shapes of all knees but the first few; a compartment of one of them is not known."""
    rng = np.random.default_rng(0)
    for index, knee in enumerate(made.knees[without:]):
        values = rng.uniform(0.5, 5, len(SHAPE_COLUMNS))
        values[0] = np.nan if index == 1 else values[0]
        row = {"participant": knee.participant, "side": knee.side} | dict(
            zip(SHAPE_COLUMNS, values, strict=True)
        )
        write_table(made.layout.part("shape", knee), pd.DataFrame([row]), "shape")


def compared(made: Made) -> pd.DataFrame:
    compare_diagnoses(made.layout, made.cohort, made.knees, QUICK, seed=0)
    return read_table(made.layout.table(TABLE), COLUMNS)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = make_run(tmp_path_factory.mktemp("template"), patients=20, folds=2)
    classify(made.layout, QUICK, seed=0)
    return made


@pytest.fixture(scope="module")
def complete(template: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = template.copied(tmp_path_factory.mktemp("complete") / "copy")
    shape_of(made, without=1)
    compared(made)
    return made


@pytest.fixture
def made(template: Made, tmp_path: Path) -> Made:
    return template.copied(tmp_path / "copy")


def first(table: pd.DataFrame) -> pd.DataFrame:
    """The diagnosis itself: logistic regression on the readings of the student."""
    chosen = (table["source"] == "distilled") & (table["inputs"] == "readings")
    return table[chosen & (table["classifier"] == "logistic")]


@pytest.mark.training
def test_every_knee_has_every_input_and_classifier_once_by_student_and_by_truth(complete: Made) -> None:
    table = read_table(complete.layout.table(TABLE), COLUMNS)
    counts = table.groupby(["source", "inputs", "classifier"]).size()
    assert len(counts) == 8 + 6
    assert set(counts) == {len(complete.knees)}
    assert not table.duplicated(list(COLUMNS[:5])).any()
    shapes = read_table(complete.layout.table("shape"))
    assert len(shapes) == len(complete.knees) - 1


@pytest.mark.training
def test_logistic_regression_on_the_readings_is_the_diagnosis(complete: Made) -> None:
    diagnosis = read_table(complete.layout.table("diagnosis"))
    own = diagnosis[diagnosis["model"] == "distilled"].set_index(["participant", "side"])["probability"]
    found = first(read_table(complete.layout.table(TABLE))).set_index(["participant", "side"])["probability"]
    pd.testing.assert_series_equal(found, own, check_names=False)


@pytest.mark.training
def test_figures_and_report_say_how_many_knees_and_give_the_interval_of_each(
    complete: Made,
) -> None:
    figures = json.loads(evaluate(complete.layout, complete.cohort).read_text())
    schemas.validate("metrics", figures)
    found = figures[TABLE]
    plain = found["distilled"]["readings"]["logistic"]
    assert plain["auc"] == pytest.approx(figures["diagnosis"]["distilled"]["auc"])
    assert "delong_p" not in plain
    assert 0 <= found["truth"]["readings"]["boosting"]["delong_p"] <= 1
    assert "shape" not in found["truth"], "what CT shows of the shape is no truth"
    tables = {"diagnosis": read_table(complete.layout.table("diagnosis"))}
    section = diagnosis_section(Run(tables=tables, metrics=figures, manifest={}, outcomes=()))
    grids = [block for block in section.blocks if isinstance(block, Grid)]
    rows = next(grid.rows for grid in grids if grid.header[2] == "Classifier")
    assert len(rows) == 14
    assert all(" to " in row[4] for row in rows)
    notes = [block.text for block in section.blocks if isinstance(block, Note)]
    assert any("20 patients" in text for text in notes)


@pytest.mark.training
def test_without_shapes_and_truth_only_readings_are_compared(tmp_path: Path) -> None:
    made = make_run(tmp_path, patients=8, folds=2, simulated=False)
    table = compared(made)
    assert set(table["source"]) == {"distilled"}
    assert set(table["inputs"]) == {"readings"}


def test_one_class_leaves_an_empty_table_and_no_figures(made: Made) -> None:
    knees = read_table(made.layout.table("knees"))
    write_table(made.layout.table("knees"), knees.assign(oa=1))
    classify(made.layout, QUICK, seed=0)
    assert compared(made).empty
    assert TABLE not in json.loads(evaluate(made.layout, made.cohort).read_text())


def test_a_report_without_the_comparison_has_no_table_of_it(made: Made) -> None:
    figures = json.loads(evaluate(made.layout, made.cohort).read_text())
    tables = {"diagnosis": read_table(made.layout.table("diagnosis"))}
    blocks = diagnosis_section(Run(tables=tables, metrics=figures, manifest={}, outcomes=())).blocks
    assert not [b for b in blocks if isinstance(b, Grid) and b.header[2:3] == ("Classifier",)]


def test_knees_without_a_label_or_a_fold_are_left_out_and_a_missing_shape_is_unknown(made: Made) -> None:
    predictions = read_table(made.layout.table("predictions"))
    cubes = predictions[predictions["model"] == "distilled"]
    knees = read_table(made.layout.table("knees"))
    shape = pd.DataFrame({"participant": [knees["participant"][3]], "side": [knees["side"][3]], "a": [2.5]})
    knees.loc[0, "oa"], knees.loc[1, "fold"] = None, None
    found = labelled_knees(cubes, shape, some_patients(knees, 0))
    assert len(found.keys) == len(knees) - 2
    assert np.isfinite(found.knees.shape).sum() == 1
    assert found.knees.shape[1, 0] == 2.5
    one = cubes[(cubes["participant"] == found.keys[0].participant) & (cubes["side"] == found.keys[0].side)]
    np.testing.assert_array_equal(found.knees.cubes[0][:, :4], one[list(PARAMETERS)].to_numpy())
    medial_femur = found.knees.cubes[0][
        ((one["bone"] == "femur") & (one["compartment"] == "medial")).to_numpy()
    ]
    assert (medial_femur[:, 4:] == 1).all()


def test_of_a_large_cohort_whole_patients_are_drawn_whatever_the_order_of_the_rows(made: Made) -> None:
    knees = read_table(made.layout.table("knees"))
    some = some_patients(knees, 0, most=7)
    assert some["participant"].nunique() == 7
    assert len(some) == knees["participant"].isin(some["participant"]).sum()
    again = some_patients(knees.iloc[::-1], 0, most=7)
    assert set(again["participant"]) == set(some["participant"])
    assert set(some_patients(knees, 1, most=7)["participant"]) != set(some["participant"])
