"""`srrd run --dry-run` says what a run would do and why, and leaves no trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Knee
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.lock import locked
from srrd_ray.execution.stage import AnyStage, NoSettings, Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.pipeline.plan import print_plan
from srrd_ray.pipeline.run import RunRequest, run
from srrd_ray.pipeline.stages import STAGES
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table
from tests.imaging import makers
from tests.object_store import ObjectStore
from tests.storage.test_paths import copy_up


def count_files(work: Work[NoSettings]) -> Produced:
    path = work.layout.part("voxels", work.item.knees[0])
    write_table(path, pd.DataFrame([{"files": 1}]))
    return Produced(paths=(path,))


COUNT = Stage(
    name="count", scope="knee", function=count_files, settings=NoSettings, needs=("ingest",),
    outputs=("tables/parts/voxels",),
)  # fmt: skip
FEW: tuple[AnyStage, ...] = (STAGES[0], COUNT, *STAGES[1:])
"""The pipeline with a stage after ingest that takes no time."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort and a run of its first stages."""
    root = tmp_path_factory.mktemp("plan")
    makers.cohort(root / "cohort", people=("A1", "B2"))
    assert run(request(root), lambda _: PlainLoop()) == 0
    return root


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder, times of change included."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def request(root: Path, config: str = "", *, overwrite: bool = False) -> RunRequest:
    path = root / "run.yaml" if config else None
    if path is not None:
        path.write_text(config)
    return RunRequest(
        cohort=root / "cohort", out=root / "run", config=path, until="count", stages=FEW, overwrite=overwrite
    )


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))}


def printed(asked: RunRequest, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of a plan, after checking that the folder of the run is as it was."""
    before = snapshot(asked.out)
    capsys.readouterr()
    assert print_plan(asked) == 0
    assert snapshot(asked.out) == before
    return capsys.readouterr().out.splitlines()


def counts(lines: list[str], stage: str) -> list[int]:
    row = next(line.split() for line in lines if line.startswith(f"{stage} "))
    return [int(cell) for cell in row[2:]]


def test_a_finished_run_has_nothing_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(request(folder), capsys)
    assert lines[2].split() == ["stage", "of", "skip", "do", "redo", "retry"]
    assert counts(lines, "ingest") == counts(lines, "count") == [2, 0, 0, 0]
    assert lines[-1] == "nothing to do"


def test_a_setting_that_changed_is_named_with_what_depends_on_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = request(folder, "ingest: {rules: {max_gib: 4}}", overwrite=True)
    lines = printed(asked, capsys)
    assert counts(lines, "ingest") == counts(lines, "count") == [0, 0, 2, 0]
    assert "redo in ingest: ingest.rules.max_gib 8.0, now 4.0: sub-A1_side-L, sub-B2_side-L" in lines
    assert "redo in count: needs ingest, made anew: sub-A1_side-L, sub-B2_side-L" in lines


def test_a_run_that_would_be_refused_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="run-differs"):
        print_plan(request(folder, "ingest: {rules: {max_gib: 4}}"))


def test_an_image_that_changed_is_told_from_an_output_that_is_gone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((folder / "cohort" / "sub-A1").rglob("*_ct*"))
    os.utime(image if image.is_file() else next(image.iterdir()), (1, 1))
    RunLayout(root=folder / "run").part("voxels", Knee(participant="B2", side="L")).unlink()
    lines = printed(request(folder), capsys)
    assert counts(lines, "ingest") == [1, 0, 1, 0]
    assert counts(lines, "count") == [0, 0, 2, 0]
    assert "redo in ingest: changed: its images: sub-A1_side-L" in lines
    assert "redo in count: an output is missing or not as it was: sub-B2_side-L" in lines


def test_a_knee_that_failed_is_said_to_be_tried_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((folder / "cohort" / "sub-A1").rglob("*_ct.nii.gz"))
    image.write_bytes(b"")
    assert run(request(folder), lambda _: PlainLoop()) == 1
    lines = printed(request(folder), capsys)
    assert counts(lines, "ingest") == [1, 0, 0, 1]
    assert counts(lines, "count") == [1, 0, 0, 0]
    assert any(line.startswith("retry in ingest: failed last time, ") for line in lines)
    assert "expected to fail again" in lines[-1]


def test_a_job_that_holds_the_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(folder / "run"):
        asked = request(folder)
        assert print_plan(asked) == 0
    assert f"lock: process {os.getpid()} on " in capsys.readouterr().out


def test_the_command_starts_no_ray_and_makes_no_folder(finished: Path, tmp_path: Path) -> None:
    code = (
        "import sys, atexit; from srrd_ray.cli import main; "
        "atexit.register(lambda: sys.stderr.write(str('ray' in sys.modules))); main()"
    )
    command = ["run", "--cohort", str(finished / "cohort"), "--out", str(tmp_path / "new"), "--dry-run"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *command, "--until", "ingest"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert counts(ended.stdout.splitlines(), "ingest") == [0, 2, 0, 0]
    assert ended.stderr.endswith("False")
    assert not (tmp_path / "new").exists()


def test_in_an_object_store_the_plan_reads_alone(
    finished: Path, bucket: Path, s3: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_up(finished / "run", bucket / "run")
    before = len(s3.requests)
    for out, expected in ((bucket / "run", [2, 0, 0, 0]), (bucket / "new", [0, 2, 0, 0])):
        assert print_plan(replace(request(finished), out=out)) == 0
        assert counts(capsys.readouterr().out.splitlines(), "count") == expected
    assert {method for method, _ in s3.requests[before:]} <= {"GET", "HEAD"}


def test_a_run_of_another_version_is_said_to_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "run" / ".state" / "ingest").glob("*.json"):
        path.write_text(
            path.read_text()
            .replace('"software": "', '"software": "0.0.')
            .replace('"input_hash": "', '"input_hash": "0')
        )
    lines = printed(replace(request(folder), overwrite=True), capsys)
    assert any(line.startswith("redo in ingest: made by SRRD-Ray 0.0.") for line in lines)
