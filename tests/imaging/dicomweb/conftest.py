"""One Orthanc for all tests here, empty at the start of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imaging.dicomweb.orthanc import Orthanc, allow_login, serving


@pytest.fixture(scope="package")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with serving(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(started: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """The server with nothing in it, and its login where the package looks for it."""
    allow_login(tmp_path, monkeypatch)
    started.clear()
    return started
