"""An answer of the autoscaler counts where it is to our request: others ask it too (benchmarks/autoscaling.py has a real one)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]  # generated

from srrd_ray.cluster import autoscaling

Bundles = list[dict[str, float]]


@dataclass
class Head:
    """The head of a cluster that can grow to CPUs alone. Its autoscaler looks at every third poll; before its `looks` in
    `overwritten` Ray Data puts a request of its own in the place of ours.
    """

    overwritten: frozenset[int] = frozenset()
    request: Bundles = field(default_factory=list)
    version: int = 1
    seen: int = 1
    infeasible: bool = False
    polls: int = 0
    looks: int = 0

    def ask(self, _: str, bundles: list[dict[str, Bundles]]) -> None:
        self.request = [one["resources"] for one in bundles]  # type: ignore[misc]

    def status(self, _: str) -> GetClusterStatusReply:
        self.polls += 1
        self.version += 1
        if self.polls % 3 == 0:
            self._look()
        reply = GetClusterStatusReply()
        state, scaler = reply.cluster_resource_state, reply.autoscaling_state
        state.cluster_resource_state_version = self.version
        if self.request:
            constraint = state.cluster_resource_constraints.add()
            for bundle in self.request:
                one = constraint.resource_requests.add(count=1)
                one.request.resources_bundle.update(bundle)
        scaler.autoscaler_state_version = self.polls
        scaler.last_seen_cluster_resource_state_version = self.seen
        if self.infeasible:
            scaler.infeasible_cluster_resource_constraints.add()
        return reply

    def _look(self) -> None:
        self.looks += 1
        if self.looks in self.overwritten:
            self.request = [{"CPU": 1.0}]
        self.infeasible = any("GPU" in bundle for bundle in self.request)
        self.seen = self.version


@pytest.mark.parametrize("overwritten", [frozenset(), frozenset({1}), frozenset({1, 2, 4})], ids=str)
@pytest.mark.parametrize(("bundle", "grows"), [({"GPU": 1.0}, False), ({"CPU": 1.0, "memory": 2e9}, True)])
def test_an_answer_to_the_request_of_another_is_none_to_ours(
    monkeypatch: pytest.MonkeyPatch, overwritten: frozenset[int], bundle: dict[str, float], grows: bool
) -> None:
    head = Head(overwritten=overwritten)
    monkeypatch.setattr(autoscaling, "POLL_S", 0.0)
    monkeypatch.setattr(autoscaling, "_cluster_status", head.status)
    monkeypatch.setattr(autoscaling, "request_cluster_resources", head.ask)
    state = autoscaling._ask("head", [bundle, bundle])
    assert state is not None
    assert (not state.infeasible_cluster_resource_constraints) == grows
