"""Keys in the environment of a run stay there: not in the run, not in what it says, not in Ray's logs of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.imaging import makers

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDBYTHETESTS",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-of-the-account-4711",
    "AWS_SESSION_TOKEN": "planted-session-token-4711",
    "RAY_AUTH_TOKEN": "planted-token-of-the-cluster-4711-0123456789",
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """A run that ended, with what it said."""

    out: Path
    ray: Path
    said: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("secrets")
    makers.cohort(root / "cohort")
    with tempfile.TemporaryDirectory(
        prefix="r", ignore_cleanup_errors=True
    ) as ray:  # short: sockets lie in it
        variables = os.environ | PLANTED | {"RAY_AUTH_MODE": "token", "RAY_TMPDIR": ray}
        variables.pop("RAY_ADDRESS", None)
        command = [sys.executable, "-m", "srrd_ray.cli", "run", "--until", "ingest"]
        command += ["--cohort", str(root / "cohort"), "--out", str(root / "run")]
        ended = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        yield Done(out=root / "run", ray=Path(ray), said=ended.stdout + ended.stderr)


def holding(folder: Path, secret: str) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 5
    return [path.relative_to(folder).as_posix() for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", PLANTED)
def test_no_key_is_kept_in_the_run_or_said(done: Done, name: str) -> None:
    assert holding(done.out, PLANTED[name]) == []
    assert PLANTED[name] not in done.said


@pytest.mark.parametrize("name", PLANTED)
def test_no_key_is_in_the_logs_of_ray(done: Done, name: str) -> None:
    assert holding(done.ray, PLANTED[name]) == []
