from __future__ import annotations

from srrd_ray.core.headline import judged_by
from srrd_ray.core.json_tree import Json
from srrd_ray.report.content import cards

LOSS: Json = {"delta_icc": -0.2, "delta_icc_ci": [-0.3, -0.1], "mean_icc": {"distilled": {"icc": 0.1}}}
GAIN: Json = {"delta_icc": 0.6, "delta_icc_ci": [0.5, 0.7], "mean_icc": {"distilled": {"icc": 0.7}}}


def test_the_truth_judges_where_it_is_known() -> None:
    metrics: Json = {"regression_comparison": LOSS, "regression_truth_comparison": GAIN}
    assert judged_by(metrics) == "regression_truth"
    found = {card.title: card for card in cards(metrics, ())}
    assert found["Mean ICC(A,1), CT against the truth"].value == "0.70"
    assert found["Gain over the baseline, mean ICC"].value == "+0.600"


def test_a_student_of_the_school_is_judged_by_what_it_was_to_learn() -> None:
    unknown: Json = {"delta_icc": None, "reason": "no truth"}
    metrics: Json = {
        "regression_comparison": LOSS,
        "regression_truth_comparison": unknown,
        "regression_teacher": {"school": {}, "distilled": {}},
        "regression_teacher_comparison": GAIN,
    }
    assert judged_by(metrics) == "regression_teacher"
    assert any(card.title.endswith("the teacher's reading of MR") for card in cards(metrics, ()))


def test_a_student_of_measured_labels_is_judged_by_mr() -> None:
    assert judged_by({"regression_comparison": GAIN, "regression_teacher": {"distilled": {}}}) == "regression"
    assert judged_by(None) == "regression"
