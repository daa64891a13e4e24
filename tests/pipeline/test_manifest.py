import json
from pathlib import Path

import pytest

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.core.records import Knee, Outcome, RunState
from srrd_ray.pipeline.manifest import is_cut_short, read_manifest
from srrd_ray.storage.layout import RunLayout
from tests.running import manifest_of, writer


def outcome(number: int, seconds: float = 1.0) -> Outcome:
    return Outcome(
        knee=Knee(participant=f"{number:03d}", side="L"), stage="ingest", status="done", seconds=seconds
    )


def test_every_outcome_is_checked_when_it_is_first_written_and_all_are_kept(tmp_path: Path) -> None:
    manifest = writer(tmp_path)
    for number in range(3):
        manifest.record([outcome(number)])
        manifest.write("running", None)
    kept = json.loads(manifest.layout.run_json.read_text())["outcomes"]
    assert [found["knee"]["participant"] for found in kept] == ["000", "001", "002"]
    manifest.record([outcome(3, seconds=-1.0)])
    with pytest.raises(StoreError, match="schema-invalid"):
        manifest.write("running", None)


def test_an_outcome_becomes_text_once_however_many_stages_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, to_line = writer(tmp_path), serial.to_line
    written: list[object] = []

    def noted(record: object) -> str:
        written.append(record)
        return to_line(record)

    monkeypatch.setattr(serial, "to_line", noted)
    manifest.record([outcome(number) for number in range(50)])
    for _ in range(10):
        manifest.write("running", None)
    assert len(written) <= 50 + 2, "two more stand for all before the schema"


def test_a_manifest_is_read_as_it_was_written_with_its_outcomes_or_without(tmp_path: Path) -> None:
    manifest = writer(tmp_path)
    manifest.write("running", None)
    for number in range(3):
        manifest.record([outcome(number)])
        manifest.close_stage("ingest", 1.0)
    whole, head = manifest_of(tmp_path), read_manifest(manifest.layout, outcomes=False)
    assert whole.outcomes == tuple(manifest.outcomes)
    assert head is not None
    assert head.outcomes == ()
    assert head.stages == whole.stages
    assert head.config == whole.config
    assert [planned.stage for planned in whole.plan] == [stage.name for stage in manifest.stages]


def test_a_manifest_without_outcomes_is_whole(tmp_path: Path) -> None:
    writer(tmp_path).write("running", None)
    found = read_manifest(RunLayout(root=tmp_path), outcomes=False)
    assert found == manifest_of(tmp_path)


def test_a_torn_manifest_is_named_so_and_an_absent_one_is_none(tmp_path: Path) -> None:
    assert read_manifest(RunLayout(root=tmp_path)) is None
    writer(tmp_path).write("running", None)
    path = tmp_path / "run.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ConfigError, match="run-torn"):
        read_manifest(RunLayout(root=tmp_path))


@pytest.mark.parametrize(("state", "cut_short"), [("running", True), ("stopped", True), ("finished", False)])
def test_a_run_that_did_not_end_was_cut_short(tmp_path: Path, state: RunState, cut_short: bool) -> None:
    layout = RunLayout(root=tmp_path)
    assert not is_cut_short(layout)
    writer(tmp_path).write(state, None)
    assert is_cut_short(layout) is cut_short
    layout.run_json.write_text("{")
    assert is_cut_short(layout)
