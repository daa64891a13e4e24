"""What Ray's node offers to Prometheus after some work, and a dashboard that asks for exactly that."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.cluster.metrics import Metrics
from srrd_ray.core.records import Fault
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.execution.events import ItemEnded, StageStarted
from srrd_ray.execution.runner import Runner
from srrd_ray.execution.work import Task, failure
from srrd_ray.storage.layout import RunLayout
from tests.cluster.test_work_items import ITEMS, KNEES, Write

DASHBOARD = Path(__file__).resolve().parents[2] / "examples" / "grafana-srrd.json"
STAGE = "toy-metrics"
WAIT_S = 60
WRITTEN = sum(len(item.name) for item in ITEMS if item.name != KNEES[2].key)
"""Bytes of the files of the five that did not fail."""


def offered(needed: str) -> str:
    """The lines of this package on the metrics port of the node, once one of them matches `needed`; Ray tells them every second here."""
    (node,) = ray.nodes()
    end = time.monotonic() + WAIT_S
    lines: list[str] = []
    while time.monotonic() < end:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10
        ) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith("ray_srrd_")]
        if any(re.search(needed, line) for line in lines):
            return "\n".join(lines)
        time.sleep(1)
    pytest.fail(f"not offered within {WAIT_S} s: {needed}; offered: {lines}")


def value(text: str, name: str, **labels: str) -> float:
    """The value of the one series of this name and these labels."""
    found = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(f"{name}{{") and all(f'{key}="{one}"' in line for key, one in labels.items())
    ]
    assert len(found) == 1, (name, labels, text)
    return found[0]


def asked() -> set[str]:
    """The series that the queries and variables of the dashboard name."""
    return set(re.findall(r"ray_srrd_\w+", DASHBOARD.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def text(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is offered after six work items of which one failed."""
    function = Write(tmp_path_factory.mktemp("metrics"), refuses=KNEES[2].key)
    task = Task(stage=STAGE, layout=RunLayout(root=function.root), function=function)
    with Runner(executor=RayExecutor(cluster)) as runner:
        assert len(list(runner.run_items(task, ITEMS))) == len(ITEMS)
    return offered(rf'^ray_srrd_bytes_written_total.*stage="{STAGE}".* {WRITTEN}')


@pytest.mark.slow
def test_the_node_offers_what_was_done_and_failed_and_is_left(text: str) -> None:
    assert value(text, "ray_srrd_units_total", stage=STAGE, status="done") == 5
    assert value(text, "ray_srrd_units_total", stage=STAGE, status="failed") == 1
    assert value(text, "ray_srrd_failures_total", stage=STAGE, code="toy-fault") == 1
    assert value(text, "ray_srrd_units_left", stage=STAGE) == 0
    assert value(text, "ray_srrd_unit_seconds_count", stage=STAGE) == 6
    assert value(text, "ray_srrd_unit_seconds_bucket", stage=STAGE, le="+Inf") == 6
    assert 0 < value(text, "ray_srrd_seconds_total", stage=STAGE) < 60
    assert value(text, "ray_srrd_bytes_written_total", stage=STAGE) == WRITTEN


@pytest.mark.slow
def test_no_metric_names_a_knee(text: str) -> None:
    assert [knee.key for knee in KNEES if knee.key in text or f'"{knee.participant}"' in text] == []


@pytest.mark.slow
def test_the_dashboard_asks_for_exactly_the_metrics_that_are_offered(text: str) -> None:
    of_histogram = {"ray_srrd_unit_seconds_count", "ray_srrd_unit_seconds_sum"}
    assert asked() == {line.partition("{")[0] for line in text.splitlines()} - of_histogram


def test_the_dashboard_groups_by_labels_that_its_metrics_have() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            grouped = set(re.split(r", ", ", ".join(re.findall(r"by \(([^)]*)\)", target["expr"])))) - {"le"}
            assert grouped == set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert grouped <= {"stage", "status", "code"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_without_ray_nothing_is_told_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    metrics = Metrics()
    metrics(StageStarted(stage="toy", items=2))
    for item in ITEMS[:2]:
        result = failure("toy", item, Fault(code="c", message="m"), 0.0)
        metrics(ItemEnded(stage="toy", item=item, result=result, total=2))
    assert metrics.remaining == 0
