from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.storage.scalars import write_scalars
from tests.tensorboard_files import scalars

LOSSES = {
    "teacher": ({"epoch": 1.0, "loss": 3.0}, {"epoch": 2.0, "loss": 2.5}),
    "student": ({"epoch": 1.0, "loss": 2.0, "labels": 0.5},),
}


def test_every_loss_of_every_epoch_is_a_scalar_under_its_network(tmp_path: Path) -> None:
    write_scalars(tmp_path / "t", LOSSES)
    found = {path.parent.name: scalars(path) for path in (tmp_path / "t").glob("*/events.out.tfevents.*")}
    assert found == {
        "teacher": {"loss": [(1, 3.0), (2, 2.5)]},
        "student": {"loss": [(1, 2.0)], "labels": [(1, pytest.approx(0.5))]},
    }


def test_what_was_written_before_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        write_scalars(tmp_path / "t", LOSSES)
    assert len(list((tmp_path / "t").rglob("events.out.tfevents.*"))) == 2
