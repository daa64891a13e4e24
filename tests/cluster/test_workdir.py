"""Nobody stays in a working directory that Ray may take away: torch ends a process whose folder is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.test_access import WITH_TOKEN, environment, real_head

ROOT = Path(__file__).resolve().parents[2]
STANDING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from srrd_ray.cluster.workdir import leave_copy
os.makedirs({folder!r}, exist_ok=True)
os.chdir({folder!r})
"""
GONE = "os.rmdir(os.getcwd())\n"
FIRST_USE = "import torch\nsquare = torch.rand(300, 300)\nprint((square @ square).shape[0])\n"
JOINING = """
import ray
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.cluster.session import session
with session(ClusterConfig()):
    print(os.getcwd(), ray.get(ray.remote(lambda: os.getcwd()).remote()))
"""
BY_VALUE = """
import ray.cloudpickle
sent = ray.cloudpickle.dumps(leave_copy()["worker_process_setup_hook"])
os.chdir("/tmp")
for name in [name for name in sys.modules if name.startswith("srrd_ray")]:
    sys.modules[name] = None
ray.cloudpickle.loads(sent)()
print(os.getcwd())
"""


def program(
    folder: Path, *parts: str, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    code = STANDING.format(root=str(ROOT), folder=str(folder)) + "".join(parts)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300, check=False,
        env=variables,
    )  # fmt: skip


def copy_of(root: Path) -> Path:
    return root / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"


def test_a_process_whose_copy_is_taken_away_lives_on_where_it_left_and_dies_of_torch_where_it_stayed(
    tmp_path: Path,
) -> None:
    left = program(copy_of(tmp_path), "here = os.getcwd()\nleave_copy()\nos.rmdir(here)\n", FIRST_USE)
    assert (left.returncode, left.stdout.strip()) == (0, "300"), left.stderr[-2000:]
    stayed = program(copy_of(tmp_path), GONE, FIRST_USE)
    assert stayed.returncode == 2, "the reason for all this is gone where torch no longer minds"
    assert "oneMKL FATAL ERROR: Cannot load" in stayed.stdout + stayed.stderr


def test_a_folder_that_is_gone_already_is_left(tmp_path: Path) -> None:
    done = program(tmp_path / "any", GONE, "print(list(leave_copy()), os.getcwd())")
    assert done.stdout.strip() == "['worker_process_setup_hook'] /"


def test_a_working_directory_of_ones_own_stays_what_it_is(tmp_path: Path) -> None:
    done = program(tmp_path / "own", "print(leave_copy(), os.getcwd())")
    assert done.stdout.strip() == f"{{}} {tmp_path / 'own'}"


def test_a_worker_leaves_without_reading_anything_from_the_copy(tmp_path: Path) -> None:
    done = program(copy_of(tmp_path), BY_VALUE)
    assert done.stdout.strip() == "/", done.stderr[-2000:]


@pytest.mark.slow
def test_a_driver_that_joins_a_cluster_and_its_workers_leave_their_copies(tmp_path: Path) -> None:
    with real_head(WITH_TOKEN) as address:
        variables = environment(WITH_TOKEN) | {"RAY_ADDRESS": address}
        done = program(copy_of(tmp_path), JOINING, variables=variables)
    assert done.stdout.strip() == "/ /", done.stderr[-2000:]
