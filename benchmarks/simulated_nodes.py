"""Ray's simulated nodes, of which the autoscaler knows how much memory they have:
tasks over knees ask for some.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class SimulatedNodes(FakeMultiNodeProvider):  # type: ignore[misc]  # Ray's own has no types
    """The provider of `autoscaling.py`. Each node is a raylet,
    which finds its memory by itself and takes none as a resource.
    """

    def _create_node_with_resources_and_labels(
        self,
        node_config: Mapping[str, object],
        tags: Mapping[str, str],
        count: int,
        resources: Mapping[str, float],
        labels: Mapping[str, str],
    ) -> None:
        rest = {name: value for name, value in resources.items() if name != "memory"}
        super()._create_node_with_resources_and_labels(node_config, tags, count, rest, labels)
