"""One work item over the cohort on a worker: its errors arrive as they were raised, and a worker that dies is replaced."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from srrd_ray.cluster.remote import run_remote
from srrd_ray.core.errors import ClusterError, CohortError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.sidecars import find_up_to_date
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.storage.layout import RunLayout

ITEM = WorkItem(name="cohort", input_hash="k")


@dataclass(frozen=True)
class Gather:
    """Writes the id of its process; kills its worker in the first `dies` tries, or waits, or refuses the cohort."""

    root: Path
    dies: int = 0
    waits: bool = False
    refuses: bool = False

    def __call__(self, _: WorkItem) -> Produced:
        tries = self.root / "tries"
        tries.open("a").write("x")
        if len(tries.read_text()) <= self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.waits:
            signal.pause()
        if self.refuses:
            raise CohortError("toy-fault", "this cohort is bad", got="2 of it", todo="Leave it.")
        (self.root / "out.txt").write_text(str(os.getpid()))
        return Produced(paths=(self.root / "out.txt",))


def carried_out(function: Gather, cluster: ClusterConfig) -> str:
    layout = RunLayout(root=function.root)
    run_remote(Task(stage="toy", layout=layout, function=function), ITEM, cluster)
    assert find_up_to_date(layout, "toy", ITEM.name, ITEM.input_hash) is not None
    return (function.root / "out.txt").read_text()


def test_an_item_is_carried_out_by_another_process(cluster: ClusterConfig, tmp_path: Path) -> None:
    assert int(carried_out(Gather(tmp_path), cluster)) != os.getpid()


def test_its_error_arrives_as_it_was_raised(cluster: ClusterConfig, tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        carried_out(Gather(tmp_path, refuses=True), cluster)
    assert (caught.value.code, caught.value.got, caught.value.todo) == ("toy-fault", "2 of it", "Leave it.")
    assert find_up_to_date(RunLayout(root=tmp_path), "toy", ITEM.name, ITEM.input_hash) is None


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_until_its_tries_are_spent(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    patient = replace(cluster, task_retries=1)
    for name, dies in (("some", 2), ("all", 3)):
        (tmp_path / name).mkdir()
        function = Gather(tmp_path / name, dies=dies)
        if name == "some":
            assert carried_out(function, patient)
        else:
            with pytest.raises(ClusterError, match="worker-lost") as caught:
                carried_out(function, patient)
            assert "died 3 times" in str(caught.value)


def test_an_item_that_never_ends_is_stopped(cluster: ClusterConfig, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    carried_out(Gather(tmp_path / "before"), cluster)  # a worker is there: its start does not count
    with pytest.raises(ClusterError, match="stage-stalled"):
        carried_out(Gather(tmp_path, waits=True), replace(cluster, stall_seconds=3))
    assert (tmp_path / "tries").read_text() == "x"
