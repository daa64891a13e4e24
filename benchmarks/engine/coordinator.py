"""ray#63924: the coordinator of Ray Data goes over (datasets x nodes x nodes) at every update; with hundreds
of nodes and several datasets it answers too late, and datasets stand still.

``PYTHONPATH=. python benchmarks/engine/coordinator.py`` runs Ray's own coordinator (a class without its
actor) over simulated nodes: one update with 1 to 8 datasets, each asking for one bundle a node, as the
cluster autoscaler of Ray Data does.
"""

from __future__ import annotations

import time

from own_ray import ray  # noqa: F401  # its environment before Ray's own modules
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import _AutoscalingCoordinatorActor

NODES, DATASETS = (100, 200, 400, 800), (1, 4, 8)
CPUS, MEMORY = 16, 64 * 2**30


def node(number: int) -> dict[str, object]:
    resources = {"CPU": float(CPUS), "memory": float(MEMORY), "object_store_memory": 8.0 * 2**30}
    return {"NodeID": f"{number:056x}", "Alive": True, "Resources": resources, "Labels": {}}


def seconds_of_update(nodes: int, datasets: int) -> float:
    there = [node(number) for number in range(nodes)]
    coordinator = _AutoscalingCoordinatorActor(
        send_resources_request=lambda *_: None, get_cluster_nodes=lambda: there
    )
    for number in range(datasets):
        coordinator.request_resources(
            f"dataset-{number}", [dict(one["Resources"]) for one in there], 600.0, ["CPU", "memory"]
        )
    began = time.perf_counter()
    coordinator._tick()
    return time.perf_counter() - began


def main() -> None:
    print("nodes   " + "".join(f"{count:>4d} datasets" for count in DATASETS))
    for nodes in NODES:
        print(
            f"{nodes:5d}   " + "".join(f"{seconds_of_update(nodes, count):11.2f} s" for count in DATASETS),
            flush=True,
        )


if __name__ == "__main__":
    main()
