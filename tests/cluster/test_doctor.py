"""`srrd doctor` tells what would stop or slow a run, what to do about it, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from srrd_ray.cli import main
from srrd_ray.cluster import doctor
from srrd_ray.cluster.doctor import Check, Examination
from srrd_ray.cluster.socket_folder import LONGEST
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.storage import claims, objects
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.paths import list_sizes
from tests.object_store import ObjectStore

MACHINE = ["python", "libraries", "decoders", "gpu", "compiled code", "temporary", "clock"]
LOCAL = ["cpus", "memory", "shared memory", "sockets"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def other_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A client of its own, with one try a request."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    objects.client.cache_clear()
    yield monkeypatch
    objects.client.cache_clear()


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_the_machine_is_looked_at_once_a_line_and_what_is_not_well_has_a_remedy() -> None:
    found = list(Examination(cluster=ClusterConfig()).checks())
    assert [one.name for one in found] == MACHINE + LOCAL
    assert [str(one) for one in found if one.verdict != "OK" and not one.todo] == []
    assert all("\n" not in str(one) for one in found)


def test_of_a_cluster_that_is_joined_the_machine_of_the_driver_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    names = [one.name for one in Examination(cluster=ClusterConfig()).checks()]
    assert names == [*MACHINE, "cluster"]


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    assert doctor.out(tmp_path / "new" / "run").verdict == "OK"
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_three_where_something_would_stop_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ("doctor", "--out", str(tmp_path / "file"), "--cohort", str(tmp_path))
    assert code_of(*arguments) == 3
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAIL  out           [output-is-file] ") for line in lines)
    assert any(line.startswith("FAIL  cohort        no participants.tsv is there") for line in lines)


def test_the_command_needs_no_place_and_its_code_is_that_of_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = code_of("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert code == (3 if any(line.startswith("FAIL") for line in lines) else 0)
    assert len(lines) == len(MACHINE + LOCAL)


def test_neither_ray_nor_a_client_of_stores_is_loaded_for_it() -> None:
    code = (
        "import sys; from srrd_ray.cluster.doctor import Examination as E; "
        "from srrd_ray.execution.config import ClusterConfig as C; list(E(cluster=C()).checks()); "
        "print([m for m in ('ray', 'boto3', 'botocore') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_run_that_asks_for_more_memory_than_there_is_is_told() -> None:
    found = doctor.memory(ClusterConfig(knee_memory_mb=10**9))
    assert (found.verdict, "0 knees of 1000000000 MiB" in found.found) == ("FAIL", True)
    assert "cluster.knee_memory_mb" in found.todo


def test_a_run_that_asks_for_more_cpus_or_shared_memory_than_there_are_goes_on_slower() -> None:
    assert doctor.cpus(ClusterConfig(cpus=10**6)).verdict == "WARN"
    assert doctor.shared_memory(ClusterConfig(object_store_mb=10**9)).verdict == "WARN"


@pytest.mark.parametrize(
    ("use", "driver", "verdict"),
    [("auto", False, "OK"), ("never", False, "OK"), ("require", False, "FAIL"), ("auto", True, "WARN")],
)
def test_a_machine_without_gpu_is_in_order_unless_one_is_required_or_there_but_not_seen(
    use: str, driver: bool, verdict: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (tmp_path / "version").write_text("")
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path / ("version" if driver else "none"))
    assert doctor.gpu(ClusterConfig(gpu=use)).verdict == verdict  # type: ignore[arg-type]


def test_a_tmpdir_that_is_too_long_for_sockets_is_told_and_not_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = tmp_path / ("x" * LONGEST)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    found = doctor.sockets()
    assert (found.verdict, "too long" in found.found) == ("WARN", True)
    assert caplog.records == []


def test_a_library_that_is_absent_or_of_another_version_is_named() -> None:
    assert doctor._mismatch(Requirement("numpy>=1")) == ""
    assert doctor._mismatch(Requirement("numpy<1")).endswith("is not <1")
    assert doctor._mismatch(Requirement("no-such-library>=1")) == "no-such-library is absent"


def test_what_is_required_and_what_an_extra_adds_are_told_apart() -> None:
    needed = {one.name for one in doctor._requirements()}
    decoders = {one.name for one in doctor._requirements("dicom")}
    assert {"torch", "ray", "zarr"} <= needed
    assert "pylibjpeg" in decoders
    assert not needed & decoders


def test_a_disk_without_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    for least, little, verdict in ((free * 2, free * 4, "FAIL"), (1, free * 4, "WARN")):
        monkeypatch.setattr(doctor, "LEAST_DISK", least)
        monkeypatch.setattr(doctor, "LITTLE_DISK", little)
        assert doctor.disk("temporary", tmp_path).verdict == verdict


def test_a_clock_that_is_behind_the_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.clock().verdict == "OK"
    installed = Path(doctor.__file__).stat().st_mtime
    monkeypatch.setattr(time, "time", lambda: installed - 3600)
    assert doctor.clock().verdict == "WARN"


def test_a_storage_that_gives_one_file_to_two_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create(path: Path, text: str) -> int:
        """Create a file as a storage does that ignores O_EXCL."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.pwrite(descriptor, text.encode(), 0)
        return descriptor

    monkeypatch.setattr(claims, "_create_file", create)
    found = doctor.out(tmp_path)
    assert (found.verdict, "does not keep a lock" in found.found) == ("FAIL", True)


def test_a_bucket_is_looked_at_and_left_empty(bucket: Path, s3: ObjectStore) -> None:
    write_text(bucket / "cohort" / "participants.tsv", "participant_id")
    assert doctor.cohort(bucket / "cohort").verdict == "OK"
    assert doctor.out(bucket / "run").verdict == "OK"
    assert [name for name, _, _ in list_sizes(bucket)] == ["participants.tsv"]


def test_a_store_that_refuses_or_is_not_there_is_told_in_its_own_words(
    other_store: pytest.MonkeyPatch, bucket: Path, s3: ObjectStore
) -> None:
    with s3.failing(lambda *_: HTTPStatus.FORBIDDEN):
        (denied,) = (
            one
            for one in Examination(cluster=ClusterConfig(), cohort=bucket).checks()
            if one.name == "cohort"
        )
    assert (denied.verdict, "[store-denied]" in denied.found) == ("FAIL", True)
    other_store.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    objects.client.cache_clear()
    gone = doctor.looked("out", lambda: doctor.out(bucket / "run"))
    assert (gone.verdict, "[store-unreachable]" in gone.found) == ("FAIL", True)


def test_a_library_that_cannot_be_loaded_is_a_failure_of_its_check() -> None:
    def broken() -> Check:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    found = doctor.looked("gpu", broken)
    assert (found.name, found.verdict) == ("gpu", "FAIL")
