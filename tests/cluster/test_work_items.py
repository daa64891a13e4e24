"""Ray Data carries out work items; a bad one fails alone, and the order of arrival does not matter."""

from __future__ import annotations

import ast
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cluster.session import session
from srrd_ray.cluster.work_items import spread
from srrd_ray.core.errors import ClusterError, InputError
from srrd_ray.core.records import Knee, Outcome
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.sidecars import find_up_to_date, read_sidecar
from srrd_ray.execution.work import Produced, Task, WorkItem, run_safely
from srrd_ray.storage.layout import RunLayout

KNEES = tuple(Knee(participant=f"{i:03d}", side="L") for i in range(6))
ITEMS = tuple(WorkItem(name=knee.key, input_hash="k", knees=(knee,)) for knee in KNEES)


ROOT = Path(__file__).resolve().parents[2]
RELEASED = "released"


class Write:
    """Writes one small file for each work item; refuses one knee, dies on another, and does not end on a third."""

    def __init__(self, root: Path, *, refuses: str = "", dies: str = "", hangs: str = "") -> None:
        self.root, self.refuses, self.dies, self.hangs = root, refuses, dies, hangs

    def __call__(self, item: WorkItem) -> Produced:
        if item.name == self.refuses:
            raise InputError("toy-fault", "this knee is bad", where=item.name, todo="Leave it.")
        if item.name == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        while item.name == self.hangs and not (self.root / RELEASED).exists():
            time.sleep(0.2)
        path = self.root / "out" / f"{item.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(item.name)
        return Produced(paths=(path,))


def run(function: Write, cluster: ClusterConfig) -> dict[str, Outcome]:
    task = Task(stage="toy", layout=RunLayout(root=function.root), function=function)
    found = [o for result in spread(task, ITEMS, cluster) for o in result.outcomes]
    return {o.knee.key: o for o in found if o.knee is not None}


def bytes_below(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_cluster_and_a_plain_loop_write_the_same_bytes(cluster: ClusterConfig, tmp_path: Path) -> None:
    run(Write(tmp_path / "ray"), cluster)
    plain = tmp_path / "loop"
    for item in ITEMS:
        run_safely(Task(stage="toy", layout=RunLayout(root=plain), function=Write(plain)), item)
    assert bytes_below(tmp_path / "ray") == bytes_below(plain)
    assert len(bytes_below(plain)) == 2 * len(ITEMS)


def test_a_refused_knee_fails_alone_with_its_code_and_words(cluster: ClusterConfig, tmp_path: Path) -> None:
    outcomes = run(Write(tmp_path, refuses=KNEES[2].key), cluster)
    bad = outcomes[KNEES[2].key].error
    assert bad is not None
    assert bad.code == "toy-fault"
    assert "Leave it." in bad.message
    assert sum(o.status == "done" for o in outcomes.values()) == 5
    assert read_sidecar(RunLayout(root=tmp_path), "toy", KNEES[2].key) is None


@pytest.mark.slow
def test_a_knee_that_always_kills_its_worker_is_given_up_and_the_others_finish(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    outcomes = run(Write(tmp_path, dies=KNEES[4].key), replace(cluster, task_retries=1))
    lost = outcomes[KNEES[4].key].error
    assert lost is not None
    assert lost.code == "worker-lost"
    assert sum(o.status == "done" for o in outcomes.values()) == 5


@pytest.mark.slow
def test_a_stage_in_which_nothing_ends_any_more_stops_with_a_message(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    hasty = replace(cluster, stall_seconds=5)
    words = (
        rf"stage-stalled.*open, the first of them .*{KNEES[2].key}.*nothing ended for 5 s.*finished work is kept.*"
        r"raise cluster\.stall_seconds"
    )
    with session(hasty), pytest.raises(ClusterError, match=words):
        run(Write(tmp_path, hangs=KNEES[2].key), hasty)
    assert not (tmp_path / "out" / f"{KNEES[2].key}.txt").exists()
    (tmp_path / RELEASED).touch()  # or it would hold a CPU that other tests need
    with session(cluster):
        pass  # its patience is set again


def test_no_dataset_uses_a_pool_of_actors_and_every_one_says_how_often_it_is_tried_again() -> None:
    """Where blocks may be lost, a dead actor of a pool is not replaced: rows are lost, or all wait (ray#62746)."""
    texts = (path.read_text() for path in sorted((ROOT / "srrd_ray").rglob("*.py")))
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not names & {"ActorPoolStrategy", "map_batches", "flat_map", "TaskPoolStrategy"}
    keys = [{key.arg for key in node.keywords} for node in nodes if isinstance(node, ast.Call)]
    assert not [found for found in keys if found & {"compute", "concurrency", "fn_constructor_args"}]
    datasets = [found for found in keys if {"num_cpus", "memory"} <= found]
    assert datasets
    assert all("max_retries" in found for found in datasets)


def test_a_deleted_or_shortened_output_makes_its_work_item_unfinished(tmp_path: Path) -> None:
    layout = RunLayout(root=tmp_path)
    run_safely(Task(stage="toy", layout=layout, function=Write(tmp_path)), ITEMS[0])
    assert find_up_to_date(layout, "toy", ITEMS[0].name, "k") is not None
    assert find_up_to_date(layout, "toy", ITEMS[0].name, "another key") is None
    (tmp_path / "out" / f"{ITEMS[0].name}.txt").write_text("")
    assert find_up_to_date(layout, "toy", ITEMS[0].name, "k") is None
