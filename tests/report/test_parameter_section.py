from __future__ import annotations

from srrd_ray.core.json_tree import Json
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.report.parameter_section import paper_table, worth_of_labels
from tests.report.test_content import METRICS


def test_the_figures_of_the_paper_stand_beside_those_of_the_run() -> None:
    rows = {row[0]: row[1:] for row in paper_table(METRICS).rows}
    assert rows["ICC with MR, BV/TV"] == ("0.804", "0.700", "0.500 to 0.900")
    assert [rows[f"ICC with MR, {name}"][0] for name in ("Tb.Th", "Tb.Sp", "Tb.N")] == [
        "0.773",
        "0.711",
        "0.622",
    ]
    assert rows["AUC of osteoarthritis, distilled"][0].startswith("0.767")
    assert rows["AUC of osteoarthritis, baseline"][0].startswith("0.658")
    assert rows["AUC of osteoarthritis, distilled"][1] == "not estimable"


def test_agreement_with_the_teachers_reading_stands_beside_the_papers() -> None:
    metrics: dict[str, Json] = {
        "regression_teacher": {"distilled": {"Tb.N": {"icc": 0.71, "icc_ci": [0.6, 0.8]}}}
    }
    rows = {row[0]: row[1:] for row in paper_table(metrics).rows}
    assert rows["ICC with the teacher's reading of MR, Tb.N"] == ("0.622", "0.710", "0.600 to 0.800")


def test_a_run_without_figures_has_the_papers_alone() -> None:
    assert {row[2] for row in paper_table(None).rows} == {"not estimable"}


def test_what_the_labels_are_worth_is_said_beside_the_truth() -> None:
    icc: dict[str, Json] = {name: {"icc": 0.2} for name in PARAMETERS}
    (note,) = worth_of_labels({"mr": icc, "distilled": icc | {"BV/TV": {"icc": 0.6}}})
    assert "0.20 for the MR measurement itself" in note.text
    assert "0.30 for the distilled" in note.text
    assert worth_of_labels({"distilled": icc}) == []
