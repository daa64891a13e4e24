from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.diagnosis import DiagnosisConfig
from srrd_ray.stages.classify import classify
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.shared import metrics
from srrd_ray.stages.shared.run_page import build_report
from srrd_ray.stages.shared.truth import true_parameters
from srrd_ray.statistics import delong_test, icc
from srrd_ray.storage import schemas
from srrd_ray.storage.tables import read_table, write_table
from tests.run_folder import Made, make_run

QUICK = DiagnosisConfig(inverse_penalties=(0.03,), inner_folds=2)
Metrics = dict[str, Any]  # parsed JSON of which the schema is tested here


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 60)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = make_run(tmp_path_factory.mktemp("template"), patients=20)
    classify(made.layout, QUICK, seed=0)
    return made


@pytest.fixture(scope="module")
def complete(template: Made) -> Metrics:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 60)
        return figures(template)


@pytest.fixture
def made(template: Made, tmp_path: Path) -> Made:
    return template.copied(tmp_path / "copy")


def figures(made: Made) -> Metrics:
    text = evaluate(made.layout, made.cohort).read_text()
    assert "NaN" not in text
    found: Metrics = json.loads(text)
    schemas.validate("metrics", found)
    return found


def test_a_complete_run_has_every_figure_of_the_design(complete: Metrics) -> None:
    found = complete
    for bone in ("femur", "tibia"):
        tre = found["registration"]["tre_mm"][bone]
        assert 0 < tre["median"] < tre["p95"] < 1
    assert found["registration"]["tre_mm"]["tibia"]["refused"] == 1
    assert found["synthesis"]["mae_hu"] == pytest.approx(80, abs=10)
    for part in ("regression", "regression_truth"):
        for model in ("teacher", "distilled", "baseline"):
            for name in PARAMETERS:
                one = found[part][model][name]
                assert one["icc_ci"][0] < one["icc"] < one["icc_ci"][1]
    for model in ("distilled", "baseline"):
        one = found["diagnosis"][model]
        assert one["auc_ci"][0] <= one["auc"] <= one["auc_ci"][1]
    assert 0 <= found["diagnosis"]["delong_p"] <= 1
    assert found["cohort"] == {"simulated": True, "knees": 22, "patients": 20, "learnt_from": 15}


def test_the_card_of_the_student_has_the_figures_of_the_run(template: Made, complete: Metrics) -> None:
    card = template.layout.models_readme.read_text(encoding="utf-8")
    found = complete["regression"]["distilled"]["BV/TV"]
    value, (low, high) = found["icc"], found["icc_ci"]
    assert f"| BV/TV: ICC(A,1) with MR | {value:.2f} [{low:.2f}, {high:.2f}] |" in card
    assert "Simulated: yes" in card
    assert "license: apache-2.0" in card


def test_better_predictions_have_the_higher_icc_and_the_gain_is_their_difference(complete: Metrics) -> None:
    found = complete["regression_truth_comparison"]
    means = {model: one["icc"] for model, one in found["mean_icc"].items()}
    assert means["teacher"] > means["distilled"] > means["baseline"]
    assert found["delta_icc"] == pytest.approx(means["distilled"] - means["baseline"])


def test_icc_is_over_patients_each_a_mean_over_regions(template: Made, complete: Metrics) -> None:
    keys = ["participant", "side", "bone", "compartment"]
    predictions, measures = (read_table(template.layout.table(name)) for name in ("predictions", "measures"))
    chosen = predictions[predictions["model"] == "distilled"].reset_index(drop=True)
    table = chosen.assign(reference=measures["Tb.Th"]).groupby(keys)[["Tb.Th", "reference"]].mean()
    patients = table.groupby("participant").mean()
    expected = icc(patients["Tb.Th"], patients["reference"])
    one = complete["regression"]["distilled"]["Tb.Th"]
    assert (one["icc"], *one["icc_ci"]) == pytest.approx(tuple(expected))
    assert one["patients"] == 20


def test_truth_of_a_patch_is_the_sum_of_its_cells(made: Made) -> None:
    truth = true_parameters(made.layout, made.cohort)
    assert truth is not None
    cells = pd.read_parquet(made.cohort / "derivatives/truth/sub-001/sub-001_side-L_cells.parquet")
    region = cells[(cells["bone"] == "femur") & (cells["compartment"] == "medial")]
    first = truth[(truth["store"] == "shard-00000") & (truth["row"] == 0)].iloc[0]
    assert first["BV/TV"] == pytest.approx(region["n_bone"].sum() / region["n_total"].sum())
    assert first["Tb.Th"] == pytest.approx(region["sum_th_mm"].sum() / region["n_bone"].sum())
    assert first["Tb.N"] == pytest.approx(first["BV/TV"] / first["Tb.Th"])
    assert 0.5 <= first["coverage"] <= 1.3


def test_target_errors_are_the_distance_at_landmarks(made: Made) -> None:
    for path in (made.layout.root / "volumes").glob("*/transform_femur.json"):
        data = json.loads(path.read_text())
        truth = json.loads(
            (
                made.cohort / f"derivatives/truth/{path.parent.name[:7]}/{path.parent.name}_truth.json"
            ).read_text()
        )
        shifted = np.array(truth["transforms"]["femur"])
        shifted[0, 3] += 0.25
        path.write_text(json.dumps(data | {"matrix": shifted.tolist()}))
    found = figures(made)["registration"]["tre_mm"]["femur"]
    assert (found["median"], found["p95"], found["share_below_1mm"]) == pytest.approx((0.25, 0.25, 1.0))


def test_a_cohort_without_truth_says_so_and_keeps_the_rest(tmp_path: Path) -> None:
    found = figures(make_run(tmp_path, patients=16, simulated=False))
    assert found["registration"]["tre_mm"]["femur"]["median"] is None
    assert "not simulated" in found["registration"]["tre_mm"]["femur"]["reason"]
    assert "not simulated" in found["regression_truth"]["teacher"]["Tb.N"]["reason"]
    assert found["regression"]["teacher"]["Tb.N"]["icc"] > 0.5


@pytest.mark.parametrize("lost", ["registration", "measures", "predictions", "diagnosis", "knees"])
def test_a_partial_run_is_evaluated_as_far_as_it_went(made: Made, lost: str) -> None:
    made.layout.table(lost).unlink()
    found = figures(made)
    assert found["regression"]["teacher"]["Tb.N"]["icc"] is None or lost not in ("measures", "predictions")
    assert (found["synthesis"]["ssim"] is None) == (lost == "registration")


def test_an_empty_run_has_nothing_but_reasons(tmp_path: Path) -> None:
    made = make_run(tmp_path, patients=8)
    empty = Made(layout=type(made.layout)(root=tmp_path / "other"), cohort=tmp_path / "none", knees=())
    found = figures(empty)
    assert found["diagnosis"]["distilled"] == {"auc": None, "auc_ci": None, "reason": "no table of diagnoses"}


def test_fewer_than_ten_positives_leave_the_auc_not_estimable(tmp_path: Path) -> None:
    made = make_run(tmp_path, patients=10)
    classify(made.layout, QUICK, seed=0)
    found = figures(made)["diagnosis"]
    assert found["distilled"]["auc"] is None
    assert "8 positive, 4 negative, expected at least 10" in found["distilled"]["reason"]
    assert found["delong_p"] is None
    assert found["distilled"]["brier"] is not None


def test_one_class_is_reported_in_words(made: Made) -> None:
    knees = read_table(made.layout.table("knees")).assign(oa=0)
    write_table(made.layout.table("knees"), knees)
    classify(made.layout, QUICK, seed=0)
    found = figures(made)["diagnosis"]
    assert "only one class" in found["baseline"]["reason"]
    assert found["delong_p"] is None


def test_a_collapsed_model_keeps_its_icc_and_loses_only_its_line(made: Made) -> None:
    table = read_table(made.layout.table("predictions"))
    table.loc[table["model"] == "baseline", "Tb.Sp"] = 0.65
    write_table(made.layout.table("predictions"), table, "predictions")
    one = figures(made)["regression"]["baseline"]["Tb.Sp"]
    assert one["icc"] == pytest.approx(0, abs=0.3)
    assert one["r"] is None
    assert "constant" in one["reason"]


def reversed_run(root: Path, patients: int) -> Made:
    """Return a run whose Tb.N is predicted the wrong way round."""
    made = make_run(root, patients=patients)
    measures, table = (read_table(made.layout.table(name)) for name in ("measures", "predictions"))
    mirrored = measures.set_index(["store", "row"])["Tb.N"]
    mirrored = (
        2 * mirrored.groupby(measures.set_index(["store", "row"])["participant"]).mean().mean() - mirrored
    )
    table["Tb.N"] = mirrored.loc[list(zip(table["store"], table["row"], strict=True))].to_numpy()
    write_table(made.layout.table("predictions"), table, "predictions")
    return made


@pytest.mark.parametrize("patients", [3, 4])
def test_few_patients_and_reversed_predictions_are_evaluated(tmp_path: Path, patients: int) -> None:
    one = figures(reversed_run(tmp_path, patients))["regression"]["baseline"]["Tb.N"]
    assert one["icc"] == pytest.approx(-patients / (patients - 2), abs=0.2)
    assert one["icc_ci"][0] <= one["icc"] <= one["icc_ci"][1]
    assert one["icc_region"] is None
    assert one["slope"] == pytest.approx(-1)
    assert one["bias_slope"] is None or abs(one["bias_slope"]) > 5


@pytest.mark.slow
def test_an_icc_below_minus_one_is_in_the_report(tmp_path: Path) -> None:
    made = reversed_run(tmp_path, 3)
    one = figures(made)["regression"]["baseline"]["Tb.N"]
    assert f"{one['icc']:.2f}" in build_report(made.layout)[0].read_text(encoding="utf-8")


def test_what_is_infinite_is_null_with_a_reason() -> None:
    values: dict[str, metrics.Json] = {
        "slope": 1.0,
        "z": float("inf"),
        "ci": [0.5, float("inf")],
        "p": float("nan"),
    }
    found = metrics.estimated([(tuple(values), lambda: values)])
    assert {key: found[key] for key in values} == {"slope": 1.0, "z": None, "ci": None, "p": None}
    assert all(name in str(found["reason"]) for name in ("z has", "ci has", "p has"))


def test_unmeasured_patches_are_left_out(made: Made) -> None:
    table = read_table(made.layout.table("measures"))
    table.loc[table["participant"] == "004", list(PARAMETERS)] = np.nan
    write_table(made.layout.table("measures"), table, "morphometry")
    assert figures(made)["regression"]["teacher"]["BV/TV"]["patients"] == 19


def test_delong_is_that_of_the_table_clustered_by_patient(template: Made, complete: Metrics) -> None:
    table = read_table(template.layout.table("diagnosis"))
    a, b = (table[table["model"] == name] for name in ("distilled", "baseline"))
    expected = delong_test(
        a["label"].astype(int), a["probability"], b["probability"], a["participant"].to_numpy(dtype=str)
    )
    assert complete["diagnosis"]["delong_p"] == pytest.approx(expected.p)


def test_same_run_same_bytes_wherever_it_lies(template: Made, complete: Metrics, made: Made) -> None:
    assert evaluate(made.layout, made.cohort).read_bytes() == template.layout.metrics.read_bytes()
