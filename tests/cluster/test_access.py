"""A cluster that lets strangers in is refused; one that asks for a token, or that nobody else can reach, is used."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from ray.util import get_node_ip_address

from srrd_ray.cluster.access import (
    Reply,
    call_without_token,
    is_loopback,
    require_private,
    require_refusal,
    token_file,
)
from srrd_ray.core.errors import ClusterError

TOKEN = "a-token-of-the-tests-0123456789abcdef"
WITH_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
WITHOUT = {"RAY_AUTH_MODE": "disabled"}
LOOPBACK = WITHOUT | {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"
}  # as on those systems: Ray then listens on 127.0.0.1 alone
DRIVER = """
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.cluster.session import session
from srrd_ray.core.errors import ClusterError
try:
    with session(ClusterConfig()):
        print("joined")
except ClusterError as error:
    print(error.code)
"""


class Head(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Answers every question, or asks for a token."""

    def __init__(self, asks: bool) -> None:
        self.asks = asks

    def service(self, _: object) -> object:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.asks:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def listening(asks: bool) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Head(asks)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_head_that_answers_a_stranger_is_told_from_one_that_asks_for_a_token_and_from_one_that_is_not_there() -> (
    None
):
    with listening(asks=False) as address:
        assert call_without_token(address) == "answered"
    with listening(asks=True) as address:
        assert call_without_token(address) == "refused"
    assert call_without_token(address, timeout_s=0.3) == "silent"


@pytest.mark.parametrize(("answer", "code"), [("answered", "cluster-open"), ("silent", "ray-unreachable")])
def test_only_a_demand_for_a_token_is_good_enough(answer: Reply, code: str) -> None:
    require_refusal("refused")
    with pytest.raises(ClusterError, match=re.escape(f"[{code}]")):
        require_refusal(answer)


def test_the_error_says_how_to_close_the_cluster() -> None:
    with pytest.raises(ClusterError) as caught:
        require_refusal("answered")
    for words in ("RAY_AUTH_MODE=token", "ray get-auth-token --generate", "chmod 600"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("address", "alone"),
    [("127.0.0.1:6379", True), ("127.3.2.1:6379", True), ("[::1]:6379", True), ("localhost:6379", True),
     ("10.0.0.4:6379", False), ("[fd00::2]:6379", False), ("0.0.0.0:6379", False), ("localhost.example:6379", False)],
)  # fmt: skip
def test_only_loopback_counts_as_unreachable_from_elsewhere(address: str, alone: bool) -> None:
    assert is_loopback(address) is alone


@pytest.mark.parametrize(("mode", "private"), [(0o600, True), (0o400, True), (0o644, False), (0o640, False)])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int, private: bool) -> None:
    path = tmp_path / "auth_token"
    path.write_text(TOKEN)
    path.chmod(mode)
    if private:
        require_private(path)
        return
    with pytest.raises(ClusterError, match=rf"token-readable.*got mode {mode:04o}.*chmod 600") as caught:
        require_private(path)
    assert TOKEN not in str(caught.value)


def test_the_token_is_sought_where_ray_seeks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_file() == tmp_path / ".ray" / "auth_token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/somewhere/token")
    assert token_file() == Path("/somewhere/token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert token_file() is None


@contextmanager
def real_head(variables: Mapping[str, str]) -> Iterator[str]:
    """Run a head on free ports for the length of a block; yields its address."""
    port, host = _free_port(), "127.0.0.1" if variables is LOOPBACK else get_node_ip_address()
    with tempfile.TemporaryDirectory(
        prefix="r", ignore_cleanup_errors=True
    ) as folder:  # short: sockets lie in it
        command = [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=1",
            "--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000",
            f"--temp-dir={folder}", f"--ray-client-server-port={_free_port()}", "--dashboard-agent-listen-port=0",
            "--min-worker-port=0", "--max-worker-port=0",
        ]  # fmt: skip
        with (Path(folder) / "said").open("wb") as said:
            head = subprocess.Popen(
                command, env=environment(variables), stdout=said, stderr=said, start_new_session=True
            )
            try:
                _wait(head, Path(folder) / "said")
                yield f"{host}:{port}"
            finally:
                head.terminate()  # it ends its own processes; sent to all of them at once it would wait for ever
                with suppress(subprocess.TimeoutExpired):
                    head.wait(30)
                with suppress(ProcessLookupError):
                    os.killpg(head.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait(head: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and head.poll() is None:
        if "Ray runtime started" in said.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(said.read_text()[-2000:])


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's, less what other tests told Ray."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | dict(
        variables
    )


def joining(address: str, variables: Mapping[str, str]) -> str:
    """What becomes of a session with that cluster."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER],
        env=environment(variables) | {"RAY_ADDRESS": address}, capture_output=True, text=True, timeout=180,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr[-2000:]


@pytest.mark.ray
@pytest.mark.slow
def test_an_open_cluster_is_refused_even_by_a_driver_that_has_a_token() -> None:
    with real_head(WITHOUT) as address:
        assert call_without_token(address) == "answered"
        assert joining(address, WITHOUT) == "cluster-open"
        assert joining(address, WITH_TOKEN) == "cluster-open"


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token_is_joined_with_it() -> None:
    with real_head(WITH_TOKEN) as address:
        assert call_without_token(address) == "refused"
        assert joining(address, WITH_TOKEN) == "joined"


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_that_only_its_own_machine_can_reach_is_joined_without_a_token() -> None:
    with real_head(LOOPBACK) as address:
        assert joining(address, LOOPBACK) == "joined"
