"""An exported model is whole: `srrd infer` reads in it what it reads in the run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.sharing.export import ExportRequest, export_model
from srrd_ray.sharing.folder import facts_of
from srrd_ray.stages.infer import InferenceModel
from srrd_ray.stages.shared.expected import read_expected
from srrd_ray.stages.shared.precision import read_precision, write_precision
from srrd_ray.statistics.expected import Expected
from srrd_ray.storage.record_files import write_record
from tests.stages.shared.test_precision import record_of


def test_an_exported_model_tells_the_same_and_has_a_readme_and_checksums(
    student: Path, tmp_path: Path
) -> None:
    out = export_model(ExportRequest(model=student, out=tmp_path / "out"))
    assert facts_of(out) == facts_of(student)
    assert InferenceModel.at(out).simulated is True
    assert "0.50 [0.25, 0.75]" in (out / "README.md").read_text(encoding="utf-8")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, check=True)


def test_the_classifier_and_what_to_expect_go_with_the_model(student: Path, tmp_path: Path) -> None:
    (student.parent / "diagnosis").mkdir()
    (student.parent / "diagnosis" / "model.json").write_text("{}")
    expected = Expected(
        simulated=True, patients=9, knees=10, women=5, men=4, with_oa=None, ages=(50.0, 70.0), models={}
    )
    write_record(student.parent / "expected.json", expected, "expected")
    out = export_model(ExportRequest(model=student, out=tmp_path / "out"))
    assert (out / "diagnosis.json").read_text() == "{}"
    assert read_expected(out) == expected
    assert InferenceModel.at(out).sha256 == InferenceModel.at(student).sha256


def test_the_precision_goes_with_the_model_and_stands_on_its_card(student: Path, tmp_path: Path) -> None:
    assert any("was not measured" in limit for limit in facts_of(student).limits)
    record = record_of(student)
    write_precision(student, record)
    out = export_model(ExportRequest(model=student, out=tmp_path / "out"))
    assert read_precision(out) == record
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "BV/TV: RMS-CV (%), 3 simulated knees repositioned, tibia medial" in card
    assert "was not measured" not in card


def test_a_licence_is_that_which_is_given(student: Path, tmp_path: Path) -> None:
    out = export_model(ExportRequest(model=student, out=tmp_path / "out", licence="CC-BY-4.0"))
    assert "license: cc-by-4.0" in (out / "README.md").read_text(encoding="utf-8")


def test_nothing_is_written_over(student: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="output-exists"):
        export_model(ExportRequest(model=student, out=tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_segmenter_is_exported_as_it_is(segmenter: Path, tmp_path: Path) -> None:
    out = export_model(ExportRequest(model=segmenter, out=tmp_path / "out"))
    assert facts_of(out) == facts_of(segmenter)
