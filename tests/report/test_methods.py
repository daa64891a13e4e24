from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from srrd_ray.core import serial
from srrd_ray.core.json_tree import Json
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.report.claim import AUTHOR, ITEMS, SECTIONS, claim_answers, claim_table
from srrd_ray.report.methods import methods_blocks, methods_text
from srrd_ray.report.page import Note
from srrd_ray.report.references import KEYS, bibtex
from tests.report.test_content import METRICS

CONFIG = RunConfig(seed=77)


def manifest_of(config: RunConfig) -> dict[str, Json]:
    return {
        "software": "0.2.0", "python": "3.11.7", "knees": 18, "cohort": "ab" * 32,
        "libraries": {"ray": "2.60.0", "torch": "2.13.0"}, "config": json.loads(serial.to_json(config)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return " ".join(methods_text(manifest_of(CONFIG), METRICS))


def test_every_setting_that_the_methods_name_is_there(text: str) -> None:
    assert "(not recorded)" not in text, "a key of the configuration has another name now"
    assert "None" not in text


def test_the_methods_follow_the_configuration(text: str) -> None:
    other = replace(CONFIG, seed=5, registration=replace(CONFIG.registration, minimum_dice=0.91))
    changed = " ".join(methods_text(manifest_of(other), METRICS))
    assert "The seed was 77." in text
    assert "The seed was 5." in changed
    assert "a Dice of 0.91" in changed
    assert "a Dice of 0.91" not in text


def test_a_student_of_the_readers_is_of_their_size(text: str) -> None:
    measured = replace(CONFIG, distillation=replace(CONFIG.distillation, labels="measured"))
    assert "network (of the size of the readers that it learnt from)" in text
    assert "network (width 8, 2 blocks)" in " ".join(methods_text(manifest_of(measured), METRICS))


def test_who_found_the_bones_and_what_the_synthesis_saw_is_said(text: str) -> None:
    assert "found by a segmentation network where the image shows the joint as a whole" in text
    assert "It learnt nothing of these images" in text
    gan = replace(CONFIG, synthesis=replace(CONFIG.synthesis, epochs=1))
    saw = "also of patients that later were test patients; a share of 0.2"
    assert saw in " ".join(methods_text(manifest_of(gan), METRICS))
    assert "nothing was fitted on test patients" not in text


@pytest.mark.parametrize(
    ("settings", "said", "not_said"),
    [
        (
            {"start": "random", "epochs": 5},
            "A cycle-consistent adversarial network",
            "simulated knees alone turned",
        ),
        (
            {"start": "school", "epochs": 5},
            "It began at weights that had learnt from simulated knees",
            "simulated knees alone turned",
        ),
        (
            {"start": "school", "epochs": 0},
            "simulated knees alone turned MR into synthetic CT",
            "cycle-consistent",
        ),
    ],
)
def test_where_the_synthesis_began_is_said(settings: dict[str, Any], said: str, not_said: str) -> None:
    taught = replace(CONFIG, synthesis=replace(CONFIG.synthesis, **settings))
    paragraph = methods_text(manifest_of(taught), METRICS)[1]
    assert said in paragraph
    assert not_said not in paragraph
    assert "second round" not in paragraph
    used = {**METRICS, "synthesis": {"round_two": {"used": True}}}
    assert "second round" in methods_text(manifest_of(taught), used)[1]


def test_versions_are_named(text: str) -> None:
    for words in ("SRRD-Ray 0.2.0", "Python 3.11.7", "ray 2.60.0", "torch 2.13.0", "ab" * 32):
        assert words in text


def test_simulated_knees_are_never_called_patients(text: str) -> None:
    assert "simulated knees (no patient) of 16 simulated people, each with a simulated CT and MR" in text
    real = " ".join(methods_text(manifest_of(CONFIG), {"cohort": {"simulated": False, "patients": 16}}))
    assert real.count("readers, trained on simulated knees alone") == 1
    assert real.count("had learnt from simulated knees alone") == 1
    assert real.count("simulated") == 2, "what it learnt from alone"


def test_every_key_that_is_cited_is_in_the_bibliography(text: str) -> None:
    entries = re.findall(r"^@\w+\{(\w+),$", bibtex("0.2.0"), flags=re.M)
    assert len(entries) == len(set(entries))
    assert set(KEYS.values()) == set(entries)
    assert set(re.findall(r"\[(\w+)\]", text)) <= set(entries)


def test_braces_of_the_bibliography_are_balanced() -> None:
    depth = 0
    for sign in bibtex("0.2.0"):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert "version = {0.2.0}" in bibtex("0.2.0")


def test_a_run_without_manifest_has_a_note() -> None:
    assert isinstance(methods_blocks(None, None)[0], Note)


def test_claim_has_all_44_items_and_leaves_to_the_author_what_a_run_cannot_know() -> None:
    rows = claim_table(manifest_of(CONFIG), METRICS).rows
    assert len(rows) == len(ITEMS) == 44
    assert [row[0] for row in rows] == [str(n) for n in range(1, 45)]
    answers = {int(row[0]): row[3] for row in rows}
    for of_author in (1, 2, 4, 8, 18, 33, 34, 41, 44):
        assert answers[of_author] == AUTHOR
    assert "Patient" in answers[20]
    assert "ray 2.60.0" in answers[23]
    assert answers[37].endswith("0.80")
    assert {row[1] for row in rows} == {name for _, name in SECTIONS}


def test_claim_of_an_empty_run_is_all_the_authors() -> None:
    assert claim_answers(None, None) == {}
    assert {row[3] for row in claim_table(None, None).rows} == {AUTHOR}


def test_claim_tells_a_simulated_cohort() -> None:
    assert "SIMULATED" in claim_answers(manifest_of(CONFIG), METRICS)[7]
    assert 7 not in claim_answers(manifest_of(CONFIG), {"cohort": {"simulated": False}})
