"""What cannot be opened is not taken for absent: dangling links, links to themselves, what may not be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.images import image_format, read_image
from srrd_ray.imaging.places import list_files, require_there
from srrd_ray.measurement.row import hash_inputs
from tests.imaging import makers

NOBODY = 65534


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Take the rights of root away for a while; the folders above `folder` are opened to all."""
    for parent in (folder, *folder.parents):
        if (
            parent.owner() == Path(folder).owner()
            and parent.stat().st_mode & 0o700
            and parent != Path("/tmp")
        ):
            parent.chmod(parent.stat().st_mode | 0o055)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def refused(path: Path, code: str) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code
    return str(caught.value)


def test_nothing_a_dangling_link_and_a_circle_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "dangling.nii").symlink_to("annex/objects/x")
    (tmp_path / "circle.nii").symlink_to("circle.nii")
    for name, code in (("none", "image-missing"), ("dangling", "link-broken"), ("circle", "link-broken")):
        refused(tmp_path / f"{name}.nii", code)
        with pytest.raises(InputError, match=code):
            image_format(tmp_path / f"{name}.nii")


def test_slices_whose_links_dangle_are_counted_and_refused(tmp_path: Path) -> None:
    files = makers.series(tmp_path / "ct")
    for file in files[-2:]:
        file.unlink()
        file.symlink_to(f"../annex/{file.name}")
    assert "got 2 of 12 entries" in refused(tmp_path / "ct", "link-broken")


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct")
    (tmp_path / "ct" / "again").symlink_to(tmp_path / "ct")
    assert [note.code for note in read_image(tmp_path / "ct", "ct").notes] == []
    assert len(list_files(tmp_path / "ct")) == 12


def test_a_linked_folder_outside_is_not_left_out_in_silence(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct")
    makers.series(tmp_path / "elsewhere")
    (tmp_path / "ct" / "more").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "ct", "path-outside")


@pytest.mark.parametrize("what", ["folder", "subfolder", "slice", "file"])
def test_what_may_not_be_read_is_named_and_not_called_absent(tmp_path: Path, what: str) -> None:
    files = makers.series(tmp_path / "ct")
    (tmp_path / "ct" / "sub").mkdir()
    plain = makers.nifti(tmp_path / "a.nii", makers.bone())
    shut = {
        "folder": tmp_path / "ct",
        "subfolder": tmp_path / "ct" / "sub",
        "slice": files[3],
        "file": plain,
    }[what]
    with as_nobody(tmp_path):
        pass  # opens the folders above
    shut.chmod(0)
    try:
        with as_nobody(tmp_path):
            refused(plain if what == "file" else tmp_path / "ct", "path-unreadable")
    finally:
        shut.chmod(0o700)


def test_a_file_in_a_folder_that_may_not_be_entered_is_unreadable(tmp_path: Path) -> None:
    path = makers.nifti(tmp_path / "shut" / "a.nii", makers.bone())
    with as_nobody(tmp_path):
        pass
    path.parent.chmod(0)
    try:
        with as_nobody(tmp_path), pytest.raises(InputError, match="path-unreadable"):
            require_there(path)
    finally:
        path.parent.chmod(0o700)


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.nii.gz")
    refused(tmp_path / "scan.nii.gz", "path-special")
    with pytest.raises(InputError, match="path-special"):
        hash_inputs(tmp_path / "scan.nii.gz")
