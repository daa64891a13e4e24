"""A folder of a model says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.model_card import words
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.sharing.folder import facts_of, kind_of
from srrd_ray.stages.shared.school_files import SHIPPED


def test_the_facts_of_a_student_come_from_its_card_and_the_figures_of_its_run(student: Path) -> None:
    facts = facts_of(student)
    assert facts.simulated is True
    assert facts.licence == "Apache-2.0"
    assert set(facts.files) == {"fold-0.safetensors", "fold-1.safetensors"}
    told = words(facts)
    assert "BV/TV: ICC(A,1) with MR  0.50 [0.25, 0.75]" in told
    assert "not estimable: too few" in told
    assert "osteoarthritis: AUC      0.80 [0.60, 0.90]" in told
    assert "learnt from 6 patients, fewer than 20" in facts.limits[0]


def test_without_figures_nothing_is_claimed(student: Path) -> None:
    (student.parent.parent / "metrics.json").unlink()
    facts = facts_of(student)
    assert facts.simulated is None
    assert facts.licence == ""
    assert facts.figures == ()


def test_a_segmenter_tells_its_use_and_licence(segmenter: Path) -> None:
    facts = facts_of(segmenter)
    assert kind_of(segmenter) == "segmenter"
    assert facts.simulated is True
    assert facts.licence == "Apache-2.0"
    assert "knees: 2 of cohort-v2" in facts.data
    assert facts.name in (segmenter / "README.md").read_text(encoding="utf-8")


def test_a_part_of_a_run_that_is_not_shared_alone_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"schema": "srrd-synthesis/1"}))
    with pytest.raises(ConfigError, match=r"model-kind.*got srrd-synthesis/1.*RUN/models/distilled"):
        kind_of(tmp_path)


def test_a_folder_without_a_model_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model-missing"):
        kind_of(tmp_path)


def test_the_reader_that_ships_tells_what_it_learnt_from() -> None:
    facts = facts_of(SHIPPED / "ct")
    assert facts.simulated
    assert "Simulated knees of a school alone" in facts.data[0]


def test_the_reader_that_ships_tells_how_its_values_repeat() -> None:
    names = [figure.name for figure in facts_of(SHIPPED / "ct").figures]
    for symbol in PARAMETERS:
        assert any(
            name.startswith(f"{symbol}: RMS-CV (%)") and "simulated knees repositioned, tibia" in name
            for name in names
        )
        assert any(name.startswith(f"{symbol}: coverage of the 90 % interval") for name in names)
