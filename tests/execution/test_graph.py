"""Stages skip what is up to date, redo what is gone and all that depends on it, and leave failed knees behind."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.errors import ConfigError, InputError
from srrd_ray.core.records import Fault, Outcome
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.stage import AnyStage, NoSettings, Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.storage.layout import RunLayout
from tests.execution.toy_stages import (
    KNEES,
    STAGES,
    FirstSettings,
    ToyConfig,
    inputs,
    run,
    write_first,
    write_second,
)

ALL = {f"{stage} {knee.participant}" for stage in ("first", "second") for knee in KNEES} | {"last cohort"}
DEPENDS_ON_1 = {"first 1", "second 1", "last cohort"}


def part(root: Path, number: int) -> Path:
    return RunLayout(root=root).part("first", KNEES[number])


def done(statuses: dict[str, str]) -> set[str]:
    return {name for name, status in statuses.items() if status == "done"}


def test_a_second_run_skips_everything(tmp_path: Path) -> None:
    assert run(tmp_path).statuses() == dict.fromkeys(ALL, "done")
    assert run(tmp_path).statuses() == dict.fromkeys(ALL, "skipped")


def test_a_deleted_output_is_redone_with_what_depends_on_it(tmp_path: Path) -> None:
    run(tmp_path)
    part(tmp_path, 1).unlink()
    assert done(run(tmp_path).statuses()) == DEPENDS_ON_1


def test_a_flipped_bit_is_found_by_verify_and_redone_with_what_depends_on_it(tmp_path: Path) -> None:
    run(tmp_path)
    path = part(tmp_path, 1)
    right = path.read_bytes()
    path.write_bytes(bytes([right[0] ^ 1]) + right[1:])
    assert set(run(tmp_path).statuses().values()) == {"skipped"}, "sizes alone do not show it"
    assert done(run(tmp_path, verify=True).statuses()) == DEPENDS_ON_1
    assert path.read_bytes() == right


def test_a_setting_redoes_the_stages_that_declare_it_and_no_other(tmp_path: Path) -> None:
    run(tmp_path)
    assert set(run(tmp_path, ToyConfig(unused=5)).statuses().values()) == {"skipped"}
    assert run(tmp_path, ToyConfig(seed=2)).statuses() == dict.fromkeys(ALL, "done")


def test_a_failed_knee_is_left_behind_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(KNEES[0].key)
    found = run(tmp_path).statuses()
    assert found["first 0"] == "failed"
    assert "second 0" not in found
    assert found["last cohort"] == "done"
    (tmp_path / "bad").unlink()
    mended = run(tmp_path).statuses()
    assert mended["first 0"] == mended["second 0"] == mended["last cohort"] == "done"
    assert mended["second 1"] == "skipped"


def test_a_knee_that_fails_in_a_stage_that_only_draws_goes_on(tmp_path: Path) -> None:
    drawing = Stage(
        name="drawing", scope="knee", function=write_first, settings=FirstSettings,
        outputs=("tables/parts/first",), for_the_eye=True,
    )  # fmt: skip
    independent = Stage(
        name="last", scope="knee", function=nothing, settings=NoSettings, outputs=("tables/last",)
    )
    (tmp_path / "bad").write_text(KNEES[0].key)
    found = run(tmp_path, stages=(drawing, independent)).statuses()
    assert (found["drawing 0"], found["drawing 1"], found["last 0"]) == ("failed", "done", "done")


def nothing(_: Work[NoSettings]) -> Produced:
    return Produced(paths=())


def write_first_and_lose_a_bone(work: Work[FirstSettings]) -> Produced:
    fault = Fault(code="toy-fault", message="[toy-fault] no pose")
    lost = Outcome(
        knee=work.item.knees[0], bone="femur", stage="first", status="failed", seconds=0.0, error=fault
    )
    return replace(write_first(work), failed=(lost,))


def test_a_knee_that_lost_a_bone_goes_on_and_the_bone_stays_a_failure_when_it_is_skipped(
    tmp_path: Path,
) -> None:
    stages = (replace(STAGES[0], function=write_first_and_lose_a_bone), *STAGES[1:])
    for status in ("done", "skipped"):
        found = run(tmp_path, stages=stages).found
        assert [o.subject for o in found if o.status == "failed"] == [f"{knee.key} femur" for knee in KNEES]
        assert [o.status for o in found if o.status != "failed"] == [status] * 7


def tables(root: Path) -> dict[str, bytes]:
    files = (path for path in (root / "tables").rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_the_cluster_and_a_plain_loop_write_the_same_bytes(cluster: ClusterConfig, tmp_path: Path) -> None:
    run(tmp_path / "loop")
    run(tmp_path / "ray", executor=RayExecutor(cluster))
    assert tables(tmp_path / "loop") == tables(tmp_path / "ray")
    assert len(tables(tmp_path / "loop")) == 7


def test_a_stage_cannot_open_what_it_does_not_declare(tmp_path: Path) -> None:
    undeclared = (STAGES[0], replace(STAGES[1], needs=()), STAGES[2])
    found = run(tmp_path, stages=undeclared)
    errors = {outcome.error.code for outcome in found.found if outcome.stage == "second" and outcome.error}
    assert errors == {"path-undeclared"}


def test_a_stage_over_the_whole_cohort_that_fails_ends_the_run(tmp_path: Path) -> None:
    def refuse(_: Work[NoSettings]) -> Produced:
        raise InputError("toy-fault", "nothing to join")

    with pytest.raises(InputError, match="toy-fault"):
        run(tmp_path, stages=(*STAGES[:2], replace(STAGES[2], function=refuse)))


def write_half(work: Work[NoSettings]) -> Produced:
    """Leave half a file in the folder of a knee, as a worker does that is killed while it writes."""
    half = work.layout.root / "volumes" / work.item.name / ".ct.ome.zarr.0123456789ab.partial"
    half.mkdir(parents=True)
    (half / "zarr.json").write_text("{")
    raise InputError("toy-fault", "bad knee", where=work.item.name)


def test_half_of_a_file_of_a_knee_that_never_succeeds_is_removed(tmp_path: Path) -> None:
    stage = Stage(name="half", scope="knee", function=write_half, settings=NoSettings)
    assert set(run(tmp_path, stages=(stage,)).statuses().values()) == {"failed"}
    assert list((tmp_path / "volumes").rglob("*.partial")) == []


@pytest.mark.parametrize("resumes", [False, True])
def test_half_of_a_file_beside_what_is_skipped_is_removed_after_a_run_that_was_cut_short(
    tmp_path: Path, resumes: bool
) -> None:
    run(tmp_path)
    half = tmp_path / "volumes" / KNEES[0].key / ".ct.ome.zarr.0123456789ab.partial"
    half.mkdir(parents=True)
    assert set(run(tmp_path, resumes=resumes).statuses().values()) == {"skipped"}
    assert half.exists() is not resumes


def graph_of(root: Path, stages: tuple[AnyStage, ...], knees: int) -> StageGraph:
    many = {f"shard-{n:05d}": tuple(KNEES) for n in range(knees)}
    return StageGraph(
        runner=Runner(executor=PlainLoop()), layout=RunLayout(root=root), stages=stages,
        inputs=replace(inputs(ToyConfig()), shards=many), remaining=list(KNEES),
    )  # fmt: skip


def test_a_task_is_as_large_for_many_knees_as_for_one(tmp_path: Path) -> None:
    sizes = {len(pickle.dumps(graph_of(tmp_path, STAGES, knees)._task(STAGES[0]))) for knees in (1, 500)}
    assert len(sizes) == 1


def test_items_of_a_stage_that_needs_shards_carry_their_shard_and_others_do_not(tmp_path: Path) -> None:
    shard = Stage(name="shards", scope="shard", function=write_second, settings=NoSettings)
    reader = Stage(name="reader", scope="knee", function=write_second, settings=NoSettings, needs=("shards",))
    graph = StageGraph(
        runner=Runner(executor=PlainLoop()), layout=RunLayout(root=tmp_path), stages=(shard, reader),
        inputs=inputs(ToyConfig()), remaining=list(KNEES),
    )  # fmt: skip
    assert [item.name for item in graph._items(shard)] == ["shard-00000", "shard-00001"]
    graph.hashes = {("shards", "shard-00000"): "a", ("shards", "shard-00001"): "b"}
    assert [item.shard for item in graph._items(reader)] == ["shard-00000", "shard-00000", "shard-00001"]


def test_a_stage_that_is_not_known_is_named_with_those_that_are() -> None:
    from srrd_ray.pipeline.stages import stages_until

    with pytest.raises(ConfigError, match=r"stage-unknown.*got regster, expected ingest, learn-synthesis"):
        stages_until("regster")
