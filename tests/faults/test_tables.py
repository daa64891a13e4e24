"""Faults 28, 40 to 42 and 68 to 70 of tables and layout, each made for real."""

from collections.abc import Callable
from pathlib import Path

import pytest

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import read_cohort, survey
from srrd_ray.core.errors import CohortError, exit_code
from tests.imaging import makers


def edited(root: Path, table: str, change: Callable[[str], str]) -> Path:
    path = makers.cohort(root) / table
    path.write_text(change(path.read_text()))
    return root


def stops(root: Path, code: str) -> str:
    with pytest.raises(CohortError) as caught:
        read_cohort(root)
    assert caught.value.code == code
    assert any(finding.code == code and finding.severity == "STOP" for finding in check(root).findings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "column"), [("participants.tsv", "participant_id"), ("participants.tsv", "age"), ("knees.tsv", "kl_grade"), ("knees.tsv", "side")]
)  # fmt: skip
def test_40_a_missing_column_stops_naming_it(tmp_path: Path, table: str, column: str) -> None:
    text = stops(edited(tmp_path, table, lambda t: t.replace(column, "other")), "table-column")
    assert repr(column) in text
    assert f"{table}, row 1" in text


@pytest.mark.parametrize("table", ["participants.tsv", "knees.tsv"])
def test_40_a_missing_table_stops(tmp_path: Path, table: str) -> None:
    (makers.cohort(tmp_path) / table).unlink()
    assert table in stops(tmp_path, "table-missing")


def test_40_a_duplicate_id_stops_with_both_rows(tmp_path: Path) -> None:
    text = stops(edited(tmp_path, "participants.tsv", lambda t: t + "A1\t44\tM\n"), "id-duplicate")
    assert "row 4" in text
    assert "also in row 2" in text


def test_40_a_duplicate_knee_stops_with_both_rows(tmp_path: Path) -> None:
    text = stops(edited(tmp_path, "knees.tsv", lambda t: t + "B2\tL\t1\t0\n"), "knee-duplicate")
    assert "row 4: got sub-B2_side-L, also in row 3" in text


def test_40_an_id_that_is_not_on_disk_stops_with_its_row(tmp_path: Path) -> None:
    text = stops(edited(tmp_path, "participants.tsv", lambda t: t + "C3\t44\tM\n"), "id-not-on-disk")
    assert "participants.tsv, row 4: got C3, expected sub-C3/" in text


def test_40_a_knee_of_nobody_stops_with_its_row(tmp_path: Path) -> None:
    assert "knees.tsv, row 4" in stops(
        edited(tmp_path, "knees.tsv", lambda t: t + "C3\tL\t1\t0\n"), "id-unknown"
    )


@pytest.mark.parametrize("name", ["../../etc", "A/1", "A 1", "A\u20281", "A.1", ".."])
def test_40_68_an_id_with_path_characters_stops_and_is_not_repeated(tmp_path: Path, name: str) -> None:
    text = stops(edited(tmp_path, "participants.tsv", lambda t: t + f"{name}\t44\tM\n"), "id-invalid")
    assert "row 4" in text
    assert name not in text or len(name) < 3


@pytest.mark.parametrize("grade", ["5", "-1", "2.5", "two", "2a"])
def test_41_a_grade_outside_0_to_4_stops_with_its_row(tmp_path: Path, grade: str) -> None:
    text = stops(
        edited(tmp_path, "knees.tsv", lambda t: t.replace("A1\tL\t0", f"A1\tL\t{grade}")), "kl-invalid"
    )
    assert f"knees.tsv, row 2: got '{grade}', expected 0 to 4, or n/a" in text


@pytest.mark.parametrize("blank", ["", "n/a", " "])
def test_41_a_blank_grade_is_excluded_and_counted(tmp_path: Path, blank: str) -> None:
    edited(tmp_path, "knees.tsv", lambda t: t.replace("A1\tL\t0", f"A1\tL\t{blank}"))
    assert read_cohort(tmp_path).knees[0].kl_grade is None
    assert any(f.code == "kl-blank" and "1 of 2" in f.message for f in check(tmp_path).findings)


def test_42_one_image_under_two_participants_stops_naming_both(tmp_path: Path) -> None:
    makers.cohort(tmp_path)
    stem = "sub-{0}/ct/sub-{0}_side-L_ct.nii.gz"
    (tmp_path / stem.format("B2")).write_bytes((tmp_path / stem.format("A1")).read_bytes())
    finding = next(f for f in check(tmp_path).findings if f.code == "leakage-same-image")
    assert finding.severity == "STOP"
    assert "sub-A1_side-L, sub-B2_side-L" in finding.message


def test_28_ages_over_89_are_given_as_90(tmp_path: Path) -> None:
    edited(tmp_path, "participants.tsv", lambda t: t.replace("A1\t50", "A1\t97").replace("B2\t51", "B2\t89"))
    assert [knee.age for knee in read_cohort(tmp_path).knees] == [90.0, 89.0]


def test_all_faults_of_the_tables_are_listed_in_one_pass(tmp_path: Path) -> None:
    edited(tmp_path, "knees.tsv", lambda t: t + "A1\tX\t1\t0\nC3\tL\t1\t0\nA1\tR\t9\t5\n")
    _, faults = survey(tmp_path)
    assert [fault.code for fault in faults] == ["side-invalid", "id-unknown", "kl-invalid", "oa-invalid"]
    with pytest.raises(CohortError, match="3 more"):
        read_cohort(tmp_path)


def test_69_a_link_out_of_the_cohort_is_not_followed(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    secret = makers.nifti(tmp_path / "elsewhere" / "secret.nii.gz", makers.bone())
    image = root / "sub-A1" / "ct" / "sub-A1_side-L_ct.nii.gz"
    image.unlink()
    image.symlink_to(secret)
    assert "leads out of the cohort" in stops(root, "path-outside")


def test_69_a_link_inside_the_cohort_is_followed(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort")
    image = root / "sub-A1" / "ct" / "sub-A1_side-L_ct.nii.gz"
    kept = image.rename(root / "sourcedata.nii.gz")
    image.symlink_to(kept)
    assert not check(root).faulty


def test_one_image_in_two_formats_stops_naming_both(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path)
    makers.nifti(root / "sub-A1" / "ct" / "sub-A1_side-L_ct.nii", makers.bone())
    assert "sub-A1_side-L_ct.nii.gz, sub-A1_side-L_ct.nii" in stops(root, "image-ambiguous")


def test_zeros_that_a_spreadsheet_dropped_are_named(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path, people=("001",))
    for table in (root / "participants.tsv", root / "knees.tsv"):
        table.write_text(table.read_text().replace("001", "1"))
    with pytest.raises(CohortError, match=r"\[id-not-on-disk\].*Is sub-001 meant\?"):
        read_cohort(root)


def test_a_missing_cohort_stops(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="cohort-missing"):
        read_cohort(tmp_path / "none")
    with pytest.raises(CohortError, match="cohort-missing") as refused:
        check(tmp_path / "none")
    assert exit_code(refused.value) == 2
