"""One Ray session for all tests; everything else is made by the tests that need it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.cluster.session import session
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.pipeline.simulate import SimulationRequest, simulate_cohort
from tests.object_store import VARIABLES, ObjectStore, serving

os.environ.update(VARIABLES)

SEED = int(os.environ.get("SRRD_TEST_SEED", "5"))
"""Of the simulated cohort: no test may hold for one cohort alone."""
SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterConfig]:
    """A local Ray of two CPUs, started once."""
    config = ClusterConfig(cpus=2, object_store_mb=200, stall_seconds=600)
    with session(config):
        yield config


@pytest.fixture(scope="session")
def simulated(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A simulated cohort of six knees with its truth, made once: it takes a minute."""
    root = tmp_path_factory.mktemp("simulated")
    request = SimulationRequest(out=root / "cohort", knees=6, seed=SEED)
    assert simulate_cohort(request, RayExecutor(cluster)) == 0
    yield root / "cohort"
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real images at {SHARED_DATA.name}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """A real S3 server on loopback."""
    with serving() as store:
        yield store


@pytest.fixture
def bucket(s3: ObjectStore) -> Path:
    """A new bucket."""
    return s3.bucket()
