"""`cluster.yaml` is a cluster that Ray's own launcher accepts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

Config = dict[str, object]
PATH = Path(__file__).resolve().parents[1] / "cluster.yaml"


def config() -> Config:
    return cast("Config", yaml.safe_load(PATH.read_text(encoding="utf-8")))


def test_rays_launcher_accepts_it() -> None:
    validate_config(prepare_config(copy.deepcopy(config())))


def test_rays_launcher_would_refuse_a_misspelt_key() -> None:
    broken = config() | {"max_worker": 3}
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(broken))


def test_the_head_does_no_work_and_every_start_asks_for_a_token() -> None:
    found = config()
    types = cast("dict[str, dict[str, dict[str, int]]]", found["available_node_types"])
    assert types[str(found["head_node_type"])]["resources"]["CPU"] == 0
    starts = [
        *cast("list[str]", found["head_start_ray_commands"]),
        *cast("list[str]", found["worker_start_ray_commands"]),
    ]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    assert any("--dashboard-host=127.0.0.1" in line for line in starts)
