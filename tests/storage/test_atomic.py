import json
import os
from pathlib import Path

import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.storage.atomic import replacing, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.json", "old")
    write_text(tmp_path / "deep" / "a.json", "new")
    assert (tmp_path / "deep" / "a.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replacing(tmp_path / "store") as beside:
            beside.mkdir()
            (beside / content).write_text(content)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_the_old_and_no_part_of_the_new(tmp_path: Path, folder: bool) -> None:
    write_text(tmp_path / "a", "old")

    def write(beside: Path) -> None:
        if folder:
            beside.mkdir()
        (beside / "part" if folder else beside).write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), replacing(tmp_path / "a") as beside:
        write(beside)
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_writers_never_share_a_place(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as two:
        one.write_text("one")
        two.write_text("two")
        assert one != two
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_files_and_folders_have_the_modes_of_the_umask_whatever_their_writer_did(
    tmp_path: Path, umask: int, file: int, folder: int
) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "one") as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        with replacing(tmp_path / "store.zarr") as temporary:
            temporary.mkdir(mode=0o700)
            (temporary / "run").write_text("")
            (temporary / "run").chmod(0o500)
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (tmp_path / "one", tmp_path / "store.zarr")]
    assert modes == [file, folder]
    assert (tmp_path / "store.zarr" / "run").stat().st_mode & 0o777 == file | 0o500


@pytest.mark.parametrize("name", ["file/a.json", "n" * 300])
def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="output-unwritable"):
        write_text(tmp_path / name, "")


def test_an_input_that_fails_while_an_output_is_written_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out"):
        (tmp_path / "input").read_bytes()


def test_bytes_of_a_name_that_are_no_letters_are_written_as_escapes(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", '"knee\udcff"')
    assert json.loads((tmp_path / "a.json").read_bytes()) == "knee\udcff"
