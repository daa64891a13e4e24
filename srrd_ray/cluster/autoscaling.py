"""What a cluster may grow to, from the autoscaler: nothing else in open-source Ray knows the node types."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.autoscaler.v2.sdk import request_cluster_resources
from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]  # generated
    AutoscalingState,
    GetClusterStatusReply,
)

log = logging.getLogger(__name__)

ANSWER_S = 60.0
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
    request_cluster_resources(address, [{"resources": bundle} for bundle in bundles])
    try:
        state = _wait_for_state(address)
    finally:
        request_cluster_resources(address, [])
    return state is not None and not state.infeasible_cluster_resource_constraints


def _wait_for_state(address: str) -> AutoscalingState | None:
    """Return the first autoscaler state newer than the cluster's current one; null on timeout."""
    now = _cluster_status(address).cluster_resource_state.cluster_resource_state_version
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        state = _cluster_status(address).autoscaling_state
        if state.last_seen_cluster_resource_state_version > now:
            return state
        time.sleep(0.5)
    return None


def _cluster_status(address: str) -> GetClusterStatusReply:
    reply = GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address).get_cluster_status(timeout_s=10))
    return reply
