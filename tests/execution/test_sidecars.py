"""What is finished is told from sidecars that are read once, and in a store from few listings, however many units there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.execution import sidecars as resume
from srrd_ray.execution.sidecars import Sidecar, describe, finished, finished_of, mark_done
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from tests.object_store import ObjectStore

KEYS = {f"unit-{number:02d}": f"key {number}" for number in range(7)}


def make(layout: RunLayout) -> None:
    """Write a small output and the sidecar of every unit."""
    for name, key in KEYS.items():
        path = layout.root / "out" / f"{name}.txt"
        write_text(path, name)
        outputs = describe(layout.root, [path])
        mark_done(layout, Sidecar(stage="toy", unit=name, key=key, software="0", outputs=outputs))


def test_many_units_are_told_as_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "AT_ONCE", 3)
    layout = RunLayout(root=tmp_path)
    make(layout)
    (tmp_path / "out" / "unit-01.txt").unlink()
    (tmp_path / "out" / "unit-02.txt").write_text("longer")
    layout.sidecar("toy", "unit-03").write_text("{")
    layout.sidecar("toy", "unit-04").unlink()
    wanted = KEYS | {"unit-05": "another key"}
    told = list(finished_of(layout, "toy", wanted))
    assert told == [finished(layout, "toy", name, key) for name, key in wanted.items()]
    assert [card is not None for card in told] == [True, False, False, False, False, False, True]


def test_each_sidecar_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, find = RunLayout(root=tmp_path), resume.find_sidecar
    read: list[str] = []
    make(layout)

    def noted(layout: RunLayout, stage: str, unit: str) -> Sidecar | None:
        read.append(unit)
        return find(layout, stage, unit)

    monkeypatch.setattr(resume, "find_sidecar", noted)
    assert all(finished_of(layout, "toy", KEYS))
    assert sorted(read) == sorted(KEYS)


@pytest.mark.parametrize(("at_once", "listings"), [(100, 1), (3, 3)])
def test_a_store_is_listed_once_for_many_units(
    bucket: Path, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, at_once: int, listings: int
) -> None:
    monkeypatch.setattr(resume, "AT_ONCE", at_once)
    layout = RunLayout(root=bucket / "run")
    make(layout)
    (bucket / "run" / "out" / "unit-06.txt").unlink()
    before = len(s3.requests)
    told = list(finished_of(layout, "toy", KEYS))
    asked = s3.requests[before:]
    assert [card is not None for card in told] == [True] * 6 + [False]
    assert sum("list-type=2" in path for _, path in asked) == listings
    assert len(asked) == len(KEYS) + listings
