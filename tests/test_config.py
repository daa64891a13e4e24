"""Configurations: what is written comes back, and every example is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray import serial
from srrd_ray.config import RunConfig, read_config

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_defaults_survive_json() -> None:
    assert serial.from_json(RunConfig, serial.to_json(RunConfig())) == RunConfig()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_a_configuration_that_differs_from_the_defaults(path: Path) -> None:
    assert read_config(path) != RunConfig()


def test_no_file_means_the_defaults() -> None:
    assert read_config(None) == RunConfig()
