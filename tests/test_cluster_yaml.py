"""The cluster files are clusters that Ray's own launcher and autoscaler accept, that ask for a token, and that use spot nodes first."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from srrd_ray.execution.config import ClusterConfig

Config = dict[str, object]
ROOT = Path(__file__).resolve().parents[1]
AWS, GCP = ROOT / "cluster.yaml", ROOT / "examples" / "gcp" / "cluster.yaml"

both = pytest.mark.parametrize("path", [AWS, GCP], ids=["aws", "gcp"])


def config(path: Path) -> Config:
    return cast("Config", yaml.safe_load(path.read_text(encoding="utf-8")))


@both
def test_rays_launcher_accepts_it(path: Path) -> None:
    validate_config(prepare_config(config(path)))


@both
def test_rays_launcher_would_refuse_a_misspelt_key(path: Path) -> None:
    broken = config(path) | {"max_worker": 3}
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(broken))


@both
def test_the_head_does_no_work_and_every_start_asks_for_a_token(path: Path) -> None:
    found = config(path)
    types = cast("dict[str, dict[str, dict[str, int]]]", found["available_node_types"])
    assert types[str(found["head_node_type"])]["resources"] == {"CPU": 0}
    starts = [
        *cast("list[str]", found["head_start_ray_commands"]),
        *cast("list[str]", found["worker_start_ray_commands"]),
    ]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    assert any("--dashboard-host=127.0.0.1" in line for line in starts)
    assert not any("0.0.0.0" in line for line in starts)
    assert "chmod 0600 /home/ray/.ray/auth_token" in cast("list[str]", found["setup_commands"])


@both
def test_nothing_is_kept_when_idle(path: Path) -> None:
    types = cast("dict[str, dict[str, int]]", config(path)["available_node_types"])
    assert {name: node["min_workers"] for name, node in types.items()} == dict.fromkeys(types, 0)


@dataclass(frozen=True, kw_only=True)
class Launched:
    """What Ray's autoscaler would start, and how many requests it could never meet."""

    nodes: dict[str, int]
    unmet: int


def launched(
    path: Path, demand: dict[str, float], count: int, available: dict[str, float] | None = None
) -> Launched:
    """Ask Ray's own scheduler, with the file as the launcher prepares it."""
    found = AutoscalingConfig(prepare_config(config(path)), skip_content_hash=True)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=found.get_node_type_configs(),
        max_num_nodes=found.get_max_num_nodes(),
        resource_requests=ResourceRequestUtil.group_by_count(
            [ResourceRequestUtil.make(demand) for _ in range(count)]
        ),
        recoverable_resource_availabilities=available or {},
    )
    reply = ResourceDemandScheduler(event_logger=None).schedule(request)
    nodes = {
        launch.instance_type: launch.count for launch in reply.to_launch if launch.instance_type != "head"
    }
    return Launched(nodes=nodes, unmet=len(reply.infeasible_resource_requests))


KNEE = {"CPU": 1.0, "memory": float(ClusterConfig().knee_memory_mb * 2**20)}
"""What a task over one knee asks for."""


@both
def test_knees_go_to_spot_nodes(path: Path) -> None:
    assert launched(path, KNEE, 40) == Launched(nodes={"cpu-spot": 3}, unmet=0)


@both
def test_knees_go_to_on_demand_nodes_while_spot_nodes_fail_to_start(path: Path) -> None:
    assert launched(path, KNEE, 40, {"cpu-spot": 0.0}) == Launched(nodes={"cpu-on-demand": 3}, unmet=0)


@both
def test_training_goes_to_gpu_nodes(path: Path) -> None:
    assert launched(path, {"CPU": 1.0, "GPU": 1.0}, 2) == Launched(nodes={"gpu": 2}, unmet=0)


@both
def test_what_no_node_can_hold_is_found_to_be_so(path: Path) -> None:
    assert launched(path, {"CPU": 1.0, "memory": 2.0**40}, 1) == Launched(nodes={}, unmet=1)


def test_rays_bootstrap_makes_a_cluster_of_it_on_a_mock_of_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto = pytest.importorskip("moto")
    from ray.autoscaler._private.aws.config import bootstrap_aws

    monkeypatch.setenv("HOME", str(tmp_path))  # the key pair is written to ~/.ssh
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    (tmp_path / ".ssh").mkdir()
    with moto.mock_aws():
        ready = bootstrap_aws(prepare_config(copy.deepcopy(config(AWS))))
    types = cast("dict[str, dict[str, dict[str, object]]]", ready["available_node_types"])
    for node in types.values():
        for filled_in in ("SubnetIds", "SecurityGroupIds", "KeyName", "ImageId"):
            assert node["node_config"][filled_in]
    assert types["cpu-spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
