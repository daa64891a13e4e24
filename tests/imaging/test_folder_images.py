"""Images of a folder: every one once, and what cannot be looked into is among them."""

from __future__ import annotations

from pathlib import Path

from srrd_ray.imaging.folder_images import find_images
from tests.imaging import makers
from tests.imaging.test_places import as_nobody


def test_links_back_add_nothing_and_links_to_nothing_are_images(tmp_path: Path) -> None:
    makers.nifti(tmp_path / "sub" / "A.NII.GZ", makers.bone())
    (tmp_path / "sub" / "again").symlink_to("..")
    (tmp_path / "b.nii.gz").symlink_to("nowhere")
    makers.series(tmp_path / "ct")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "IM1.dcm").symlink_to("nowhere.dcm")
    (tmp_path / "half.ome.zarr").mkdir()
    assert find_images(tmp_path) == ("b.nii.gz", "ct", "gone", "half.ome.zarr", "sub/A.NII.GZ")


def test_a_folder_that_may_not_be_read_is_among_them(tmp_path: Path) -> None:
    makers.nifti(tmp_path / "a.nii", makers.bone())
    makers.nifti(tmp_path / "shut" / "b.nii", makers.bone())
    with as_nobody(tmp_path):
        pass
    (tmp_path / "shut").chmod(0)
    try:
        with as_nobody(tmp_path):
            assert find_images(tmp_path) == ("a.nii", "shut")
    finally:
        (tmp_path / "shut").chmod(0o700)
