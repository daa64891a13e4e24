from pathlib import Path

import pytest

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
