"""Configurations: what is written comes back, and every example is valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from srrd_ray.core import serial
from srrd_ray.pipeline.configuration import RunConfig, read_config

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_defaults_survive_json() -> None:
    assert serial.from_json(RunConfig, serial.to_json(RunConfig())) == RunConfig()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_a_configuration_that_differs_from_the_defaults(path: Path) -> None:
    assert read_config(path) != RunConfig()


def test_no_file_means_the_defaults() -> None:
    assert read_config(None) == RunConfig()


@pytest.mark.parametrize("module", ["srrd_ray.pipeline.run", "srrd_ray.pipeline.stages"])
def test_neither_a_driver_nor_a_worker_imports_what_it_may_not_need(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if m in sys.argv[1:]])"
    slow = ["torch", "monai", "matplotlib", "sklearn.linear_model"]
    found = subprocess.run([sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
