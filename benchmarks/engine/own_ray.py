"""A Ray of one's own for the scripts of this folder: its files in a folder of its own, gone at the end; nobody
else's Ray is touched.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # watching.py
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_TRAIN_V2_ENABLED": "1"}
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # as srrd_ray.cluster.session sets it
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ray
from ray.cluster_utils import Cluster

for name in ("ray.data", "ray.train", "ray.tune"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # what is seen is printed by the script

STORE = 80_000_000
"""Bytes of the object store of a node."""


@contextmanager
def own_ray(cpus: int = 2, **more: object) -> Iterator[None]:
    """Run one node of `cpus` for the length of a block."""
    with own_folder() as folder:
        ray.init(
            address="local", num_cpus=cpus, object_store_memory=STORE, include_dashboard=False,
            logging_level=logging.ERROR, log_to_driver=False, _temp_dir=folder, **more,
        )  # fmt: skip
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def own_cluster(settings: Mapping[str, int] | None = None) -> Iterator[Cluster]:
    """Join a head without CPUs for the length of a block; a node that is gone is missed within seconds."""
    missed = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000,
              "health_check_failure_threshold": 3, **(settings or {})}  # fmt: skip
    with own_folder() as folder:
        cluster = Cluster()
        cluster.add_node(num_cpus=0, object_store_memory=STORE, temp_dir=folder, _system_config=missed)
        ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@contextmanager
def own_folder() -> Iterator[str]:
    """Make a folder with a short name, as the sockets in it ask for, and remove it."""
    folder = tempfile.mkdtemp(prefix="e-", dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
