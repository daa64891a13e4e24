"""What is up to date follows from sidecars that are read once, and in a store from few listings, however many items there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.execution import sidecars
from srrd_ray.execution.sidecars import Sidecar, commit, describe, find_all_up_to_date, find_up_to_date
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from tests.object_store import ObjectStore

HASHES = {f"item-{number:02d}": f"hash {number}" for number in range(7)}


def make(layout: RunLayout) -> None:
    """Write a small output and the sidecar of every work item."""
    for name, wanted in HASHES.items():
        path = layout.root / "out" / f"{name}.txt"
        write_text(path, name)
        outputs = describe(layout.root, [path])
        commit(layout, Sidecar(stage="toy", item=name, input_hash=wanted, software="0", outputs=outputs))


def test_many_items_are_looked_up_as_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "BATCH", 3)
    layout = RunLayout(root=tmp_path)
    make(layout)
    (tmp_path / "out" / "item-01.txt").unlink()
    (tmp_path / "out" / "item-02.txt").write_text("longer")
    layout.sidecar("toy", "item-03").write_text("{")
    layout.sidecar("toy", "item-04").unlink()
    wanted = HASHES | {"item-05": "another hash"}
    told = list(find_all_up_to_date(layout, "toy", wanted))
    assert told == [find_up_to_date(layout, "toy", name, hashed) for name, hashed in wanted.items()]
    assert [card is not None for card in told] == [True, False, False, False, False, False, True]


def test_each_sidecar_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, find = RunLayout(root=tmp_path), sidecars.read_sidecar
    read: list[str] = []
    make(layout)

    def noted(layout: RunLayout, stage: str, item: str) -> Sidecar | None:
        read.append(item)
        return find(layout, stage, item)

    monkeypatch.setattr(sidecars, "read_sidecar", noted)
    assert all(find_all_up_to_date(layout, "toy", HASHES))
    assert sorted(read) == sorted(HASHES)


@pytest.mark.parametrize(("at_once", "listings"), [(100, 1), (3, 3)])
def test_a_store_is_listed_once_for_many_units(
    bucket: Path, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, at_once: int, listings: int
) -> None:
    monkeypatch.setattr(sidecars, "BATCH", at_once)
    layout = RunLayout(root=bucket / "run")
    make(layout)
    (bucket / "run" / "out" / "item-06.txt").unlink()
    before = len(s3.requests)
    told = list(find_all_up_to_date(layout, "toy", HASHES))
    asked = s3.requests[before:]
    assert [card is not None for card in told] == [True] * 6 + [False]
    assert sum("list-type=2" in path for _, path in asked) == listings
    assert len(asked) == len(HASHES) + listings
