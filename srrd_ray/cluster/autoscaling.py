"""What a cluster may grow to, from the autoscaler: nothing else in open-source Ray knows the node types."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.autoscaler.v2.sdk import request_cluster_resources
from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]  # generated
    AutoscalingState,
    GetClusterStatusReply,
)

log = logging.getLogger(__name__)

ANSWER_S, POLL_S = 60.0, 0.5
"""The autoscaler updates every 5 s; after so long without an update it counts as down."""


def could_grow_to(bundles: Sequence[dict[str, float]]) -> bool:
    """Return whether the cluster, grown as far as its configuration allows,
    holds all `bundles` of resources at once.

    False where there is no autoscaler (version 2, the default since Ray 2.50) or where it does not reply. The
    requested nodes may already start: the next stage needs them.
    The request is withdrawn before returning, so that idle nodes stop.
    """
    address = ray.get_runtime_context().gcs_address
    if not _cluster_status(address).autoscaling_state.autoscaler_state_version:
        return False
    log.info("the cluster has too little for now: asking its autoscaler")
    try:
        state = _ask(address, bundles)
    finally:
        request_cluster_resources(address, [])
    return state is not None and not state.infeasible_cluster_resource_constraints


def _ask(address: str, bundles: Sequence[dict[str, float]]) -> AutoscalingState | None:
    """Return the first autoscaler state that has seen the request of `bundles`; null on timeout.

    A cluster holds one such request. Ray Data makes its own now and then, which takes the place of this one:
    a state that has seen that says nothing of ours, so it is asked again.
    """
    wanted = Counter(frozenset(bundle.items()) for bundle in bundles)
    asked_at: int | None = None
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        status = _cluster_status(address)
        if asked_at is None or _requested(status) != wanted:
            request_cluster_resources(address, [{"resources": bundle} for bundle in bundles])
            asked_at = _cluster_status(address).cluster_resource_state.cluster_resource_state_version
        elif status.autoscaling_state.last_seen_cluster_resource_state_version > asked_at:
            return status.autoscaling_state
        time.sleep(POLL_S)
    return None


def _requested(status: GetClusterStatusReply) -> Counter[frozenset[tuple[str, float]]]:
    """Return the bundles that the cluster is asked to hold at present, and how many of each."""
    found: Counter[frozenset[tuple[str, float]]] = Counter()
    for constraint in status.cluster_resource_state.cluster_resource_constraints:
        for one in constraint.resource_requests:
            found[frozenset(one.request.resources_bundle.items())] += one.count
    return found


def _cluster_status(address: str) -> GetClusterStatusReply:
    reply = GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address).get_cluster_status(timeout_s=10))
    return reply
