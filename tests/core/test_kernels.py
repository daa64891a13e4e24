"""Kernels run also where their compiled code cannot be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import logging, resource, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from srrd_ray.core.kernels import kernel
{before}
@kernel()
def add(a, b):
    return a + b
{after}
print(add(1, 2), add(1.0, 2.0))
"""
NO_BYTES = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"


def run(tmp_path: Path, cache: Path, *, before: str = "", after: str = "") -> list[str]:
    script = tmp_path / "adder.py"
    script.write_text(PROGRAM.format(before=before, after=after))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_a_place_for_compiled_code_a_kernel_works_and_says_so_once(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    nowhere = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = c.CacheImpl._locator_classes[:1]"
    )
    said = run(tmp_path, blocker / "cache", before=nowhere)
    assert said[-1] == "3 3.0"
    assert len(said) == 2
    assert "NUMBA_CACHE_DIR" in said[0]


def test_a_full_disk_costs_the_cache_and_not_the_result(tmp_path: Path) -> None:
    said = run(tmp_path, tmp_path / "cache", after=NO_BYTES)
    assert said[-1] == "3 3.0"
    assert len(said) == 2


def test_compiled_code_is_kept(tmp_path: Path) -> None:
    assert run(tmp_path, tmp_path / "cache") == ["3 3.0"]
    assert list((tmp_path / "cache").rglob("*.nbc"))


def test_why_compiled_code_is_not_kept_can_be_asked(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    asked = "from srrd_ray.core.kernels import why_not_kept; print(repr(why_not_kept()))"
    one_place = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = c.CacheImpl._locator_classes[:1]"
    )
    assert run(tmp_path, blocker / "cache", before=one_place, after=asked)[-2] == "'nowhere to write'"
    assert run(tmp_path, tmp_path / "cache", after=asked)[0] == "''"
