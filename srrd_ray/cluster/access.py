"""Who may use the Ray cluster that this process has joined: only holders of its token, unless nobody else can reach it.

A cluster without a token runs the code of whoever reaches its ports, with the rights of the nodes on cohort and runs.
What this process believes proves nothing: Ray lets a driver that shows a token into a cluster that asks for none. So a
stranger's question is put to the cluster: the same question without a token.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias

import grpc
import ray

from srrd_ray.core.errors import ClusterError

ASK_S = 15.0
_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"

Answer: TypeAlias = Literal["answered", "refused", "silent"]
"""What a call without a token gets: its answer, a demand for a token, or nothing within `ASK_S`."""


def require_closed() -> None:
    """Stop where the joined cluster serves strangers, or where others on this machine can read its token.

    Raises
    ------
    ClusterError
        `cluster-open`, `token-readable`; `ray-unreachable` where the cluster does not say.
    """
    address = str(ray.get_runtime_context().gcs_address)
    if is_loopback(address):
        return
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):  # Ray's TLS is mutual: it lets no stranger in
        check_answer(ask_as_stranger(address))
    require_private(token_file())


def check_answer(answer: Answer) -> None:
    """Stop unless a stranger was refused.

    Raises
    ------
    ClusterError
        `cluster-open`, `ray-unreachable`.
    """
    if answer == "answered":
        raise ClusterError(
            "cluster-open", "the Ray cluster runs code for anyone who reaches it",
            got="an answer without a token", expected="RAY_AUTH_MODE=token",
            todo="Stop the cluster. Once: `ray get-auth-token --generate`, then `chmod 600 ~/.ray/auth_token`, and copy it to every "
            "node. Start every node, and this command, with RAY_AUTH_MODE=token.",
        )  # fmt: skip
    if answer == "silent":
        raise ClusterError(
            "ray-unreachable", "the Ray cluster does not say whether it asks for a token",
            got=f"no answer within {ASK_S:g} s",
            todo="Check that its head is not overloaded, and run the same command again.",
        )  # fmt: skip


def ask_as_stranger(address: str, timeout_s: float = ASK_S) -> Answer:
    """Return what the head at ``host:port`` says to a call that shows no token."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_QUESTION)(b"", timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            return "refused" if error.code() == grpc.StatusCode.UNAUTHENTICATED else "silent"
    return "answered"


def is_loopback(address: str) -> bool:
    """Return whether ``host:port`` can be reached from its own machine alone; a name other than localhost counts as open."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_file() -> Path | None:
    """Return the file that Ray reads the token from, by Ray's own order; none where the environment holds the token itself."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def require_private(path: Path | None) -> None:
    """Stop where a token can be read by others than its owner; Ray writes it for everybody to read.

    Raises
    ------
    ClusterError
        `token-readable`.
    """
    if path is None or not path.is_file():
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ClusterError(
            "token-readable", "others on this machine can read the token of the Ray cluster", where=path.name,
            got=f"mode {mode:04o}", expected="mode 0600",
            todo="chmod 600 ~/.ray/auth_token, or the file that RAY_AUTH_TOKEN_PATH names.",
        )  # fmt: skip
