"""From a folder of studies and a spreadsheet to a cohort that `srrd check` finds right; the source stays as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.cohort.new_cohort import NewCohort, lay_out, proposal_of
from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.errors import CohortError, ConfigError, StoreError
from tests.cohort.studies_of_patients import pair, scan

SHM = Path("/dev/shm")


@pytest.fixture
def request_(tmp_path: Path) -> NewCohort:
    studies = tmp_path / "studies"
    pair(studies, "007", "L")
    pair(studies, "MUSTER", "R")
    table = tmp_path / "patients.csv"
    table.write_text("id;age;sex;kl;oa\n7;61;F;2;1\nMUSTER;58,5;M;0;0\nELSE;40;F;1;0\n")
    return NewCohort(out=tmp_path / "cohort", dicom=studies, table=table)


def carried_out(request: NewCohort, edit: Callable[[str], str] = str) -> str:
    path, _ = proposal_of(request)
    path.write_text(edit(path.read_text()))
    return lay_out(replace(request, mapping=path))


def test_two_calls_make_a_cohort_and_end_as_its_check_does(
    request_: NewCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "new-cohort",
        str(request_.out),
        "--dicom",
        str(request_.dicom),
        "--table",
        str(request_.table),
    ]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "4 series of 2 patients: 2 knees, 2 of them with CT and MR" in told
    assert (
        "0 patients without a row, 1 rows without scans, 1 matched only without zeros at the front or case"
        in told
    )
    mapping = str(request_.out.parent / f"{request_.out.name}-mapping.tsv")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--mapping", mapping])
    told = capsys.readouterr().out
    assert "participants laid out in cohort: 2" in told
    assert "2 knees, 0 of them with a fault" in told
    assert ended.value.code == 0
    first, second = read_cohort(request_.out).knees
    assert (first.knee.key, first.kl_grade, first.oa, first.age) == ("sub-001_side-L", 2, 1, 61)
    assert (second.knee.key, second.kl_grade, second.oa, second.age) == ("sub-002_side-R", 0, 0, 58.5)


def test_no_id_or_name_of_a_patient_is_in_a_path_or_a_table(request_: NewCohort) -> None:
    carried_out(request_)
    paths = [path.relative_to(request_.out) for path in request_.out.rglob("*")]
    assert not [path for path in paths if "MUSTER" in str(path) or "007" in str(path).replace("00007", "")]
    assert "MUSTER" not in (request_.out / "participants.tsv").read_text()
    assert not list(request_.out.rglob("*-mapping.tsv"))


@pytest.mark.parametrize("copy", [False, True])
def test_files_are_linked_or_copied_and_the_source_is_untouched(request_: NewCohort, copy: bool) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(request_.dicom.rglob("*"))}
    carried_out(replace(request_, copy=copy))
    assert {path: path.stat().st_mtime_ns for path in sorted(request_.dicom.rglob("*"))} == before
    one = next(request_.out.rglob("00001.dcm"))
    assert one.stat().st_nlink == (1 if copy else 2)
    assert not one.is_symlink()


def test_a_row_that_was_edited_is_carried_out(request_: NewCohort) -> None:
    carried_out(request_, lambda text: text.replace("002\tR", "extra\tL"))
    assert [item.knee.key for item in read_cohort(request_.out).knees] == [
        "sub-001_side-L",
        "sub-extra_side-L",
    ]


def test_both_knees_in_one_scan_become_two_knees(tmp_path: Path) -> None:
    scan(tmp_path / "studies", "P1", 1, SeriesDescription="both knees")
    carried_out(NewCohort(out=tmp_path / "cohort", dicom=tmp_path / "studies"))
    assert [item.knee.side for item in read_cohort(tmp_path / "cohort").knees] == ["L", "R"]


def test_a_grade_without_a_side_is_not_given_to_both_knees(tmp_path: Path) -> None:
    scan(tmp_path / "studies", "P1", 1, SeriesDescription="both knees")
    (tmp_path / "t.csv").write_text("id,kl\nP1,3\n")
    told = carried_out(
        NewCohort(out=tmp_path / "cohort", dicom=tmp_path / "studies", table=tmp_path / "t.csv")
    )
    assert "a grade without a side and two knees, left blank: participants 1" in told
    assert {item.kl_grade for item in read_cohort(tmp_path / "cohort").knees} == {None}


def test_a_series_that_changed_since_it_was_proposed_stops(request_: NewCohort) -> None:
    path, _ = proposal_of(request_)
    next(request_.dicom.rglob("*.dcm")).unlink()
    with pytest.raises(CohortError, match=r"mapping-invalid.*15 images, expected 16 images"):
        lay_out(replace(request_, mapping=path))
    assert not request_.out.exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mr\t001\tL", "ct\t001\tL", "other modality"),
        ("002\tR", "001\tL", "two series for one knee"),
        ("mr\t001", "mr\t009", "one patient as two participants"),
    ],
)
def test_an_edit_that_would_mix_knees_or_people_is_refused(
    request_: NewCohort, old: str, new: str, words: str
) -> None:
    with pytest.raises(CohortError, match=f"mapping-invalid.*{words}"):
        carried_out(request_, lambda text: text.replace(old, new))
    assert not request_.out.exists()


def test_two_people_under_one_id_become_two_participants_where_the_mapping_says_so(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    scan(studies / "a", "P1", 1, Laterality="L", PatientName="DOE^JANE")
    scan(studies / "b", "P1", 2, Laterality="R", PatientName="ROE^RICHARD")
    carried_out(
        NewCohort(out=tmp_path / "cohort", dicom=studies),
        lambda text: text.replace("skip\t001\tL", "ct\tjane\tL").replace("skip\t001\tR", "ct\trichard\tR"),
    )
    assert [item.knee.participant for item in read_cohort(tmp_path / "cohort").knees] == ["jane", "richard"]


def test_a_mapping_that_may_be_edited_is_not_written_over(request_: NewCohort) -> None:
    proposal_of(request_)
    with pytest.raises(ConfigError, match=r"mapping-exists.*--mapping"):
        proposal_of(request_)


def test_a_folder_that_holds_something_is_not_written_into(request_: NewCohort) -> None:
    request_.out.mkdir()
    (request_.out / "mine").write_text("")
    with pytest.raises(ConfigError, match="output-exists"):
        carried_out(request_)


def test_the_cohort_does_not_lie_in_its_source(request_: NewCohort) -> None:
    with pytest.raises(ConfigError, match="output-in-input"):
        proposal_of(replace(request_, out=request_.dicom / "cohort"))


def test_a_folder_without_series_or_without_anything_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dicom-none"):
        proposal_of(NewCohort(out=tmp_path / "cohort", dicom=tmp_path / "none"))
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "notes.txt").write_text("x")
    with pytest.raises(CohortError, match=r"dicom-none.*1 other files"):
        proposal_of(NewCohort(out=tmp_path / "cohort", dicom=tmp_path / "studies"))


@pytest.mark.skipif(
    not SHM.is_dir() or SHM.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="no second file system",
)
def test_where_no_link_is_possible_copies_are_offered(request_: NewCohort) -> None:
    with tempfile.TemporaryDirectory(dir=SHM) as elsewhere:
        far = replace(request_, out=Path(elsewhere) / "cohort")
        with pytest.raises(StoreError, match=r"link-impossible.*--copy"):
            carried_out(far)
        assert not far.out.exists()
