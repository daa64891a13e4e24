"""What can never be had is refused at once, with what was asked for and what there is."""

from __future__ import annotations

import os
import time

import pytest
import ray
import torch

from srrd_ray.cluster import session
from srrd_ray.cluster.autoscaling import could_grow_to
from srrd_ray.cluster.session import attainable, decide_gpus, require_cpus, require_task
from srrd_ray.core.arithmetic import Arithmetic, here
from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.config import ClusterConfig


def test_more_cpus_than_there_are_is_an_error_within_seconds(cluster: ClusterConfig) -> None:
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=r"resources-missing.*got 2 CPU, expected 1000 CPU"):
        require_cpus(1000, "a test")
    assert time.monotonic() - begin < 30


def test_60_more_memory_than_any_node_has_is_an_error_within_seconds(cluster: ClusterConfig) -> None:
    begin = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"resources-missing.*expected 1048576 MiB.*lower cluster.knee_memory_mb"
    ):
        require_task(2**40, "a test")
    require_task(2**20, "a test")
    assert time.monotonic() - begin < 30


def test_gpus_are_required_only_where_asked_for(cluster: ClusterConfig) -> None:
    with pytest.raises(ClusterError, match="gpu-missing"):
        decide_gpus(1000, "require")
    assert not decide_gpus(1000, "auto")
    assert not decide_gpus(1, "never")


def test_a_cluster_without_an_autoscaler_does_not_grow(cluster: ClusterConfig) -> None:
    assert not could_grow_to([{"CPU": 1.0}])


def test_what_a_cluster_may_grow_to_counts_and_is_asked_for_only_when_needed(
    cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[dict[str, float]]] = []

    def could_grow_to(bundles: list[dict[str, float]]) -> bool:
        asked.append(bundles)
        return len(bundles) <= 8

    monkeypatch.setattr(session, "could_grow_to", could_grow_to)
    assert attainable("CPU", 2) == 2
    assert not asked
    assert attainable("CPU", 8) == 8
    assert attainable("CPU", 9) == 2
    assert attainable("CPU", 32, apiece=4) == 32
    assert asked[-1] == [{"CPU": 4}] * 8


@ray.remote(num_cpus=1, max_calls=1)
def _on_a_worker() -> tuple[Arithmetic, int]:
    return here(), torch.get_num_threads()


def test_the_workers_of_a_local_cluster_calculate_as_the_driver_is_told_to(cluster: ClusterConfig) -> None:
    there, threads = ray.get(_on_a_worker.remote())
    assert there == here()
    assert threads == int(os.environ["OMP_NUM_THREADS"])
