import json
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.cohort.check import CheckReport, check
from srrd_ray.core.serial import from_json, to_json
from srrd_ray.storage.file_hash import hash_file
from tests.imaging import makers

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_a_sound_cohort_has_no_fault_and_is_left_untouched(tmp_path: Path) -> None:
    root = makers.cohort(tmp_path / "cohort", sides=("L", "R"))
    before = hash_file(root)
    report = check(root)
    assert not report.faulty
    assert report.findings == ()
    assert report.knees == 4
    assert hash_file(root) == before


def broken(root: Path) -> Path:
    """Four knees: one sound, one with a torn CT, one with an MR of NaN, one without MR and with a senseless mask."""
    makers.cohort(root, people=("A1", "B2", "C3", "D4"))
    torn = root / "sub-B2/ct/sub-B2_side-L_ct.nii.gz"
    torn.write_bytes(torn.read_bytes()[:-200])
    nan = makers.bone().astype(np.float32)
    nan[7, 9, 4] = np.nan
    makers.nifti(root / "sub-C3/mr/sub-C3_side-L_mr.nii.gz", nan)
    (root / "sub-D4/mr/sub-D4_side-L_mr.nii.gz").unlink()
    mask = root / "derivatives/masks/sub-D4/sub-D4_side-L_desc-femur_space-ct_mask.nii.gz"
    makers.nifti(mask, np.zeros((20, 24, 16), np.uint8))
    return root


def test_every_fault_is_listed_in_one_pass_by_participant_and_side(tmp_path: Path) -> None:
    found = [
        (f.severity, f.participant, f.side, f.modality, f.code) for f in check(broken(tmp_path)).findings
    ]
    assert found == [
        ("REFUSE", "B2", "L", "ct", "image-truncated"),
        ("REFUSE", "C3", "L", "mr", "voxels-not-finite"),
        ("REFUSE", "D4", "L", "ct", "mask-empty"),
        ("FLAG", "D4", "L", "mr", "knee-no-mr"),
    ]


def test_headers_alone_show_what_headers_can_show(tmp_path: Path) -> None:
    codes = {finding.code for finding in check(broken(tmp_path), pixels=False).findings}
    assert codes == {"mask-empty", "knee-no-mr"}


def test_the_report_is_a_table_and_json(tmp_path: Path) -> None:
    report = check(broken(tmp_path))
    assert "4 knees, 3 of them with a fault; 4 findings" in report.table()
    assert from_json(CheckReport, to_json(report)) == report
    assert json.loads(to_json(report))["findings"][0]["participant"] == "B2"


def test_the_last_line_says_what_stops_a_run_and_counts_in_good_english(tmp_path: Path) -> None:
    makers.cohort(tmp_path)
    table = tmp_path / "knees.tsv"
    whole = check(tmp_path)
    assert whole.table().splitlines()[-1] == f"{whole.knees} knees, 0 of them with a fault; 0 findings"
    table.write_text(table.read_text() + "A1\tX\n")
    report = check(tmp_path)
    (stop,) = [one for one in report.findings if one.severity == "STOP"]
    assert report.table().splitlines()[-1].startswith("no run of it is possible: 1 STOP finding; ")
    alone = CheckReport(findings=(stop,), knees=1).table().splitlines()[-1]
    assert alone.endswith("; 1 usable knee, 0 of them with a fault; 1 finding")


def test_a_knee_that_breaks_the_reader_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers.cohort(tmp_path)
    from srrd_ray.cohort import check as stage

    def explode(path: Path, *_: object, **__: object) -> None:
        raise ZeroDivisionError(path.name)

    monkeypatch.setattr(stage, "read_image", explode)
    assert [f.code for f in check(tmp_path).findings] == ["unexpected-ZeroDivisionError"] * 4


@pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not beside the repository")
def test_a_real_ct_and_a_real_big_endian_dicom_series_of_two_people_are_readable(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nA1\t59\tF\n")
    (tmp_path / "knees.tsv").write_text("participant_id\tside\tkl_grade\toa\nA1\tR\t2\t1\n")
    for modality, name, suffix in (("ct", "knee_ct_1mm.nii.gz", ".nii.gz"), ("mr", "knee_mr_mese_dicom", "")):
        (tmp_path / "sub-A1" / modality).mkdir(parents=True)
        target = tmp_path / "sub-A1" / modality / f"sub-A1_side-R_{modality}{suffix}"
        if suffix:
            target.write_bytes((DATA / name).read_bytes())
        else:
            target.mkdir()
            for file in (DATA / name).iterdir():
                (target / file.name).write_bytes(file.read_bytes())
    report = check(tmp_path)
    assert not report.faulty
    assert [finding.severity for finding in report.findings] == ["INFO"]
