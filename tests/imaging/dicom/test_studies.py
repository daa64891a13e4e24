"""What a folder of studies holds is told series by series, and what cannot be read is counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.dicom.studies import find_series
from tests.cohort.studies_of_patients import scan


@pytest.mark.parametrize(
    ("tags", "sides", "source"),
    [
        ({"Laterality": "L"}, "L", "header"),
        ({"ImageLaterality": "B"}, "LR", "header"),
        ({"SeriesDescription": "sag pd Right knee"}, "R", "description"),
        ({"SeriesDescription": "both knees"}, "LR", "description"),
        ({"StudyDescription": "CT Knie beidseits"}, "LR", "description"),
        ({"SeriesDescription": "Knie li sag"}, "L", "guess"),
        ({"SeriesDescription": "left and right"}, "LR", "description"),
        ({"PixelSpacing": ["20", "20"]}, "LR", "guess"),
        ({}, "", ""),
    ],
)
def test_the_side_comes_from_tags_then_words_then_letters(
    tmp_path: Path, tags: dict[str, Any], sides: str, source: str
) -> None:
    scan(tmp_path, "P1", 1, **tags)
    (found,) = find_series(tmp_path).series
    assert "".join(sorted(found.sides)) == sides
    assert found.side_source == source


def test_series_of_several_patients_at_any_depth_are_told_apart(tmp_path: Path) -> None:
    scan(tmp_path / "a" / "b" / "c", "P1", 1)
    scan(tmp_path / "a", "P2", 1, "MR")
    (tmp_path / "a" / "readme.txt").write_text("notes")
    (tmp_path / "a" / "torn.dcm").write_bytes(b"")
    (tmp_path / "a" / "text.dcm").write_bytes(b"not DICOM at all")
    studies = find_series(tmp_path)
    assert [(one.patient, one.modality, one.images) for one in studies.series] == [
        ("P1", "CT", 16),
        ("P2", "MR", 16),
    ]
    assert (studies.other, studies.damaged) == (1, 2)


@pytest.mark.parametrize(
    "tags", [{"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {"SeriesDescription": "Scout"}]
)
def test_a_localizer_is_known(tmp_path: Path, tags: dict[str, Any]) -> None:
    scan(tmp_path, "P1", 1, **tags)
    assert find_series(tmp_path).series[0].localizer


def test_one_id_with_two_names_is_two_people_and_two_spellings_are_one(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1, PatientName="Doe^Jane")
    scan(tmp_path / "b", "P1", 2, PatientName="DOE JANE")
    scan(tmp_path / "c", "P1", 3, PatientName="ROE^RICHARD")
    first, second, third = (one.people for one in find_series(tmp_path).series)
    assert first == second != third


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_not_taken_as_empty(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1)
    (tmp_path / "b").mkdir(mode=0)
    with pytest.raises(InputError, match="path-unreadable"):
        find_series(tmp_path)


def test_a_link_to_nothing_is_not_taken_as_absent(tmp_path: Path) -> None:
    scan(tmp_path / "a", "P1", 1)
    (tmp_path / "a" / "gone.dcm").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link-broken"):
        find_series(tmp_path)
