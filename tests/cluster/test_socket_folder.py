"""A TMPDIR that is longer than sockets allow, or no place to write, stops no local Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.cluster.socket_folder import BELOW, LONGEST, choose_folders
from srrd_ray.core.errors import ClusterError


@pytest.fixture
def short(tmp_path: Path) -> Path:
    folder = tmp_path / "s"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _without_ray_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


def test_a_short_tmpdir_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert choose_folders() == (None, None)


def test_a_long_tmpdir_keeps_the_spilled_data_and_not_the_sockets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, short: Path
) -> None:
    long = tmp_path / ("x" * LONGEST)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    assert choose_folders(short) == (str(short / "ray"), str(long))


def test_a_tmpdir_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch, short: Path) -> None:
    monkeypatch.setenv("TMPDIR", "/proc/no")
    assert choose_folders(short) == (str(short / "ray"), None)


def test_where_neither_can_be_used_the_remedy_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", "/proc/no")
    with pytest.raises(
        ClusterError, match=rf"tmpdir-unusable.*at most {LONGEST - len(BELOW)} bytes.*RAY_TMPDIR"
    ):
        choose_folders(tmp_path / "none")
