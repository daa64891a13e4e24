"""Results on a real server: in the study of the CT, unchanged, and sent once."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from srrd_ray.imaging.dicom.knee_results import write_knee_results
from srrd_ray.imaging.dicom.source_series import read_source_series
from srrd_ray.imaging.dicomweb.address import parse_service
from srrd_ray.imaging.dicomweb.store import store
from tests.imaging import makers
from tests.imaging.dicom.results import findings
from tests.imaging.dicomweb.orthanc import Orthanc


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("results")
    makers.series(folder / "ct")
    source = read_source_series(folder / "ct")
    return write_knee_results(folder / "dicom", source, findings(source.geometry))


def test_results_arrive_as_they_were_written(orthanc: Orthanc, results: tuple[Path, ...]) -> None:
    assert store(results, parse_service(orthanc.root)) == len(results) > 5
    stored = {uid: dcmread(BytesIO(data)) for uid, data in orthanc.instances().items()}
    assert stored == {str(one.SOPInstanceUID): one for one in map(dcmread, results)}
    assert {one.StudyInstanceUID for one in stored.values()} == {f"{makers.ROOT}99"}


def test_the_same_again_sends_what_is_missing_alone(orthanc: Orthanc, results: tuple[Path, ...]) -> None:
    orthanc.put(results[:2])
    assert store(results, parse_service(orthanc.root)) == len(results) - 2
    assert store(results, parse_service(orthanc.root)) == 0
