"""A run on a real S3 server: the bytes of a local run, resumed, repaired, and ended with the right code when the store fails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from srrd_ray.cli import main
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.storage import objects
from tests.imaging import makers
from tests.object_store import SECRET, ObjectStore
from tests.running import manifest_of, run
from tests.storage.test_paths import contents, copy_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

UNTIL = "ingest"


@dataclass(frozen=True)
class Both:
    """One cohort and its run, on disk and in a store."""

    local: Path
    remote: Path

    def again(self, *, verify: bool = False) -> set[str]:
        """Run once more in the store and return the statuses of the knees."""
        out = self.remote / "run"
        assert run(self.remote / "cohort", out, until=UNTIL, verify=verify) == 0
        return {outcome.status for outcome in manifest_of(out).outcomes}


@pytest.fixture(scope="module")
def both(s3: ObjectStore, cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Both:
    found = Both(local=tmp_path_factory.mktemp("run"), remote=s3.bucket())
    makers.cohort(found.local / "cohort", people=("A1", "B2"), sides=("L", "R"))
    copy_up(found.local / "cohort", found.remote / "cohort")
    for root in (found.local, found.remote):
        assert run(root / "cohort", root / "run", until=UNTIL) == 0
    return found


def results(root: Path) -> dict[str, bytes]:
    return contents(root / "run" / "volumes")


def test_a_run_in_a_store_holds_the_bytes_of_a_local_one(both: Both) -> None:
    assert len(results(both.local)) > 8
    assert results(both.remote) == results(both.local)


def test_no_secret_and_no_address_of_the_store_is_kept(both: Both, s3: ObjectStore) -> None:
    for data in contents(both.remote / "run").values():
        assert SECRET.encode() not in data
        assert s3.address.encode() not in data


def test_the_same_command_again_skips_everything_with_few_requests(both: Both, s3: ObjectStore) -> None:
    before = len(s3.requests)
    assert both.again() == {"skipped"}
    assert len(s3.requests) - before < 60


@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_a_lost_or_altered_object_is_found_and_made_anew(both: Both, damage: str) -> None:
    before = results(both.remote)
    name = sorted(name for name in before if name.endswith("ct.ome.zarr/0/c/0/0/0"))[0]
    shard = both.remote / "run" / "volumes" / name
    shard.unlink()
    if damage == "altered":
        held = bytearray(before[name])
        held[len(held) // 2] ^= 1
        key = shard.relative_to(both.remote).as_posix()
        objects.write(both.remote.parts[1], key, bytes(held))
    assert both.again(verify=damage == "altered") == {"skipped", "done"}
    assert results(both.remote) == before


def test_a_store_that_fails_for_a_while_changes_nothing(both: Both, s3: ObjectStore) -> None:
    count = 0

    def every_fifth(method: str, path: str) -> HTTPStatus | None:
        nonlocal count
        count += 1
        return HTTPStatus.SERVICE_UNAVAILABLE if count % 5 == 0 else None

    with s3.failing(every_fifth):
        out = both.remote / "shaken"
        assert run(both.remote / "cohort", out, until=UNTIL) == 0
    assert contents(both.remote / "shaken" / "volumes") == results(both.local)


def test_a_store_that_fails_for_good_ends_the_run_with_code_3_and_nothing_half_written(
    both: Both, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    objects.client.cache_clear()
    cohort, out = str(both.remote / "cohort"), str(both.remote / "broken")
    command = ["run", "--cohort", cohort, "--out", out, "--until", UNTIL]

    def after_the_first(method: str, path: str) -> HTTPStatus | None:
        return HTTPStatus.INTERNAL_SERVER_ERROR if method != "GET" and "run.json" in path else None

    with s3.failing(after_the_first), pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 3
    assert "store-unreachable" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert contents(both.remote / "broken" / "volumes") == results(both.local)
    objects.client.cache_clear()


def test_check_says_of_a_store_what_it_says_of_a_disk(both: Both, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for root in (both.local, both.remote):
        with pytest.raises(SystemExit) as ended:
            main(["check", str(root / "cohort")])
        assert ended.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "4 knees" in said[0]


def test_the_record_of_a_run_in_a_store_is_whole(both: Both) -> None:
    assert json.loads((both.remote / "run" / "run.json").read_text())["state"] == "finished"
