"""The plan of a run names exactly what the run then does, whatever has changed since the last one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from srrd_ray.core.records import Knee, Outcome
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.execution.graph import StageGraph
from srrd_ray.execution.plan import Planned, plan_stage
from srrd_ray.execution.runner import Runner
from srrd_ray.storage.layout import RunLayout
from tests.execution.toy_stages import KNEES, STAGES, ToyConfig, inputs, run

STATUS_OF = {"skip": "skipped", "do": "done", "redo": "done", "retry": "failed"}


def plan(
    root: Path, config: ToyConfig | None = None, found: list[Outcome] | None = None, *, verify: bool = False
) -> dict[str, Planned]:
    """Return the plan of the toy stages, after the outcomes of a last run."""
    graph = StageGraph(
        runner=Runner(executor=PlainLoop(), verify=verify), layout=RunLayout(root=root), stages=STAGES,
        inputs=inputs(config or ToyConfig()), remaining=list(KNEES),
    )  # fmt: skip
    failed = {(o.stage, o.lost_knee): o for o in found or () if o.lost_knee is not None}
    planned = [(stage.name, one) for stage in STAGES for one in plan_stage(graph, stage, failed)]
    return {f"{stage} {_participant(one)}": one for stage, one in planned}


def _participant(one: Planned) -> str:
    return one.item.knees[0].participant if one.item.knees else "cohort"


def actions(planned: Mapping[str, Planned]) -> dict[str, str]:
    return {name: one.action for name, one in planned.items()}


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(root.rglob("*"))}


def delete(root: Path) -> None:
    RunLayout(root=root).part("first", KNEES[1]).unlink()


def flip(root: Path) -> None:
    path = RunLayout(root=root).part("second", KNEES[1])
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def tear_sidecar(root: Path) -> None:
    RunLayout(root=root).sidecar("second", KNEES[1].key).write_text("{")


def nothing(_: Path) -> None:
    """Change nothing."""


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("config", [ToyConfig(), ToyConfig(seed=2), ToyConfig(unused=3)])
@pytest.mark.parametrize("change", [nothing, delete, flip, tear_sidecar])
@pytest.mark.parametrize("bad", [None, KNEES[0], KNEES[2]])
def test_a_run_does_what_its_plan_says_and_the_plan_writes_nothing(
    tmp_path: Path, bad: Knee | None, change: Callable[[Path], None], config: ToyConfig, verify: bool
) -> None:
    if bad is not None:
        (tmp_path / "bad").write_text(bad.key)
    last = run(tmp_path).found
    change(tmp_path)
    before = snapshot(tmp_path)
    planned = plan(tmp_path, config, last, verify=verify)
    assert snapshot(tmp_path) == before
    then = run(tmp_path, config, verify=verify).statuses()
    assert {name: STATUS_OF[action] for name, action in actions(planned).items()} == then


def test_the_plan_of_the_first_run_is_to_do_everything(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    assert set(actions(planned).values()) == {"do"}
    assert list(tmp_path.iterdir()) == []
    assert planned.keys() == run(tmp_path).statuses().keys()


def test_what_depends_on_what_is_redone_names_its_stage(tmp_path: Path) -> None:
    run(tmp_path)
    delete(tmp_path)
    planned = plan(tmp_path)
    assert actions(planned) | {"first 1": "redo", "second 1": "redo", "last cohort": "redo"} == actions(
        planned
    )
    assert planned["first 1"].redone == ()
    assert planned["second 1"].redone == ("first",)
    assert planned["last cohort"].redone == ("second",)


def test_a_knee_that_failed_is_retried_and_nothing_else_is_done_for_it(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(KNEES[0].key)
    planned = plan(tmp_path, found=run(tmp_path).found)
    assert planned["first 0"].action == "retry"
    assert "second 0" not in planned
    assert {one.action for name, one in planned.items() if name != "first 0"} == {"skip"}


def test_what_a_run_that_was_cut_short_left_undone_is_redone_by_its_inputs(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, ToyConfig(seed=2), stages=STAGES[:1])
    planned = plan(tmp_path, ToyConfig(seed=2))
    assert {name: one.action for name, one in planned.items() if name.startswith("first")} == {
        f"first {knee.participant}": "skip" for knee in KNEES
    }
    assert (planned["second 0"].action, planned["second 0"].redone) == ("redo", ())
    assert (planned["last cohort"].action, planned["last cohort"].redone) == ("redo", ("second",))
    then = run(tmp_path, ToyConfig(seed=2)).statuses()
    assert {name: STATUS_OF[action] for name, action in actions(planned).items()} == then
