"""Which series is proposed as whose knee, and why another is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srrd_ray.cohort.patient_table import PatientRow
from srrd_ray.cohort.proposal import match_patients, propose
from srrd_ray.core.errors import CohortError
from srrd_ray.imaging.dicom.studies import find_series
from tests.cohort.studies_of_patients import pair, scan


def test_a_pair_is_proposed_under_a_number(tmp_path: Path) -> None:
    pair(tmp_path, "MUSTER0815", "R")
    rows = propose(find_series(tmp_path).series, {}, None)
    assert [(row.role, row.participant, row.side, row.side_by) for row in rows] == [
        ("ct", "001", "R", "header"), ("mr", "001", "R", "header"),
    ]  # fmt: skip


def test_with_a_key_the_participant_is_a_pseudonym(tmp_path: Path) -> None:
    pair(tmp_path, "MUSTER0815")
    (first, _) = propose(find_series(tmp_path).series, {}, b"0123456789abcdef")
    assert len(first.participant) == 12
    assert "0815" not in first.participant


@pytest.mark.parametrize(
    ("tags", "images", "reason"),
    [
        ({"SeriesDescription": "LOCALIZER", "Laterality": "L"}, 16, "localizer"),
        ({"Laterality": "L"}, 5, "half copied"),
        ({"Modality": "SR"}, 16, "modality SR"),
        ({"Laterality": "L", "BodyPartExamined": "HIP"}, 16, "names no knee"),
        ({"PatientID": "", "Laterality": "L"}, 16, "no PatientID"),
        ({}, 16, "the side is not known"),
    ],
)
def test_what_is_no_scan_of_a_knee_is_skipped_with_its_reason(
    tmp_path: Path, tags: dict[str, Any], images: int, reason: str
) -> None:
    scan(tmp_path, "P1", 1, images=images, **tags)
    (row,) = propose(find_series(tmp_path).series, {}, None)
    assert row.role == "skip"
    assert reason in row.reason


def test_of_two_series_of_a_knee_the_thinner_original_is_taken(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1, Laterality="L", SliceThickness="3")
    scan(tmp_path / "b", "P1", 2, Laterality="L", SliceThickness="0.6")
    scan(tmp_path / "c", "P1", 3, Laterality="L", SliceThickness="0.3", ImageType=["DERIVED", "SECONDARY"])
    roles = [row.role for row in propose(find_series(tmp_path).series, {}, None)]
    assert roles == ["skip", "ct", "skip"]


def test_both_knees_in_one_scan_are_told(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1, SeriesDescription="both knees")
    (row,) = propose(find_series(tmp_path).series, {}, None)
    assert (row.role, row.side) == ("ct", "both")
    assert "both knees in one scan: it is cut between them" in row.reason


def test_a_scan_of_both_knees_gives_way_to_one_of_a_knee_that_is_thinner(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1, SeriesDescription="both knees", SliceThickness="2")
    scan(tmp_path / "b", "P1", 2, Laterality="L", SliceThickness="1")
    both, left = propose(find_series(tmp_path).series, {}, None)
    assert (both.side, left.side) == ("R", "L")
    assert "for R alone" in both.reason


def test_a_side_that_no_header_names_comes_from_the_table_or_another_scan(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1)
    table = {"P1": PatientRow(sides=frozenset({"R"}))}
    (row,) = propose(find_series(tmp_path).series, table, None)
    assert (row.side, row.side_by) == ("R", "table")
    scan(tmp_path / "b", "P1", 2, "MR", Laterality="L")
    first, _ = propose(find_series(tmp_path).series, {}, None)
    assert (first.side, first.side_by, first.reason) == ("L", "other scan", "look at the side")


def test_two_people_under_one_id_are_not_laid_out_as_one(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1, Laterality="L", PatientName="DOE^JANE")
    scan(tmp_path / "b", "P1", 2, Laterality="R", PatientName="ROE^RICHARD")
    rows = propose(find_series(tmp_path).series, {}, None)
    assert {row.role for row in rows} == {"skip"}
    assert all("two people?" in row.reason for row in rows)
    assert not any("DOE" in str(row) for row in rows)


def test_ids_match_but_for_zeros_that_a_spreadsheet_dropped() -> None:
    table = {"7": PatientRow(), "A1": PatientRow()}
    assert match_patients(["0007", "a1", "B"], table) == {"0007": "7", "a1": "A1"}


def test_an_id_that_two_rows_could_be_is_none_of_them() -> None:
    table = {"07": PatientRow(), "7": PatientRow(), "1": PatientRow()}
    assert match_patients(["007", "1"], table) == {"1": "1"}
    assert match_patients(["7"], table) == {"7": "7"}


def test_a_table_of_other_patients_stops_in_words() -> None:
    with pytest.raises(CohortError, match=r"table-no-match.*1 patients in DICOM, 2 in the table.*--column"):
        match_patients(["X"], {"A": PatientRow(), "B": PatientRow()})
