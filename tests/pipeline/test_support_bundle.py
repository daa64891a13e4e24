"""A support bundle holds what helps, and no byte of a patient, a machine or a path."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from srrd_ray import __version__
from srrd_ray.cli import main
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Fault, Knee, Outcome, StageTime
from srrd_ray.execution.lock import locked
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.status import read_status
from srrd_ray.pipeline.support_bundle import write_bundle
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import ObjectPath
from srrd_ray.storage.schemas import validate
from tests.running import writer
from tests.storage.test_paths import copy_up

NAME, OTHER, DATE, UID, PATH = (
    "MuellerHans",
    "Zz9plural",
    "1954-03-02",
    "1.2.840.113619.2.55.3.604",
    "/srv/radiology/x.dcm",
)
PLANTED = (NAME, OTHER, DATE, "19540302", UID, "604", PATH, "radiology", "clinic-pc-7", "secretvalue")


def run_with_secrets(root: Path) -> RunLayout:
    """A stopped run with planted secrets wherever a string may stand."""
    layout = RunLayout(root=root)
    manifest = writer(root, RunConfig(seed=7), knees=2, until="register")
    words = f"[bone-not-found] no femur of {NAME} ({DATE}, {UID}) in {PATH}, 19540302: sub-{NAME}_side-L clinic-pc-7"
    manifest.outcomes += [
        Outcome(knee=Knee(participant=NAME, side="L"), stage="ingest", status="done", seconds=1.5),
        Outcome(knee=Knee(participant=OTHER, side="R"), stage="ingest", status="failed", seconds=2.5,
                error=Fault(code="bone-not-found", message=words)),
        Outcome(knee=None, stage="learn-synthesis", status="failed", seconds=0,
                error=Fault(code=f"unexpected-{NAME}", message=f"KeyError: '{OTHER}' {PATH}")),
    ]  # fmt: skip
    manifest.times.append(StageTime(stage="ingest", seconds=4.0))
    manifest.write("stopped", 1)
    for name in (
        f"volumes/sub-{NAME}_side-L/{UID}.json",
        f"patches/{NAME}.{DATE}",
        f"{NAME}/x.dcm",
        f"sub-{OTHER}.html",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(NAME)
    log = "".join(
        f"21:33:{n % 60:02d} register {NAME} sub-{OTHER}_side-R {DATE} {UID} {PATH} {n}\n" for n in range(500)
    )
    (root / f"{NAME}.log").write_text(log)
    (root / ".lock").write_text(json.dumps({"host": "clinic-pc-7", "pid": 1, "since": DATE}))
    data = json.loads(layout.run_json.read_text())
    data["config"] |= {NAME: "secretvalue", "cluster": {"gpu": PATH}}
    data["libraries"] |= {NAME: f"1.0+{NAME}"}
    layout.run_json.write_text(json.dumps(data))
    return layout


def unpacked(layout: RunLayout, out: Path) -> dict[str, str]:
    with zipfile.ZipFile(write_bundle(layout, out)) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_no_planted_name_date_uid_path_or_machine_is_in_any_byte(tmp_path: Path) -> None:
    layout, out = run_with_secrets(tmp_path / "run"), tmp_path / "out.zip"
    members = unpacked(layout, out)
    for secret in (*PLANTED, str(tmp_path)):
        for name, text in members.items():
            assert secret.lower() not in name.lower()
            assert secret.lower() not in text.lower(), f"{secret} in {name}"
        assert secret.encode() not in out.read_bytes()


def test_what_helps_is_in_the_bundle(tmp_path: Path) -> None:
    members = unpacked(run_with_secrets(tmp_path / "run"), tmp_path / "out.zip")
    assert set(members) == {
        "README.txt",
        "run.json",
        "status.json",
        "environment.json",
        "files.json",
        "log-1.txt",
    }
    run, environment = json.loads(members["run.json"]), json.loads(members["environment.json"])
    assert (run["state"], run["exit_code"], run["config"]["seed"]) == ("stopped", 1, 7)
    assert run["config"]["patches"]["knees_per_shard"] == RunConfig().patches.knees_per_shard
    assert run["stages"] == [{"stage": "ingest", "seconds": 4.0}]
    assert run["outcomes"][1]["error"]["code"] == "bone-not-found"
    assert run["outcomes"][1]["error"]["message"].startswith(
        "[bone-not-found] no femur of n0001 (<number>, <number>) in <path>"
    )
    assert run["libraries"]["ray"] == environment["libraries"]["ray"]
    assert environment["srrd_ray"] == __version__
    assert {"part": "volumes", "ending": "json", "files": 1, "bytes": len(NAME)} in json.loads(
        members["files.json"]
    )
    assert (
        members["log-1.txt"].splitlines()[-1]
        == "21:33:19 register n0001 sub-n0002_side-R <number> <number> <path> 499"
    )
    assert len(members["log-1.txt"].splitlines()) == 200


def test_a_participant_has_one_running_number_in_all_files(tmp_path: Path) -> None:
    members = unpacked(run_with_secrets(tmp_path / "run"), tmp_path / "out.zip")
    run, status = json.loads(members["run.json"]), json.loads(members["status.json"])
    assert [o["knee"] and o["knee"]["participant"] for o in run["outcomes"]] == ["n0001", "n0002", None]
    assert status["failed"][0]["knee"] == {"participant": "n0002", "side": "R"}
    assert "sub-n0002_side-R" in members["log-1.txt"]


def test_the_unpacked_bundle_answers_srrd_status_as_the_run_does(tmp_path: Path) -> None:
    layout = run_with_secrets(tmp_path / "run")
    with zipfile.ZipFile(write_bundle(layout, tmp_path / "out.zip")) as bundle:
        bundle.extractall(tmp_path / "there")
    there, here = read_status(RunLayout(root=tmp_path / "there")), read_status(layout)
    assert (there.phase, there.command_code, there.knees, there.stages) == (here.phase, 1, 2, here.stages)
    validate("run", json.loads((tmp_path / "there" / "run.json").read_text()))


def test_the_same_run_gives_the_same_bytes_and_is_not_touched(tmp_path: Path) -> None:
    layout = run_with_secrets(tmp_path / "run")
    (tmp_path / "run" / ".lock").unlink()
    before = {p: p.stat().st_mtime_ns for p in layout.root.rglob("*")}
    first, second = (write_bundle(layout, tmp_path / f"{n}.zip").read_bytes() for n in (1, 2))
    assert first == second
    assert {p: p.stat().st_mtime_ns for p in layout.root.rglob("*")} == before


@pytest.mark.parametrize("torn", [None, '{"schema": "srrd-r'])
def test_a_run_without_a_whole_manifest_has_a_bundle_too(tmp_path: Path, torn: str | None) -> None:
    layout = RunLayout(root=tmp_path / "run")
    with locked(layout.root):
        sidecar = layout.sidecar("ingest", f"sub-{NAME}_side-L")
        sidecar.parent.mkdir(parents=True)
        sidecar.write_text("{}")
        (layout.root / "run.log").write_text(f"21:33:02 ingest {NAME} done\n")
        if torn:
            layout.run_json.write_text(torn)
        members = unpacked(layout, tmp_path / "out.zip")
    assert members["log-1.txt"] == "21:33:02 ingest n0001 done\n"
    assert json.loads(members["status.json"])["phase"] == "running"


def test_a_file_that_vanishes_meanwhile_is_not_counted(tmp_path: Path) -> None:
    layout = run_with_secrets(tmp_path / "run")
    (layout.root / "volumes" / "gone.json").symlink_to(tmp_path / "nowhere")
    files = json.loads(unpacked(layout, tmp_path / "out.zip")["files.json"])
    assert [one["files"] for one in files if (one["part"], one["ending"]) == ("volumes", "json")] == [1]


def test_a_name_that_is_no_zip_or_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not-a-zip"):
        write_bundle(RunLayout(root=tmp_path), tmp_path / "out.txt")
    with pytest.raises(SystemExit) as ended:
        main(["support", str(tmp_path), str(tmp_path / "out.zip")])
    assert ended.value.code == 2
    assert not (tmp_path / "out.zip").exists()


def test_a_run_in_an_object_store_has_the_same_bundle(bucket: Path, tmp_path: Path) -> None:
    layout = run_with_secrets(tmp_path / "run")
    assert isinstance(bucket, ObjectPath)
    copy_up(layout.root, bucket / "run")
    here, there = (
        unpacked(one, tmp_path / f"{n}.zip") for n, one in enumerate([layout, RunLayout(root=bucket / "run")])
    )
    for name in ("run.json", "environment.json", "files.json", "log-1.txt"):
        assert here[name] == there[name]
