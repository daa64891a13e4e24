"""Spreadsheets as hospitals save them: separators, marks at the front, columns by patient or by knee."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.cohort.patient_table import PatientRow, read_patients
from srrd_ray.core.errors import CohortError, ConfigError


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "patients.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Patient-ID,Age,Sex\n007,61,F\n", "utf-8"),
        ("patient_id;age;sex\r\n007;61;F\r\n", "utf-8-sig"),
        ("\n\nid\tage\tsex\n\n007\t61\tF\n\t\t\n", "utf-8"),
        ('"ID";"Alter";"Geschlecht"\n"007";"61";"F"\n"007";"61";"F"\n', "utf-8"),
    ],
)
def test_separators_marks_and_repeated_rows_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    assert read_patients(table(tmp_path, text, encoding), {}) == {"007": PatientRow(age="61", sex="F")}


def test_grades_come_by_knee_or_by_patient(tmp_path: Path) -> None:
    by_knee = read_patients(table(tmp_path, "id,side,KL grade,OA\nA,left,2,1\nA,R,0,\n"), {})["A"]
    assert by_knee == PatientRow(kl={"L": "2", "R": "0"}, oa={"L": "1"}, sides=frozenset({"L", "R"}))
    wide = read_patients(table(tmp_path, "id;KL_L;KL_R\nA;2;3\n"), {})["A"]
    assert wide.kl == {"L": "2", "R": "3"}
    whole = read_patients(table(tmp_path, 'id,kl,age\nA,2,"63,5"\n'), {})["A"]
    assert (whole.kl, whole.age) == ({"": "2"}, "63.5")


def test_a_column_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "Pat.-Nr.;id;age\nA;1;60\n")
    assert set(read_patients(path, {"patient": "Pat.-Nr."})) == {"A"}
    with pytest.raises(ConfigError, match="column-unknown"):
        read_patients(path, {"weight": "kg"})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name,age\nA,60\n", "table-column"),
        ("id,patient,age\nA,A,60\n", "table-column"),
        ("id,age\n", "table-column"),
        ("id,side\nA,middle\n", "side-invalid"),
        ("id,age\nA,60\nA,61\n", "patient-contradiction"),
        ("id,side,kl\nA,L,1\nA,L,2\n", "patient-contradiction"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(CohortError, match=code):
        read_patients(table(tmp_path, text), {})


def test_the_row_is_that_of_the_editor(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="row 5"):
        read_patients(table(tmp_path, "id,side\n\nA,L\n\nB,middle\n"), {})


def test_a_workbook_and_other_bytes_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "patients.xlsx"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(CohortError, match=r"table-format.*Save the sheet as CSV"):
        read_patients(path, {})
    with pytest.raises(CohortError, match="table-unreadable"):
        read_patients(table(tmp_path, "id,age\nÄ,1\n", "latin-1"), {})
    with pytest.raises(CohortError, match="table-missing"):
        read_patients(tmp_path / "none.csv", {})
