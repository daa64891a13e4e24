"""Access control: the joined Ray cluster must require a token,
unless it can be reached from its own machine only.

A cluster without a token runs the code of anyone who reaches its ports, with the nodes' rights on cohort and
runs. That this process has a token proves nothing:
Ray accepts a driver with a token on a cluster that requires none.
So the cluster is called once without a token.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias

import grpc
import ray

from srrd_ray.core.errors import ClusterError

CALL_TIMEOUT_S = 15.0
_PROBE_METHOD = "/ray.rpc.NodeInfoGcsService/CheckAlive"

Reply: TypeAlias = Literal["answered", "refused", "silent"]
"""The reply to a call without a token: an answer, a refusal, or nothing within `CALL_TIMEOUT_S`."""


def require_authentication() -> None:
    """Raise where the joined cluster requires no token, or where others on this machine can read the token.

    Raises
    ------
    ClusterError
        `cluster-open`, `token-readable`; `ray-unreachable` where the cluster does not reply.
    """
    address = str(ray.get_runtime_context().gcs_address)
    if is_loopback(address):
        return
    # Ray's TLS is mutual: it authenticates clients itself
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        require_refusal(call_without_token(address))
    require_private(token_file())


def require_refusal(reply: Reply) -> None:
    """Raise unless the call without a token was refused.

    Raises
    ------
    ClusterError
        `cluster-open`, `ray-unreachable`.
    """
    if reply == "answered":
        raise ClusterError(
            "cluster-open", "the Ray cluster runs code for anyone who reaches it",
            got="an answer without a token", expected="RAY_AUTH_MODE=token",
            todo="Stop the cluster. Once: `ray get-auth-token --generate`, `chmod 600 ~/.ray/auth_token`, "
            "and copy it to every node. Start every node, and this command, with RAY_AUTH_MODE=token.",
        )  # fmt: skip
    if reply == "silent":
        raise ClusterError(
            "ray-unreachable", "the Ray cluster does not reply whether it requires a token",
            got=f"no answer within {CALL_TIMEOUT_S:g} s",
            todo="Check that its head is not overloaded, and run the same command again.",
        )  # fmt: skip


def call_without_token(address: str, timeout_s: float = CALL_TIMEOUT_S) -> Reply:
    """Return the reply of the head at ``host:port`` to a call without a token."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_PROBE_METHOD)(b"", timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            return "refused" if error.code() == grpc.StatusCode.UNAUTHENTICATED else "silent"
    return "answered"


def is_loopback(address: str) -> bool:
    """Return whether ``host:port`` can be reached from its own machine only;
    a name other than localhost counts as open.
    """
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_file() -> Path | None:
    """Return the file that Ray reads the token from, in Ray's order;
    none where the environment holds the token.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def require_private(path: Path | None) -> None:
    """Raise where others than its owner can read a token file; Ray creates it readable for all.

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
