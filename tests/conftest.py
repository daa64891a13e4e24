"""What is made once for all tests: one Ray session, one simulated cohort, one small set of trained models, one S3 server.

A test that needs Ray or a training is marked here by the fixtures that it asks for, so that nobody has to remember it, and is run
after all others. A test without the mark `ray` cannot start Ray. Ray and the package are imported where they are used: the process
that hands tests to others needs neither.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # `make test` starts this in the background, where a shell lets it ignore Ctrl-C, and so do all its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"RAY_metrics_report_interval_ms": "1000"}  # a test waits for them; Ray's own is ten seconds

from tests.object_store import VARIABLES, ObjectStore, serving

if TYPE_CHECKING:
    from srrd_ray.execution.config import ClusterConfig

os.environ.update(VARIABLES)

SEED = int(os.environ.get("SRRD_TEST_SEED", "5"))
"""Of the simulated cohort: no test may hold for one cohort alone."""
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(
    "suite"
)  # the same examples in every run: a red suite is never one that the next run turns green

MARKED_BY = {"ray": {"cluster"}, "training": {"learnt", "undisturbed", "ended"}}
"""Marks, and the fixtures whose use sets them."""

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks to leave tests out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, and put those that need Ray last: whatever else is wrong is told in the first minutes."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        for mark, fixtures in MARKED_BY.items():
            if names & fixtures:
                item.add_marker(mark)
    items.sort(key=_needs_ray)


def _needs_ray(item: pytest.Item) -> bool:
    return item.get_closest_marker("ray") is not None


@pytest.fixture(autouse=True)
def _no_unmarked_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test start Ray that is not marked `ray`: it would make ``make check`` slow without anybody noticing."""
    if not _needs_ray(request.node):
        monkeypatch.setattr("ray.init", _refused)


def _refused(*_: object, **__: object) -> None:
    pytest.fail("this test starts Ray: let it use the fixture `cluster`, or mark it `ray`")


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterConfig]:
    """A local Ray of two CPUs, started once."""
    from srrd_ray.cluster.session import session
    from srrd_ray.execution.config import ClusterConfig

    config = ClusterConfig(cpus=2, object_store_mb=200, stall_seconds=600)
    with session(config):
        yield config


@pytest.fixture(scope="session")
def simulated(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A simulated cohort of six knees with its truth, made once: it takes a minute."""
    from srrd_ray.cluster.executor import RayExecutor
    from srrd_ray.pipeline.simulated_cohort import SimulationRequest, simulate_cohort

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


@pytest.fixture
def class_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that finds bones is one that reads classes off grey values."""
    from srrd_ray.knee_bones import segmenter_model
    from srrd_ray.segmentation.config import SegmenterConfig
    from tests.knee_bones.class_reader import ClassReader
    from tests.segmentation.planted import SPACING

    known = ClassReader(), SegmenterConfig(spacing_mm=SPACING)
    monkeypatch.setattr(segmenter_model, "shared_segmenter", lambda _: known)
    monkeypatch.setattr("srrd_ray.knee_bones.find.require_segmenter", Path)


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """A real S3 server on loopback."""
    with serving() as store:
        yield store


@pytest.fixture
def bucket(s3: ObjectStore) -> Path:
    """A new bucket."""
    return s3.bucket()
