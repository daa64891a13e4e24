"""ray#62746, ray#59796: spot nodes come and go while memory is short, so that workers die of both, again and
again.

``PYTHONPATH=. python benchmarks/engine/kills_under_pressure.py [KILLS]`` carries out twelve work items of a
few seconds on two nodes; one item needs more memory than the monitor allows, and every six seconds a node
is removed without notice and replaced, KILLS times (5). Prints what became of every item, and whether
anything half written is left.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from own_ray import own_cluster
from page_cache import threshold
from ray.cluster_utils import Cluster

from srrd_ray.core.records import Knee
from srrd_ray.execution.config import ClusterConfig
from tests.faults.cluster_in_trouble import GREEDY, STEPS, Write, stage

KNEES = tuple(Knee(participant=f"{number:03d}", side="L") for number in range(12))
EVERY_S, HOG_MB, NODE = 6.0, 6144, {"num_cpus": 1, "object_store_memory": 80_000_000}


def kill(cluster: Cluster, kills: int, ended: Callable[[], bool]) -> int:
    """Remove a node at random and add another, again and again; return how often.

    In the main thread: Ray starts a node nowhere else.
    """
    rng, killed = random.Random(0), 0
    while killed < kills and not ended():
        time.sleep(EVERY_S)
        nodes = sorted(cluster.worker_nodes, key=lambda node: node.node_id)
        cluster.remove_node(rng.choice(nodes), allow_graceful=False)
        cluster.add_node(**NODE)
        killed += 1
    return killed


def main() -> None:
    os.environ |= {
        "RAY_memory_usage_threshold": threshold(),
        "RAY_memory_monitor_refresh_ms": "100",
        "RAY_task_oom_retries": "1",
    }
    with own_cluster() as cluster, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            cluster.add_node(**NODE)
        out, began = Path(folder) / "run", time.monotonic()
        config = ClusterConfig(knee_memory_mb=64, stall_seconds=300)
        staged = pool.submit(stage, out, config, Write(out, hog_mb=HOG_MB), KNEES)
        killed = kill(cluster, int(sys.argv[1]) if len(sys.argv) > 1 else 5, staged.done)
        found = staged.result()
        whole = sum(len(list((out / "out" / knee.key).glob("*.txt"))) == STEPS for knee in KNEES)
        print(f"{killed} nodes removed, {time.monotonic() - began:.0f} s; whole outputs: {whole}")
        print(f"half written: {len(list(out.rglob('*partial*')))}")
        print(f"the greedy one: {found.pop(GREEDY, 'no word')}")
        print(f"the others: {dict(Counter(text[:60] for text in found.values()))}")


if __name__ == "__main__":
    main()
