"""Series from a real server: whole, unchanged, and only what is wanted."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.imaging.dicomweb.address import Address, parse_address
from srrd_ray.imaging.dicomweb.fetch import fetch
from srrd_ray.imaging.images import read_image
from tests.imaging import makers
from tests.imaging.dicomweb.orthanc import Orthanc

STUDY = f"{makers.ROOT}99"
BOTH = ("CT", "MR")


def address(orthanc: Orthanc, series: str = "") -> Address:
    text = f"{orthanc.root}/studies/{STUDY}"
    return parse_address(f"{text}/series/{makers.ROOT}{series}" if series else text)


def by_uid(folder: Path) -> dict[str, FileDataset]:
    return {str(one.SOPInstanceUID): one for one in map(dcmread, folder.rglob("*.dcm"))}


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")}


def test_a_series_is_what_was_put_there(orthanc: Orthanc, tmp_path: Path) -> None:
    files = makers.series(tmp_path / "ct")
    orthanc.put(files)
    folder = fetch(address(orthanc, "1"), tmp_path / "out", ("CT",))
    assert by_uid(folder) == by_uid(tmp_path / "ct")
    makers.assert_in_place(read_image(folder, "ct").volume)


def test_what_is_compressed_stays_compressed(orthanc: Orthanc, tmp_path: Path) -> None:
    rle = "1.2.840.10008.1.2.5"
    orthanc.put(makers.series(tmp_path / "ct", edit=lambda _, dataset: makers.encode(dataset, rle)))
    folder = fetch(address(orthanc), tmp_path / "out", ("CT",))
    assert {one.file_meta.TransferSyntaxUID for one in by_uid(folder).values()} == {rle}
    assert by_uid(folder) == by_uid(tmp_path / "ct")


def _localizer(_: int, dataset: FileDataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def _capture(_: int, dataset: FileDataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage


def test_of_a_study_come_series_of_slices_of_the_modality(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.put(makers.series(tmp_path / "ct", uid="1"))
    orthanc.put(makers.series(tmp_path / "mr", uid="2", kind=MRImageStorage))
    orthanc.put(makers.series(tmp_path / "scout", uid="3", edit=_localizer))
    orthanc.put(makers.series(tmp_path / "capture", uid="4", edit=_capture))
    assert by_uid(fetch(address(orthanc), tmp_path / "a", ("CT",))) == by_uid(tmp_path / "ct")
    assert set(by_uid(fetch(address(orthanc), tmp_path / "b", BOTH))) == {
        *by_uid(tmp_path / "ct"), *by_uid(tmp_path / "mr"),
    }  # fmt: skip
    assert by_uid(fetch(address(orthanc, "3"), tmp_path / "c", ("CT",))) == by_uid(tmp_path / "scout")


def test_the_same_again_fetches_what_is_new_and_drops_what_is_gone(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.put(makers.series(tmp_path / "1", uid="1"))
    folder = fetch(address(orthanc), tmp_path / "out", BOTH)
    before = modified(folder)
    orthanc.put(makers.series(tmp_path / "2", uid="2"))
    assert fetch(address(orthanc), tmp_path / "out", BOTH) == folder
    assert before.items() < modified(folder).items()
    (series,) = json.loads(
        orthanc.rest(
            "POST",
            "/tools/find",
            json.dumps({"Level": "Series", "Query": {"SeriesInstanceUID": f"{makers.ROOT}2"}}).encode(),
        )
    )
    orthanc.rest("DELETE", f"/series/{series}")
    fetch(address(orthanc), tmp_path / "out", BOTH)
    assert modified(folder) == before


def test_a_series_cut_short_on_the_disk_is_fetched_again(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.put(makers.series(tmp_path / "ct"))
    folder = fetch(address(orthanc, "1"), tmp_path / "out", ("CT",))
    next(folder.iterdir()).unlink()
    assert by_uid(fetch(address(orthanc, "1"), tmp_path / "out", ("CT",))) == by_uid(tmp_path / "ct")


@pytest.mark.parametrize("series", ["", "5"])
def test_what_is_not_on_the_server_is_said(orthanc: Orthanc, tmp_path: Path, series: str) -> None:
    with pytest.raises(ConfigError, match="dicomweb-empty"):
        fetch(address(orthanc, series), tmp_path / "out", ("CT",))
    assert not (tmp_path / "out").exists()


def test_names_and_log_lines_tell_nothing_of_the_patient(
    orthanc: Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orthanc.put(makers.series(tmp_path / "ct"))
    with caplog.at_level(logging.INFO):
        folder = fetch(address(orthanc), tmp_path / "out", ("CT",))
    told = caplog.text + " ".join(path.as_posix() for path in folder.rglob("*"))
    assert "12 files" in told
    assert [word for word in (makers.NAME, makers.MRN, makers.ROOT, STUDY) if word in told] == []


def test_a_login_that_is_wrong_is_said_without_it(
    orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").write_text("machine 127.0.0.1 login tester password swordfish\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "other"))
    with pytest.raises(StoreError, match=r"dicomweb-denied.*netrc") as refused:
        fetch(address(orthanc), tmp_path / "out", ("CT",))
    assert "swordfish" not in str(refused.value)
