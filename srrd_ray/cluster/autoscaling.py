"""What a cluster may grow to: the autoscaler is asked, as nothing else of an open-source Ray knows what its nodes could be."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.autoscaler.v2.sdk import request_cluster_resources
from ray.core.generated.autoscaler_pb2 import AutoscalingState, GetClusterStatusReply  # type: ignore[attr-defined]  # generated

log = logging.getLogger(__name__)

ANSWER_S = 60.0
"""The autoscaler looks every 5 s; one that says nothing for so long is taken for gone."""


def could_grow_to(bundles: Sequence[dict[str, float]]) -> bool:
    """Return whether the cluster, grown as far as its configuration allows, holds all `bundles` of resources at once.

    False where there is no autoscaler (version 2, the default since Ray 2.50) or where it does not answer. The nodes asked after may start
    already: they are what the next stage will ask for. The request is withdrawn before returning, so that idle nodes go again.
    """
    address = ray.get_runtime_context().gcs_address
    if not _status(address).autoscaling_state.autoscaler_state_version:
        return False
    log.info("the cluster has too little for now: asking its autoscaler")
    request_cluster_resources(address, [{"resources": bundle} for bundle in bundles])
    try:
        answer = _answer(address)
    finally:
        request_cluster_resources(address, [])
    return answer is not None and not answer.infeasible_cluster_resource_constraints


def _answer(address: str) -> AutoscalingState | None:
    """Return the first state of the autoscaler that has seen the cluster as it is now; none in time: null."""
    now = _status(address).cluster_resource_state.cluster_resource_state_version
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        state = _status(address).autoscaling_state
        if state.last_seen_cluster_resource_state_version > now:
            return state
        time.sleep(0.5)
    return None


def _status(address: str) -> GetClusterStatusReply:
    reply = GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address).get_cluster_status(timeout_s=10))
    return reply
