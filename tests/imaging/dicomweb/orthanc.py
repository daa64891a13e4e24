"""A real DICOMweb server on loopback: Debian's Orthanc with its plug-in, with a login of its own and nothing in it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from srrd_ray.imaging.dicomweb.server import TOKEN

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LOGIN, PASSWORD = "tester", "the-password-of-the-tests"
STARTS_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """The server; `root` is that of its DICOMweb service."""

    server: str

    @property
    def root(self) -> str:
        return f"{self.server}/dicom-web"

    def rest(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the answer of its own interface, the other way to what it holds."""
        login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.server}{path}", body, {"Authorization": f"Basic {login}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=STARTS_S) as answer:
            return bytes(answer.read())

    def put(self, files: Iterable[Path]) -> None:
        for path in files:
            self.rest("POST", "/instances", path.read_bytes())

    def instances(self) -> dict[str, bytes]:
        """Return every file that it holds, by its UID."""
        found = {}
        for one in json.loads(self.rest("GET", "/instances")):
            data = self.rest("GET", f"/instances/{one}/file")
            found[str(dcmread(BytesIO(data), stop_before_pixels=True).SOPInstanceUID)] = data
        return found

    def clear(self) -> None:
        for one in json.loads(self.rest("GET", "/patients")):
            self.rest("DELETE", f"/patients/{one}")


@contextmanager
def serving(folder: Path) -> Iterator[Orthanc]:
    """Run the server for the length of a block, its data in `folder`."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        pytest.skip("no DICOMweb server: orthanc and orthanc-dicomweb are not installed")
    port = free_port()
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(_settings(folder, port)))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}", process)
            yield Orthanc(server=f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(STARTS_S)


def _settings(folder: Path, port: int) -> dict[str, object]:
    return {
        "StorageDirectory": str(folder / "data"), "IndexDirectory": str(folder / "data"),
        "HttpPort": port, "RemoteAccessAllowed": False, "DicomServerEnabled": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {LOGIN: PASSWORD},
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip


def _wait_for(server: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_S
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError):
            try:
                urllib.request.urlopen(f"{server}/system", timeout=1)
            except urllib.error.HTTPError:  # it asks for a login: it is there
                return
        time.sleep(0.05)
    pytest.fail("Orthanc does not start")


def allow_login(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put the login of the server where the package looks for it."""
    netrc = folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {LOGIN} password {PASSWORD}\n")
    patch.setenv("NETRC", str(netrc))
    patch.delenv(TOKEN, raising=False)
