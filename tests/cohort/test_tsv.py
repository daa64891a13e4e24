"""Tables as spreadsheets and editors leave them: read right, or said with the line that an editor shows."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srrd_ray.cohort.tables import survey
from srrd_ray.cohort.tsv import read_rows
from srrd_ray.core.errors import CohortError
from tests.imaging import makers

COLUMNS = ("participant_id", "age")


def read(path: Path, data: bytes | str) -> tuple[list[tuple[int, Mapping[str, str]]], list[CohortError]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    faults: list[CohortError] = []
    return read_rows(path, COLUMNS, faults), faults


def table(data: bytes | str, folder: Path) -> list[tuple[int, str, str]]:
    rows, faults = read(folder / "t.tsv", data)
    assert faults == []
    return [(number, row["participant_id"], row["age"]) for number, row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", ["", "\t", "\t\t\t", "  ", " \t ", '""\t""', "\t\t\t\t\t\t\t\t"])
def test_rows_without_text_are_none_and_the_others_keep_the_lines_of_an_editor(
    tmp_path: Path, blank: str, end: str
) -> None:
    lines = [blank, "participant_id\tage", blank, blank, "A1\t50", blank, "B2\t51", blank, ""]
    assert table(end.join(lines), tmp_path) == [(5, "A1", "50"), (7, "B2", "51")]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("participant_id\tage\nA1\t50", ("A1", "50")),
        (b"\xef\xbb\xbfparticipant_id\tage\nA1\t50\n", ("A1", "50")),
        (" participant_id \t age\n A1 \t 50 \n", ("A1", "50")),
        ('"participant_id"\t"age"\n"A1"\t"50"\n', ("A1", "50")),
        ("age\tsex\tparticipant_id\n50\tF\tA1\n", ("A1", "50")),
        ("participant_id\tage\nA1\n", ("A1", "")),
        ("participant_id\tage\nA1\t50\t\t\n", ("A1", "50")),
        ("participant_id\tage\t\t\nA1\t50\tx\ty\n", ("A1", "50")),
        ("participant_id\tage\tnote\tnote\nA1\t50\tx\ty\n", ("A1", "50")),
        ("participant_id\tage\tnote\nA1\t50\tO'Neil \"x\" y\n", ("A1", "50")),
        ("participant_id\tage\tnote\nA1\t50\t\u2028 \x0b \x0c\n", ("A1", "50")),
    ],
)  # fmt: skip
def test_a_table_is_read_however_it_was_saved(
    tmp_path: Path, data: bytes | str, found: tuple[str, str]
) -> None:
    assert table(data, tmp_path) == [(2, *found)]


@pytest.mark.parametrize(
    ("data", "code", "where", "text"),
    [
        ("\n\nparticipant_id\tage\tage\nA1\t1\t2\n", "table-column", "row 3", "2 columns 'age'"),
        ("\nparticipant_id\tAge\nA1\t1\n", "table-column", "row 2", "no column 'age'"),
        ("participant_id age\nA1 1\n", "table-column", "row 1", "no column 'participant_id'"),
        ("participant_id\tage\n\n\nA1\t1\t2\n", "table-row", "row 4", "more cells than columns"),
        ('participant_id\tage\n\n"A1\t1\nB2\t2\n', "table-unreadable", "row 3", "quotation mark"),
        ('participant_id\tage\nA1\t"1"2\n', "table-unreadable", "row 2", "quotation mark"),
        (b"participant_id\tage\r\n\r\nJ\xfcrgen\t1\r\n", "table-unreadable", "row 3", "not UTF-8"),
        (codecs.BOM_UTF16_LE + "participant_id\tage\n".encode("utf-16-le"), "table-unreadable", "t.tsv", "UTF-16"),
        ("", "table-column", "t.tsv", "no row"),
        ("\n\t\t\n", "table-column", "t.tsv", "no row"),
    ],
)  # fmt: skip
def test_a_fault_of_a_table_is_said_with_its_row(
    tmp_path: Path, data: bytes | str, code: str, where: str, text: str
) -> None:
    rows, (fault, *more) = read(tmp_path / "t.tsv", data)
    assert (rows, more) == ([], [])
    assert fault.code == code
    assert fault.where.endswith(where)
    assert text in str(fault)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.just("\t \t"), st.just(""), st.integers(0, 99)), max_size=12))
def test_each_row_has_the_number_of_its_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str | int]
) -> None:
    written = ["participant_id\tage", *(f"A{n}\t{n}" if isinstance(n, int) else n for n in lines)]
    expected = [(k, f"A{n}", str(n)) for k, n in enumerate(lines, start=2) if isinstance(n, int)]
    assert table("\n".join(written), tmp_path_factory.getbasetemp()) == expected


def test_faults_of_a_cohort_name_the_line_of_the_file(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path)
    text = (
        (root / "knees.tsv").read_text().replace("\nB2\t", "\n\t\t\t\n\nB2\t").replace("B2\tL\t1", "B2\tL\t9")
    )
    (root / "knees.tsv").write_text(text)
    assert [(fault.code, fault.where) for fault in survey(root)[1]] == [("kl-invalid", "knees.tsv, row 5")]


@pytest.mark.parametrize("cell", ["1_0", "0x1", "1e1", "inf", "+1", "\u0661", "1,0", "True"])
@pytest.mark.parametrize(("column", "code"), [("kl_grade", "kl-invalid"), ("oa", "oa-invalid")])
def test_a_grade_is_digits(tmp_path: Path, cell: str, column: str, code: str) -> None:
    root = makers.cohort(tmp_path)
    row = {"kl_grade": f"A1\tL\t{cell}\t0", "oa": f"A1\tL\t0\t{cell}"}[column]
    (root / "knees.tsv").write_text(f"participant_id\tside\tkl_grade\toa\n{row}\n")
    assert [fault.code for fault in survey(root)[1]] == [code]
