"""A cluster that meets with trouble, in a process of its own: ``python -m tests.faults.cluster_in_trouble OUT KIND…``.

Troubles of one call meet the same cluster, one after the other, each on nodes and in a folder (``OUT/KIND``) of its own. Prints
one JSON object: of each kind the outcomes of six small units as {unit: code or "done"}, or the code of the error that stopped the
stage or the training.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from torch import nn

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.cluster.session import session
from srrd_ray.cluster.training import fit
from srrd_ray.core.errors import SrrdError
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.listeners import Cleaner
from srrd_ray.execution.lock import LOCK, locked
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.training import Training
from srrd_ray.execution.work import Produced, Task, WorkItem
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.layout import RunLayout
from tests.cluster.test_training import LineLearner

KNEES = tuple(Knee(participant=f"{number:03d}", side="L") for number in range(6))
GREEDY = KNEES[2].key
STEPS = 20
RETRIES = 1
STORE = 80_000_000
"""Bytes of the object store of a node."""


@dataclass(frozen=True)
class Write:
    """Writes one folder a work item in twenty small steps over two seconds, as a stage writes its shards; one may take much memory."""

    root: Path
    hog_mb: int = 0
    waits_for: Path | None = None
    """A file without which nobody goes on half way, for a minute at most."""

    def __call__(self, item: WorkItem) -> Produced:
        hog = bytearray(self.hog_mb * 2**20) if item.name == GREEDY else bytearray()
        for at in range(0, len(hog), 4096):
            hog[at] = 1
        path = self.root / "out" / item.name
        with replacing(path) as beside:
            beside.mkdir()
            for step in range(STEPS):
                (beside / f"{step}.txt").write_text(f"{item.name} {step}")
                time.sleep(0.1)
                if step == STEPS // 2:
                    self._wait()
        return Produced(paths=(path,))

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while self.waits_for is not None and not self.waits_for.exists() and time.monotonic() < until:
            time.sleep(0.05)


def stage(out: Path, config: ClusterConfig, function: Write, knees: Sequence[Knee] = KNEES) -> dict[str, str]:
    """Carry out the work items as the pipeline does and return what became of them."""
    layout = RunLayout(root=out)
    task = Task(stage="toy", layout=layout, function=function, shared_storage_probe=out / LOCK)
    items = [WorkItem(name=knee.key, input_hash="toy", knees=(knee,)) for knee in knees]
    found: dict[str, str] = {}
    try:
        with locked(out), Runner(executor=RayExecutor(config), listeners=(Cleaner(layout=layout),)) as runner:
            for item, result, _ in runner.run_items(task, items):
                (outcome,) = result.outcomes
                found[item.name] = outcome.error.message if outcome.error else "done"
    except SrrdError as error:
        found["stopped"] = str(error)
    return found


@contextmanager
def joined() -> Iterator[Cluster]:
    """Join a head without CPUs; a node that is gone is missed within seconds."""
    cluster = Cluster()
    missed = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 1000,
        "health_check_failure_threshold": 3,
    }
    cluster.add_node(num_cpus=0, object_store_memory=STORE, _system_config=missed)
    os.environ |= {"RAY_task_oom_retries": str(RETRIES)}
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def node_lost(out: Path, cluster: Cluster) -> dict[str, str]:
    """One of two nodes is removed as soon as it writes, without a farewell."""
    _, last = (cluster.add_node(num_cpus=2, object_store_memory=STORE) for _ in range(2))
    killed: list[str] = []
    gone = out / ".state" / "node-gone"

    def kill() -> None:
        at_work = out / "out"
        while (
            len(list(at_work.glob(".*partial/5.txt"))) < 3
        ):  # of four at a time: one at least is on that node
            time.sleep(0.02)
        cluster.remove_node(last, allow_graceful=False)
        killed.append("while writing")
        gone.parent.mkdir(exist_ok=True)
        gone.touch()

    threading.Thread(target=kill, daemon=True).start()
    return stage(out, ClusterConfig(knee_memory_mb=64), Write(out, waits_for=gone)) | {
        "killed": " ".join(killed)
    }


def memory_short(out: Path, cluster: Cluster) -> dict[str, str]:
    """One unit takes more memory than the machine gives: Ray's monitor kills its worker, every time."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines}
    share = 1 - (kib["MemAvailable:"] - 2**21) / kib["MemTotal:"]
    limits = {"RAY_memory_usage_threshold": f"{share:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    os.environ |= limits
    node = cluster.add_node(num_cpus=2, object_store_memory=STORE)
    for name in limits:
        del os.environ[name]
    try:
        config = ClusterConfig(cpus=2, task_retries=RETRIES, knee_memory_mb=64)
        return stage(out, config, Write(out, hog_mb=6144))
    finally:
        cluster.remove_node(node)
        wait_for_cpus(0)


def not_shared(out: Path, cluster: Cluster) -> dict[str, str]:
    """The only node that works sees another folder where the run's should be."""
    out.mkdir(parents=True)
    with hidden_from(out, cluster.address):
        wait_for_cpus(2)
        found = stage(
            out, ClusterConfig(knee_memory_mb=64), Write(out), KNEES[:2]
        )  # each waits ten seconds for it
    wait_for_cpus(0)
    return found


def wait_for_cpus(count: int) -> None:
    """Wait until the cluster has so many CPUs."""
    until = time.monotonic() + 120
    while ray.cluster_resources().get("CPU", 0) != count:
        assert time.monotonic() < until, f"not {count} CPUs: {ray.cluster_resources()}"
        time.sleep(0.2)


class SlowLearner(LineLearner):
    """A line learnt so slowly that it can be killed while it learns."""

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Learn, and rest."""
        time.sleep(0.5)
        return super().train_epoch(epoch, shard, wrapped)


def slowly() -> Iterator[Learner]:
    """Yield one slow learner."""
    yield SlowLearner("line", 12)


def guide_lost(out: Path) -> dict[str, str]:
    """The process that guides a training is killed in its fourth epoch; nobody kills it where the folder `calm` is trained into."""
    training = Training(name="slow", learners=slowly, storage=out, checkpoint_seconds=0.0)
    config = ClusterConfig(cpus=2)
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if out.name == "killed" and len(lines) == 4 and "epoch 4/" in line:
            os.kill(guide(), signal.SIGKILL)

    with session(config):
        try:
            fit(training, config, progress)
        except SrrdError as error:
            return {"stopped": str(error)}
    return {"first": lines[0]}


def guide() -> int:
    """Return the process of Ray Train's controller: that below this process, others may be at work."""
    (pid,) = (
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes().startswith(b"ray::TrainController") and os.getpid() in _above(path.parent.name)
    )
    return pid


def _above(pid: str) -> Iterator[int]:
    """Yield the process that began a process, the one that began that, and so on."""
    while int(pid) > 1:
        pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        yield int(pid)


@contextmanager
def hidden_from(folder: Path, address: str) -> Iterator[None]:
    """Run a node of two CPUs that has an empty folder of its own in place of `folder`."""
    mounted = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, "sh", str(folder)]
    command += [str(Path(sys.executable).parent / "ray"), "start", "--block", f"--address={address}"]
    command += ["--num-cpus=2", "--object-store-memory=80000000"]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        node.terminate()
        node.wait()


def main() -> None:
    out, kinds = Path(sys.argv[1]), sys.argv[2:]
    found = {"guide-lost": guide_lost(out)} if kinds == ["guide-lost"] else in_turn(out, kinds)
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what is left of the cluster is not waited for


def in_turn(out: Path, kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what became of the units in each trouble."""
    troubles = {"not-shared": not_shared, "memory-short": memory_short, "node-lost": node_lost}
    with joined() as cluster:
        return {kind: troubles[kind](out / kind, cluster) for kind in kinds}


if __name__ == "__main__":
    main()
