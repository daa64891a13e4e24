"""What a command is to write is looked at before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.storage.outputs import require_file, require_folder


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    require_file("--out", tmp_path / "new" / "folder" / "bone.JSON", (".json",))
    require_folder("--maps", tmp_path / "maps")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ConfigError, match=r"output-is-folder.*Give a file in it"):
        require_file("--out", tmp_path / "a.json", (".json",))
    (tmp_path / "b").write_text("")
    with pytest.raises(ConfigError, match="output-is-file"):
        require_folder("--maps", tmp_path / "b")


def test_another_ending_is_refused_with_those_that_are_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output-name.*bone\.xlsx, expected NAME\.json or NAME\.csv"):
        require_file("--out", tmp_path / "bone.xlsx", (".json", ".csv"))


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="output-unwritable"):
        require_file("--out", tmp_path / "file" / "a.json", (".json",))
    with pytest.raises(StoreError, match="output-unwritable"):
        require_folder("--maps", Path("/proc/none/maps"))
