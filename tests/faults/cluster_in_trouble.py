"""A cluster of its own that meets with trouble, in a process of its own: ``python -m tests.faults.cluster_in_trouble KIND OUT``.

Prints one JSON object: the outcomes of six small units as {unit: code or "done"}, or the code of the error that stopped the stage
or the training.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from srrd_ray.cluster.session import session
from srrd_ray.cluster.training import Training, fit
from srrd_ray.core.errors import SrrdError
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.lock import locked
from srrd_ray.execution.runner import Engine, Stage
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.manifest import Ledger
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.layout import RunLayout
from tests.cluster.test_training import LineLearner

KNEES = tuple(Knee(participant=f"{number:03d}", side="L") for number in range(6))
GREEDY = KNEES[2].key
STEPS = 20


@dataclass(frozen=True)
class Write:
    """Writes one folder a unit in twenty small steps over two seconds, as a stage writes its shards; one unit may take much memory."""

    root: Path
    hog_mb: int = 0

    def __call__(self, unit: WorkItem) -> Produced:
        hog = bytearray(self.hog_mb * 2**20) if unit.name == GREEDY else bytearray()
        for at in range(0, len(hog), 4096):
            hog[at] = 1
        path = self.root / "out" / unit.name
        with replacing(path) as beside:
            beside.mkdir()
            for step in range(STEPS):
                (beside / f"{step}.txt").write_text(f"{unit.name} {step}")
                time.sleep(0.1)
        return Produced(paths=(path,))


def stage(out: Path, config: ClusterConfig, act: Write, knees: Sequence[Knee] = KNEES) -> dict[str, str]:
    """Carry the units out as the pipeline does and say what became of them."""
    ledger = Ledger(layout=RunLayout(root=out), config=RunConfig(cluster=config), cohort="ab" * 32)
    engine = Engine(ledger=ledger, knees=list(knees))
    stopped: dict[str, str] = {}
    try:
        with locked(out), engine.cluster:
            engine.each_knee(Stage(name="toy", settings=None, needs=lambda _: []), act)
    except SrrdError as error:
        stopped["stopped"] = str(error)
    return {o.knee.key: o.error.message if o.error else "done" for o in ledger.outcomes if o.knee} | stopped


@contextmanager
def joined(cpus: int, nodes: int) -> Iterator[Callable[[], None]]:
    """Join a head without CPUs and some nodes; yields what takes the last of them away, without a farewell."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=0, object_store_memory=80_000_000)
    added = [cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000) for _ in range(nodes)]
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield lambda: cluster.remove_node(added[-1], allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()


def node_lost(out: Path) -> dict[str, str]:
    """One of two nodes is removed as soon as it writes."""
    with joined(cpus=2, nodes=2) as remove:
        struck: list[str] = []
        threading.Thread(target=_when_writing, args=(out / "out", remove, struck), daemon=True).start()
        return stage(out, ClusterConfig(knee_memory_mb=64), Write(out)) | {"struck": " ".join(struck)}


def _when_writing(folder: Path, strike: Callable[[], None], struck: list[str]) -> None:
    while (
        len(list(folder.glob(".*partial/5.txt"))) < 3
    ):  # four at a time: one of them at least is on the node that goes
        time.sleep(0.02)
    strike()
    struck.append("while writing")


def memory_short(out: Path) -> dict[str, str]:
    """One unit takes more memory than the machine gives: Ray's monitor kills its worker, every time."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines}
    share = 1 - (kib["MemAvailable:"] - 2**21) / kib["MemTotal:"]
    os.environ |= {"RAY_memory_usage_threshold": f"{share:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    config = ClusterConfig(cpus=2, task_retries=1, knee_memory_mb=64)
    return stage(out, config, Write(out, hog_mb=6144))


def not_shared(out: Path) -> dict[str, str]:
    """The only node that works sees another folder where the run's should be."""
    import ray

    out.mkdir(parents=True, exist_ok=True)
    with joined(cpus=0, nodes=0), hidden_from(out, ray.get_runtime_context().gcs_address):
        until = time.monotonic() + 60
        while ray.cluster_resources().get("CPU", 0) < 2 and time.monotonic() < until:
            time.sleep(0.5)
        return stage(out, ClusterConfig(knee_memory_mb=64), Write(out), KNEES[:2])  # each waits ten seconds for it


class SlowLearner(LineLearner):
    """A line learnt so slowly that it can be struck while it learns."""

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Learn, and rest."""
        time.sleep(0.5)
        return super().train_epoch(epoch, shard, wrapped)


def slowly() -> Iterator[Learner]:
    """Yield one slow learner."""
    yield SlowLearner("line", 12)


def guide_lost(out: Path) -> dict[str, str]:
    """The process that guides a training is killed in its fourth epoch; nobody strikes where the folder `calm` is trained into."""
    training = Training(name="slow", learners=slowly, storage=out, checkpoint_seconds=0.0)
    config = ClusterConfig(cpus=2)
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if out.name == "struck" and len(lines) == 4 and "epoch 4/" in line:
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


def main() -> None:
    kind, out = sys.argv[1], Path(sys.argv[2])
    kinds = {"node-lost": node_lost, "memory-short": memory_short, "not-shared": not_shared, "guide-lost": guide_lost}
    sys.stdout.write("\n" + json.dumps(kinds[kind](out)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what is left of the cluster is not waited for


if __name__ == "__main__":
    main()
