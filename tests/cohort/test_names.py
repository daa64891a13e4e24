"""Images of a cohort are found under every spelling of their names; what is there but not usable is a finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import survey
from tests.imaging import makers
from tests.imaging.test_places import as_nobody


def findings(root: Path) -> set[str]:
    return {f"{finding.severity} {finding.code}" for finding in check(root, pixels=False).findings}


def image(root: Path, modality: str = "ct") -> Path:
    return root / "sub-A1" / modality / f"sub-A1_side-L_{modality}.nii.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return makers.cohort(tmp_path / "cohort", people=("A1",))


def test_a_suffix_in_capitals_is_the_suffix(root: Path) -> None:
    image(root).rename(image(root).with_name("sub-A1_side-L_ct.NII.GZ"))
    assert findings(root) == set()


@pytest.mark.parametrize("target", ["../../.git/annex/objects/x.nii.gz", "sub-A1_side-L_ct.nii.gz"])
def test_a_link_to_nothing_or_to_itself_refuses_that_image_and_no_other(root: Path, target: str) -> None:
    image(root).unlink()
    image(root).symlink_to(target)
    assert findings(root) == {"REFUSE link-broken"}
    assert survey(root)[1] == ()


def test_two_names_of_one_file_are_one_image(root: Path) -> None:
    image(root).with_name("sub-A1_side-L_ct.NII.GZ").symlink_to(image(root).name)
    assert findings(root) <= {"FLAG image-unused"}


def test_two_files_of_one_image_stop_the_cohort(root: Path) -> None:
    image(root).with_name("sub-A1_side-L_ct.NII.GZ").write_bytes(image(root).read_bytes())
    assert "STOP image-ambiguous" in findings(root)


@pytest.mark.parametrize(
    "name", ["sub-A1_side-L_CT.nii.gz", "sub-A1_side-l_ct.nii.gz", "sub-A1_side-L_ct.nii.gz.part"]
)
def test_a_near_miss_of_a_name_is_not_called_absent(root: Path, name: str) -> None:
    image(root).rename(image(root).with_name(name))
    assert findings(root) == {"FLAG knee-no-ct", "FLAG image-unused"}


def test_sidecars_and_hidden_files_are_nothing_to_tell(root: Path) -> None:
    for name in (".DS_Store", "sub-A1_side-L_ct.json"):
        (image(root).parent / name).write_text("{}")
    assert findings(root) == set()


@pytest.mark.parametrize("shut", ["ct", "sub-A1_side-L_ct.nii.gz"])
def test_a_folder_or_file_that_may_not_be_read_is_not_called_absent(root: Path, shut: str) -> None:
    path = image(root).parent if shut == "ct" else image(root)
    with as_nobody(root):
        pass
    path.chmod(0)
    try:
        with as_nobody(root):
            assert findings(root) == {"REFUSE path-unreadable"}
    finally:
        path.chmod(0o700)


def test_a_table_that_is_a_broken_link_is_not_called_missing(root: Path) -> None:
    (root / "knees.tsv").unlink()
    (root / "knees.tsv").symlink_to("nowhere.tsv")
    assert [fault.code for fault in survey(root)[1]] == ["table-unreadable"]
