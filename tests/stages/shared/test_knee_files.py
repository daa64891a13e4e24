from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.stages.shared.knee_files import ResultFormat, find_source, note_oblique
from tests.imaging import makers
from tests.registration import phantoms


def without_space(k: int, dataset: Dataset) -> None:
    del dataset.FrameOfReferenceUID


def test_a_series_has_results_in_dicom_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct")
    every: list[tuple[ResultFormat, ...]] = [(), ("dicom",), ("nifti", "dicom"), ("omezarr",)]
    for wanted in every:
        source, doubts = find_source(tmp_path / "ct", wanted)
        assert source is not None
        assert len(source.images) == makers.SHAPE[0]
        assert not doubts
    assert find_source(tmp_path / "ct", ("nifti",)) == (None, ())


def test_another_ct_has_none_and_is_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct.nii.gz", phantoms.knee()[1])
    assert find_source(tmp_path / "ct.nii.gz", ()) == (None, ())
    with pytest.raises(InputError, match=r"\[results-no-dicom\].*--formats"):
        find_source(tmp_path / "ct.nii.gz", ("dicom",))


def test_a_series_that_nothing_can_refer_to_has_none_and_says_why(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct", edit=without_space)
    source, (doubt,) = find_source(tmp_path / "ct", ())
    assert source is None
    assert (doubt.severity, doubt.code) == ("FLAG", "dicom-no-uid")
    assert "no FrameOfReferenceUID" in doubt.message
    with pytest.raises(InputError, match="dicom-no-uid"):
        find_source(tmp_path / "ct", ("dicom",))


def test_an_oblique_ct_is_resampled_for_viewers_and_says_so() -> None:
    assert note_oblique(phantoms.GRID, ("omezarr",)) == ()
    assert note_oblique(makers.grid(makers.OBLIQUE), ("nifti",)) == ()
    (note,) = note_oblique(makers.grid(makers.OBLIQUE), ("omezarr",))
    assert (note.severity, note.code) == ("FIX", "results-oblique")
