"""ray#63968, ray#66225: the worker of rank 0, which alone writes checkpoints, is lost or its node preempted;
Ray's help for preempted workers leaves rank 0 out.

``PYTHONPATH=. python benchmarks/engine/rank_zero.py [killed] [preempted]`` trains a line for forty epochs
on two of three nodes with a checkpoint after each: undisturbed; with rank 0 killed in its fifth epoch;
killed as soon as a new checkpoint appears in storage; and with its node told that it will be preempted in 8
s, and then gone. Prints which epochs were learnt twice, and whether the weights are the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

import torch
from own_ray import own_cluster, ray
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from refused_checkpoints import Line
from torch import nn

from srrd_ray.cluster.training import fit
from srrd_ray.core.errors import SrrdError
from srrd_ray.core.learner import Learner, Shard
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.training import Training
from srrd_ray.storage.weights import load_tensors

NOTICE_S = 8


class Watched(Line):
    """A line, learnt for 20 s and more, whose worker of rank 0 tells its process and node."""

    epochs = 40

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:  # noqa: D102
        if shard.rank == 0:
            told = {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id(), "epoch": epoch}
            (self.root / "told").write_text(json.dumps(told))
            (self.root / "told").replace(self.root / "rank-0.json")
        return super().train_epoch(epoch, shard, wrapped)


def learners(root: Path) -> Iterator[Learner]:
    yield Watched(root)


@dataclass(frozen=True)
class Trouble:
    """What happens to rank 0 of the training below `root`, on `cluster`."""

    root: Path
    cluster: Cluster

    def told(self) -> dict[str, object]:
        """Return what rank 0 told last, once it is in its fifth epoch."""
        path = self.root / "rank-0.json"
        while not path.exists() or json.loads(path.read_text())["epoch"] < 4:
            time.sleep(0.05)
        return json.loads(path.read_text())

    def killed(self) -> None:
        """Kill it."""
        os.kill(self.told()["pid"], signal.SIGKILL)

    def killed_while_it_saves(self) -> None:
        """Kill it as soon as there is another checkpoint."""
        told, before = self.told(), set(self.root.glob("line/checkpoint_*"))
        while set(self.root.glob("line/checkpoint_*")) <= before:
            time.sleep(0.001)
        os.kill(told["pid"], signal.SIGKILL)

    def preempted(self) -> None:
        """Tell its node that it will be taken away, and take it away."""
        node = str(self.told()["node"])
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline = int((time.time() + NOTICE_S) * 1000)
        ray._raylet.GcsClient(self.cluster.address).drain_node(node, reason, "spot", deadline)
        time.sleep(NOTICE_S)
        (gone,) = (one for one in self.cluster.worker_nodes if one.node_id == node)
        self.cluster.remove_node(gone, allow_graceful=False)


def train(name: str, cluster: Cluster, trouble: Callable[[Trouble], None] | None) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        training = Training(
            name="line", learners=partial(learners, root), storage=root, checkpoint_seconds=0.0
        )
        if trouble:
            Thread(target=trouble, args=(Trouble(root, cluster),), daemon=True).start()
        began, end, weights = time.monotonic(), "ended", {}
        try:
            weights = load_tensors(fit(training, ClusterConfig(), lambda _: None) / "line.safetensors")[0]
        except SrrdError as error:
            end = str(error)[:150]
        epochs = [json.loads(line)["epoch"] for line in training.log.read_text().splitlines()]
        again = sorted({epoch for epoch in epochs if epochs.count(epoch) > 1})
        print(f"{name}: {end} in {time.monotonic() - began:.0f} s, epochs again {again}", end="", flush=True)
        return weights


def main() -> None:
    troubles = {
        "killed": Trouble.killed,
        "killed while it saves": Trouble.killed_while_it_saves,
        "preempted": Trouble.preempted,
    }
    with own_cluster() as cluster:
        for _ in range(3):
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        calm = train("undisturbed", cluster, None)
        print()
        for name in sys.argv[1:] or troubles:
            weights = train(name, cluster, troubles[name])
            same = bool(weights) and all(torch.equal(calm[key], weights[key]) for key in calm)
            print(f", {'same' if same else 'NOT THE SAME'} weights", flush=True)


if __name__ == "__main__":
    main()
