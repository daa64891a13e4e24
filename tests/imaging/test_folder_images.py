"""Images of a folder: every one once, and what cannot be looked into is among them."""

from __future__ import annotations

from pathlib import Path

from srrd_ray.imaging.folder_images import find_images, find_images_and_others, is_one_image
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


def test_a_few_slices_beside_volumes_make_no_series_and_are_images_of_their_own(tmp_path: Path) -> None:
    makers.series(tmp_path / "ct")
    slices = sorted((tmp_path / "ct").iterdir())
    makers.nifti(tmp_path / "fm" / "a.nii.gz", makers.bone())
    for name, found in (("lone.dcm", slices[0]), ("IM7", slices[1])):
        (tmp_path / "fm" / name).write_bytes(found.read_bytes())
    assert not is_one_image(tmp_path / "fm")
    assert find_images(tmp_path / "fm") == ("IM7", "a.nii.gz", "lone.dcm")
    makers.nifti(tmp_path / "ct" / "mask.nii.gz", makers.bone())
    assert is_one_image(tmp_path / "ct")


def test_what_looks_like_an_image_and_is_not_read_is_told_apart(tmp_path: Path) -> None:
    makers.nifti(tmp_path / "a.nii", makers.bone())
    for name in ("pair.IMG", "pair.hdr", "sub/scan.isq", "notes.txt", ".hidden.img", "a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find_images_and_others(tmp_path) == (("a.nii",), ("pair.IMG", "pair.hdr", "sub/scan.isq"))
