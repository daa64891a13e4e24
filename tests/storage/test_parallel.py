"""Questions are asked side by side where each makes one wait, and the answers keep their order."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from srrd_ray.storage.parallel import parallel_map
from srrd_ray.storage.paths import count_and_bytes

ITEMS = list(range(120))


@pytest.mark.parametrize(("seconds", "threads"), [(0.0, False), (0.002, True)])
def test_only_a_disk_that_makes_one_wait_is_asked_side_by_side(
    tmp_path: Path, seconds: float, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not threads:  # on a machine with other work to do even computing waits: here it does not
        monkeypatch.setattr(time, "thread_time", time.perf_counter)
    asked: set[int] = set()

    def ask(item: int) -> int:
        asked.add(threading.get_ident())
        if seconds:
            time.sleep(seconds)
        else:
            sum(range(20_000))  # what keeps a processor busy is not waited for
        return -item

    assert parallel_map(ask, ITEMS, tmp_path) == [-item for item in ITEMS]
    assert (len(asked) > 1) is threads


def test_a_store_is_always_asked_side_by_side(bucket: Path) -> None:
    together = threading.Barrier(4, timeout=20)

    def ask(item: int) -> int:
        together.wait()
        return item

    assert parallel_map(ask, ITEMS, bucket) == ITEMS


def test_the_extent_of_files_folders_and_nothing(tmp_path: Path) -> None:
    for name, text in (("a", "12"), ("in/b", "3"), ("in/deep/c", "456")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nowhere")
    wanted = {"a": (1, 2), "in": (2, 4), "empty": (0, 0), "none": None, "": (3, 6)}
    assert {name: count_and_bytes(tmp_path / name) for name in wanted} == wanted
