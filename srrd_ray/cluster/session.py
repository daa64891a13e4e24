"""The connection to Ray: the job's cluster where there is one, else a local one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import ray
from ray.data import DataContext

from srrd_ray.cluster.access import require_authentication
from srrd_ray.cluster.autoscaling import could_grow_to
from srrd_ray.cluster.socket_folder import choose_folders
from srrd_ray.cluster.workdir import leave_copy
from srrd_ray.core.errors import ClusterError
from srrd_ray.execution.config import ClusterConfig, GpuUse

log = logging.getLogger(__name__)


@contextmanager
def session(config: ClusterConfig) -> Iterator[None]:
    """Connect to Ray for the length of a block; a connection that exists already is used and left open.

    Raises
    ------
    ClusterError
        `ray-unreachable`, `tmpdir-unusable`; for an existing cluster: `cluster-open`, `token-readable`.
    """
    if ray.is_initialized():
        _prepare_data(config)
        yield
        return
    _connect(config)
    try:
        if os.environ.get("RAY_ADDRESS"):
            require_authentication()
        _prepare_data(config)
        yield
    finally:
        ray.shutdown()


def attainable(resource: str, wanted: float, apiece: float = 1.0) -> float:
    """Return how much of a resource the cluster has, at most `wanted`, or `wanted` where it can grow to that.

    An autoscaling cluster starts as a head that does no work:
    what it may grow to counts, or it would never grow. `apiece` is what one node has to hold.
    """
    have = float(ray.cluster_resources().get(resource, 0.0))
    if have >= wanted or could_grow_to([{resource: apiece}] * ceil(wanted / apiece)):
        return wanted
    return have


def require_task(memory: int, purpose: str) -> None:
    """Raise where no present or future node could take a task of one CPU and `memory` bytes.

    Raises
    ------
    ClusterError
        `resources-missing` with the request and what the cluster has.
    """
    require_cpus(1, purpose)
    have = largest_memory()
    if have < memory and not could_grow_to([{"CPU": 1.0, "memory": float(memory)}]):
        raise ClusterError(
            "resources-missing",
            f"{purpose} needs more memory for one task than any node has",
            got=f"{have / 2**20:.0f} MiB",
            expected=f"{memory / 2**20:.0f} MiB",
            todo="Start nodes with more memory, or lower cluster.knee_memory_mb; "
            "on a cluster that grows, a node type has to name its memory.",
        )


def largest_memory() -> int:
    """Return the memory in bytes that the largest node of the cluster with a CPU offers to tasks."""
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max((int(offer.get("memory", 0)) for offer in offers if offer.get("CPU", 0) >= 1), default=0)


def require_cpus(wanted: float, purpose: str) -> None:
    """Raise where a request could never be met, instead of waiting for ever.

    Raises
    ------
    ClusterError
        `resources-missing` with the request and what the cluster has.
    """
    have = attainable("CPU", wanted)
    if have < wanted:
        raise ClusterError(
            "resources-missing",
            f"{purpose} needs more CPUs than the cluster has",
            got=f"{have:g} CPU",
            expected=f"{wanted:g} CPU",
            todo="Start larger nodes, or lower cluster.training_workers.",
        )


def decide_gpus(workers: int, policy: GpuUse) -> bool:
    """Return whether training uses GPUs, and say so.

    Raises
    ------
    ClusterError
        `gpu-missing` where the policy is ``require`` and the cluster has too few.
    """
    have = int(attainable("GPU", workers)) if policy != "never" else 0
    if policy == "require" and have < workers:
        raise ClusterError(
            "gpu-missing", "fewer GPUs than training workers", got=str(have), expected=str(workers),
            todo="Add GPU nodes, or set cluster.gpu to auto.",
        )  # fmt: skip
    use = policy != "never" and have >= workers
    log.info("training on %s (%d GPUs for %d workers)", "GPUs" if use else "CPUs", have, workers)
    return use


def decide_share(wanted: float, policy: GpuUse) -> float:
    """Return the share of a GPU that a trial takes: `wanted`, or 0 where there is none.

    Raises
    ------
    ClusterError
        `gpu-missing` where the policy is ``require`` and the cluster has none.
    """
    if policy == "never" or not wanted:
        return 0.0
    if attainable("GPU", 1) >= 1:
        return wanted
    if policy == "require":
        raise ClusterError(
            "gpu-missing", "no GPU for the trials of the search", got="0", expected=f"{wanted:g} a trial",
            todo="Add GPU nodes, set cluster.gpu to auto, or tune.gpus_per_trial to 0.",
        )  # fmt: skip
    log.info("trials of the search run on CPUs: there is no GPU")
    return 0.0


def _connect(config: ClusterConfig) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Every report of an epoch waits for the controller's next poll: at Ray's 2 s, short epochs mostly waited.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    # Ray's default is to retry for ever
    os.environ.setdefault("RAY_task_oom_retries", str(config.task_retries))
    # Tune's new tables ignore verbose=0; the log lines are ours
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    try:
        if os.environ.get("RAY_ADDRESS"):
            log.info("%-16s connecting to the cluster", "ray")
            ray.init(runtime_env=leave_copy(), logging_level=logging.ERROR, log_to_driver=False)
        else:
            sockets, spilled = choose_folders()
            log.info("%-16s starting on this machine", "ray")  # takes seconds, many on a busy machine
            ray.init(
                # a cluster that happens to run on this machine is only used where RAY_ADDRESS names it
                address="local",
                num_cpus=config.cpus or None,
                object_store_memory=config.object_store_mb * 2**20,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=sockets,
                object_spilling_directory=spilled,
            )
    except ClusterError:
        raise
    except Exception as error:  # a node that is too slow to start raises nothing narrower
        raise ClusterError(
            "ray-unreachable", f"cannot start or reach Ray: {str(error).splitlines()[0][:300]}",
            todo=(
                "Check that the cluster runs, that RAY_ADDRESS, if set, is right, and that `ray "
                "get-auth-token` gives its token."
            ),
        ) from error  # fmt: skip


def _prepare_data(config: ClusterConfig) -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = config.stall_seconds
    context.max_errored_blocks = -1  # a lost block is one work item, which `spread` reports as failed
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
