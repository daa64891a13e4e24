from __future__ import annotations

from dataclasses import replace

import pytest

from srrd_ray.core.json_tree import Json
from srrd_ray.core.records import Fault, Knee, Outcome
from srrd_ray.report.content import (
    cards,
    diagnosis_table,
    failure_table,
    interval,
    limits,
    number,
    outcome_table,
    regression_table,
)
from srrd_ray.report.page import Grid, Note

METRICS: dict[str, Json] = {
    "cohort": {"simulated": True, "knees": 18, "patients": 16},
    "registration": {
        "tre_mm": {
            "femur": {"median": 0.213, "p95": 0.6, "landmarks": 216, "refused": 0},
            "tibia": {"median": None, "p95": None, "reason": "no accepted transform with a truth"},
        }
    },
    "synthesis": {"mae_hu": 81.4, "psnr_db": 27.0, "ssim": 0.85, "knees": 18},
    "regression": {"distilled": {"BV/TV": {"icc": 0.7, "icc_ci": [0.5, 0.9], "patients": 16}}},
    "regression_comparison": {
        "mean_icc": {
            "distilled": {"icc": 0.7, "icc_ci": [0.5, 0.8]},
            "baseline": {"icc": 0.6, "icc_ci": [0.4, 0.7]},
        },
        "delta_icc": 0.1,
        "delta_icc_ci": [-0.05, 0.2],
    },
    "diagnosis": {
        "distilled": {
            "auc": None,
            "auc_ci": None,
            "positives": 9,
            "negatives": 9,
            "reason": "[too-few-positives] too few positives: got 9 positive, 9 negative, expected at least 10",
        },
        "delong_p": None,
    },
}
LOST = Outcome(
    knee=Knee(participant="7", side="L"), stage="register", status="failed", seconds=1.0,
    error=Fault(code="no-overlap", message="[no-overlap] the volumes do not overlap. Check the side."),
)  # fmt: skip
DONE = Outcome(knee=Knee(participant="8", side="L"), stage="register", status="done", seconds=1.0)
LOST_BONE = replace(LOST, knee=DONE.knee, bone="tibia")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.1234, "0.12 mm"),
        (-0.0012, "0.00 mm"),
        (3, "3.00 mm"),
        (None, "not estimable"),
        (True, "not estimable"),
    ],
)
def test_numbers_have_units_and_missing_ones_have_words(value: Json, words: str) -> None:
    assert number(value, 2, "mm") == words


def test_an_icc_below_minus_one_is_shown_as_it_is() -> None:
    assert number(-3.0) == "-3.00"
    assert interval([-3.0, -2.95]) == "95 % CI -3.00 to -2.95"


def test_an_interval_that_is_missing_leaves_nothing_behind() -> None:
    assert interval([0.1, 0.2]) == "95 % CI 0.10 to 0.20"
    assert interval(None) == ""


def test_headline_cards_say_value_interval_or_reason() -> None:
    found = {card.title: card for card in cards(METRICS, (LOST, DONE))}
    assert found["Knees"].note == "1 failed in some stage"
    assert found["Registration error, femur"].value == "0.21 mm"
    assert found["Registration error, tibia"].note == "no accepted transform with a truth"
    assert found["AUC of osteoarthritis, distilled"].value == "not estimable"
    assert "9 positive" in found["AUC of osteoarthritis, distilled"].note
    assert "[" not in found["AUC of osteoarthritis, distilled"].note


def test_a_gain_whose_interval_holds_zero_is_not_called_one() -> None:
    gain = next(card for card in cards(METRICS, ()) if card.title.startswith("Gain"))
    assert (gain.value, gain.tone) == ("+0.100", "plain")
    assert "no gain shown" in gain.note


def test_the_gain_over_the_reader_that_the_student_began_at_stands_beside() -> None:
    over: Json = {
        "delta_icc": 0.7,
        "delta_icc_ci": [0.5, 0.8],
        "delta_icc_school": -0.01,
        "delta_icc_school_ci": [-0.03, 0.01],
    }
    found = [
        card
        for card in cards({**METRICS, "regression_comparison": over}, ())
        if card.title.startswith("Gain")
    ]
    assert [(card.value, card.tone) for card in found] == [("+0.700", "good"), ("-0.010", "plain")]
    assert "CT reader alone" in found[1].title


@pytest.mark.parametrize(
    ("bounds", "said", "tone"),
    [
        ([0.01, 0.2], "above zero", "good"),
        ([-0.245, -0.003], "below zero: a loss", "warning"),
        (None, "no gain", "plain"),
    ],
)
def test_a_gain_is_called_what_its_interval_says(bounds: list[float] | None, said: str, tone: str) -> None:
    metrics = METRICS | {"regression_comparison": {"delta_icc": 0.1, "delta_icc_ci": bounds}}
    gain = next(card for card in cards(metrics, ()) if card.title.startswith("Gain"))
    assert said in gain.note
    assert gain.tone == tone


def test_cards_of_an_empty_run_do_not_fail() -> None:
    assert all(card.value in ("n/a", "not estimable") for card in cards({}, ()))


def test_failures_are_listed_with_code_and_remedy() -> None:
    found = failure_table((DONE, LOST))
    assert isinstance(found, Grid)
    assert found.rows == (
        ("sub-7_side-L", "register", "no-overlap", "the volumes do not overlap. Check the side."),
    )
    assert isinstance(failure_table((DONE,)), Note)


def test_outcomes_are_counted_by_stage() -> None:
    assert outcome_table((DONE, LOST)).rows == (("register", "1", "0", "1", "0"),)


def test_a_lost_bone_is_counted_as_a_bone_and_listed_with_its_knee() -> None:
    assert outcome_table((DONE, LOST_BONE)).rows == (("register", "1", "0", "0", "1"),)
    card = next(card for card in cards(METRICS, (DONE, LOST_BONE)) if card.title == "Knees")
    assert (card.note, card.tone) == ("none failed; bones lost: 1", "warning")
    found = failure_table((DONE, LOST_BONE))
    assert isinstance(found, Grid)
    assert found.rows[0][0] == "sub-8_side-L tibia"


def test_limits_name_simulation_size_and_every_reason_once() -> None:
    texts = " ".join(note.text for note in limits(METRICS))
    assert "simulated" in texts
    assert "With 16 patients" in texts
    assert texts.count("too few positives") == 1
    assert "tre_mm / tibia" in texts


def test_the_reason_of_a_choice_is_no_limit() -> None:
    chosen: Json = {"used": True, "reason": "the error is 139 HU (round one 226)"}
    texts = " ".join(note.text for note in limits({**METRICS, "synthesis": {"round_two": chosen}}))
    assert "139 HU" not in texts


def test_tables_show_what_there_is() -> None:
    assert regression_table(METRICS["regression"], "").rows[0][:4] == (
        "BV/TV",
        "CT, distilled from MR",
        "0.70",
        "0.50 to 0.90",
    )
    assert diagnosis_table(METRICS["diagnosis"]).rows[0][1] == "not estimable"


def test_every_figure_of_a_table_is_explained() -> None:
    for table in (regression_table(METRICS["regression"], ""), diagnosis_table(METRICS["diagnosis"])):
        known = (
            "Parameter",
            "Model",
            "95 % CI",
            "RMSE",
            "patients",
            "AUC",
            "Parameters from",
            "knees with / without",
        )
        for name in table.header:
            assert (
                name in known or name.startswith("95 % CI") or f"{name.lower()}:" in table.caption.lower()
            ), name
