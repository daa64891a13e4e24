"""Ray Data carries out units of work; a bad unit fails alone, and the order of arrival does not matter."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.cluster.config import ClusterConfig
from srrd_ray.cluster.foreach import foreach
from srrd_ray.cluster.session import session
from srrd_ray.errors import ClusterError, InputError
from srrd_ray.layout import RunLayout
from srrd_ray.records import Knee, Outcome
from srrd_ray.resume import find_sidecar, finished
from srrd_ray.work import Produced, Task, Unit, perform

KNEES = tuple(Knee(participant=f"{i:03d}", side="L") for i in range(6))
UNITS = tuple(Unit(name=knee.key, key="k", knees=(knee,)) for knee in KNEES)


class Write:
    """Writes one small file for each unit; refuses one knee, dies on another, and does not end on a third."""

    def __init__(self, root: Path, *, refuses: str = "", dies: str = "", hangs: str = "") -> None:
        self.root, self.refuses, self.dies, self.hangs = root, refuses, dies, hangs

    def __call__(self, unit: Unit) -> Produced:
        if unit.name == self.refuses:
            raise InputError("toy-fault", "this knee is bad", where=unit.name, todo="Leave it.")
        if unit.name == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.name == self.hangs:
            time.sleep(600)
        path = self.root / "out" / f"{unit.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit.name)
        return Produced(paths=(path,))


def run(act: Write, cluster: ClusterConfig) -> dict[str, Outcome]:
    task = Task(stage="toy", layout=RunLayout(root=act.root), act=act)
    found = [o for outcomes in foreach(task, UNITS, cluster) for o in outcomes]
    return {o.knee.key: o for o in found if o.knee is not None}


def bytes_below(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_cluster_and_a_plain_loop_write_the_same_bytes(cluster: ClusterConfig, tmp_path: Path) -> None:
    run(Write(tmp_path / "ray"), cluster)
    plain = tmp_path / "loop"
    for unit in UNITS:
        perform(Task(stage="toy", layout=RunLayout(root=plain), act=Write(plain)), unit)
    assert bytes_below(tmp_path / "ray") == bytes_below(plain)
    assert len(bytes_below(plain)) == 2 * len(UNITS)


def test_a_refused_knee_fails_alone_with_its_code_and_words(cluster: ClusterConfig, tmp_path: Path) -> None:
    outcomes = run(Write(tmp_path, refuses=KNEES[2].key), cluster)
    bad = outcomes[KNEES[2].key].error
    assert bad is not None
    assert bad.code == "toy-fault"
    assert "Leave it." in bad.message
    assert sum(o.status == "done" for o in outcomes.values()) == 5
    assert find_sidecar(RunLayout(root=tmp_path), "toy", KNEES[2].key) is None


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
def test_a_stage_in_which_nothing_ends_any_more_stops_in_words(cluster: ClusterConfig, tmp_path: Path) -> None:
    hasty = replace(cluster, stall_seconds=5)
    with (
        session(hasty),
        pytest.raises(ClusterError, match=r"stage-stalled.*finished units are kept"),
    ):
        run(Write(tmp_path, hangs=KNEES[2].key), hasty)
    with session(cluster):  # its patience is set again
        assert not (tmp_path / "out" / f"{KNEES[2].key}.txt").exists()


def test_a_deleted_or_shortened_output_makes_its_unit_unfinished(tmp_path: Path) -> None:
    layout = RunLayout(root=tmp_path)
    perform(Task(stage="toy", layout=layout, act=Write(tmp_path)), UNITS[0])
    assert finished(layout, "toy", UNITS[0].name, "k") is not None
    assert finished(layout, "toy", UNITS[0].name, "another key") is None
    (tmp_path / "out" / f"{UNITS[0].name}.txt").write_text("")
    assert finished(layout, "toy", UNITS[0].name, "k") is None
