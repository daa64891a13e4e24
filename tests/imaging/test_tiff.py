"""TIFF stacks, pages or slices: values as their library gives them, the scale in every spelling, doubts said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from numpy.typing import NDArray
from PIL import Image

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.folder_images import find_images, is_one_image
from srrd_ray.imaging.images import image_format, read_image
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from tests.stages.bones import grey_bone

SHAPE = (12, 14, 16)
STEPS = (0.04, 0.02, 0.03)
Write = Callable[[Path, NDArray[np.generic]], None]


def grey(dtype: str = "u2") -> NDArray[np.generic]:
    return grey_bone(SHAPE).astype(dtype)


def save(path: Path, values: NDArray[np.generic], **options: object) -> None:
    tifffile.imwrite(path, values, **options)  # type: ignore[arg-type]  # as the library takes them


def description(path: Path) -> str:
    with tifffile.TiffFile(path) as file:
        return str(file.pages.first.description)


def codes(path: Path) -> list[str]:
    return [
        note.code
        for note in read_image(path).notes
        if note.severity == "FLAG" and note.code != "image-no-orientation"
    ]


def write_slices(
    folder: Path, values: NDArray[np.generic], name: str = "slice_{:d}.tif", **options: object
) -> Path:
    folder.mkdir()
    for number, plane in enumerate(values):
        save(folder / name.format(number), plane, **options)
    return folder


def imagej(unit: str, factor: float) -> Write:
    def write(path: Path, values: NDArray[np.generic]) -> None:
        z, y, x = (step * factor for step in STEPS)
        about = {"spacing": z, "unit": unit, "axes": "ZYX"}
        save(path, values, imagej=True, resolution=(1 / x, 1 / y), metadata=about)

    return write


def ome(unit: str | None, factor: float) -> Write:
    def write(path: Path, values: NDArray[np.generic]) -> None:
        sizes = {f"PhysicalSize{axis}": step * factor for axis, step in zip("ZYX", STEPS, strict=True)}
        units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"} if unit else {}
        save(path, values, ome=True, metadata={"axes": "ZYX", **sizes, **units})

    return write


def tags(unit: str, factor: float) -> Write:
    def write(path: Path, values: NDArray[np.generic]) -> None:
        per = (factor / STEPS[2], factor / STEPS[1])
        save(path, values, resolution=per, resolutionunit=unit, photometric="minisblack")

    return write


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i2", ">u2"])
def test_pages_and_slices_are_what_other_readers_give(tmp_path: Path, dtype: str) -> None:
    values = grey(dtype)
    save(tmp_path / "a.tif", values, photometric="minisblack")
    other = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.tif")))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").volume.array, other)
    np.testing.assert_array_equal(read_image(write_slices(tmp_path / "s", values)).volume.array, other)


@pytest.mark.parametrize(
    "write",
    [imagej("micron", 1e3), imagej("um", 1e3), imagej("\\u00B5m", 1e3), imagej("mm", 1), imagej("cm", 0.1), imagej("inch", 1 / 25.4),
     ome(None, 1e3), ome("mm", 1), ome("nm", 1e6)],
    ids=["micron", "um", "escaped", "mm", "cm", "inch", "ome", "ome-mm", "ome-nm"],
)  # fmt: skip
def test_the_scale_of_imagej_and_ome_is_read_in_every_unit(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.tif", grey())
    assert read_image(tmp_path / "a.tif").volume.geometry.spacing_mm == pytest.approx(STEPS, rel=1e-5)
    assert codes(tmp_path / "a.tif") == []


@pytest.mark.parametrize("write", [tags("CENTIMETER", 10.0), tags("INCH", 25.4)], ids=["cm", "inch"])
def test_resolution_tags_are_read_and_the_distance_of_slices_is_doubted(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.tif", grey())
    spacing = read_image(tmp_path / "a.tif").volume.geometry.spacing_mm
    assert spacing == pytest.approx((STEPS[1], *STEPS[1:]), rel=1e-5)
    assert codes(tmp_path / "a.tif") == ["tiff-slice-distance"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"imagej": True},
        {"imagej": True, "metadata": {"unit": "pixel", "spacing": 2.0}},
    ],
    ids=["none", "screen", "imagej", "pixel"],
)
def test_without_a_scale_lengths_are_in_voxels_and_that_is_said(
    tmp_path: Path, options: dict[str, object]
) -> None:
    save(tmp_path / "a.tif", grey(), **options)
    assert read_image(tmp_path / "a.tif").volume.geometry.spacing_mm == (1, 1, 1)
    assert codes(tmp_path / "a.tif")[-1:] == ["spacing-absent"]
    found = measure_image(tmp_path / "a.tif")
    assert "Tb.Th voxel," in str(found["units"])
    given = measure_image(tmp_path / "a.tif", Recipe(spacing="0.02"))
    assert "Tb.Th mm," in str(given["units"])
    assert float(str(given["Tb.Th"])) == pytest.approx(float(str(found["Tb.Th"])) * 0.02)


@pytest.mark.parametrize("compression", ["zlib", "packbits", "lzma"])
def test_compressed_pages_are_read(tmp_path: Path, compression: str) -> None:
    if compression == "packbits":
        Image.fromarray(grey("u1")[0]).save(tmp_path / "a.tif", save_all=True, compression="packbits",
                                            append_images=[Image.fromarray(p) for p in grey("u1")[1:]])  # fmt: skip
    else:
        save(tmp_path / "a.tif", grey("u1"), compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").volume.array, grey("u1"))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lzw_is_read(tmp_path: Path, dtype: str) -> None:
    pages = [Image.fromarray(plane) for plane in grey(dtype)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").volume.array, grey(dtype))


def test_slices_are_in_the_order_of_their_numbers_whatever_their_width(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "s", grey(), "knee2_{:d}_x.tif")
    save(folder / "preview.tif", grey()[0])
    assert codes(folder) == ["tiff-ignored", "spacing-absent"]
    np.testing.assert_array_equal(read_image(folder).volume.array, grey())


def test_a_missing_slice_and_two_stacks_in_a_folder_are_refused(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "s", grey())
    (folder / "slice_5.tif").unlink()
    with pytest.raises(InputError, match=r"tiff-gap.*number 6 after 4, expected steps of 1"):
        read_image(folder)
    for number in range(4):
        save(folder / f"mask_{number}.tif", grey()[0])
    with pytest.raises(InputError, match=r"tiff-series.*2 stacks"):
        read_image(folder)


def test_a_slice_of_another_size_is_refused_by_its_number(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "s", grey())
    save(folder / "slice_7.tif", grey()[0, :-1])
    with pytest.raises(InputError, match=r"tiff-mixed.*slice 8: \(13, 16\)"):
        read_image(folder)


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", grey())
    whole = (tmp_path / "a.tif").read_bytes()
    for share in (0.5, 0.05, 0.001):
        (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"image-truncated|image-unreadable"):
            read_image(tmp_path / "a.tif")


def test_pages_whose_chain_is_cut_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for plane in grey():
            writer.write(plane, contiguous=False, metadata=None)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"image-truncated|image-unreadable"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (np.zeros((5, 6, 7, 3), np.uint8), "image-datatype"),
        (np.zeros((6, 7), np.uint8), "image-dimensions"),
        (np.zeros((3, 4, 6, 7), np.uint8), "image-dimensions"),
    ],
    ids=["colour", "one page", "four axes"],
)
def test_what_is_no_volume_is_refused(tmp_path: Path, values: NDArray[np.generic], code: str) -> None:
    kind = "rgb" if values.shape[-1] == 3 else "minisblack"
    shape = {"metadata": {"axes": "TZYX"}, "imagej": True} if values.ndim == 4 and kind != "rgb" else {}
    save(tmp_path / "a.tif", values, **(shape or {"photometric": kind}))
    with pytest.raises(InputError, match=code):
        read_image(tmp_path / "a.tif")


def test_a_folder_of_stacks_is_no_stack(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        save(tmp_path / name, grey())
    write_slices(tmp_path / "c", grey())
    assert not is_one_image(tmp_path)
    assert find_images(tmp_path) == ("a.tif", "b.tif", "c")
    assert image_format(tmp_path / "c") == "tiff"


@pytest.mark.parametrize(("offset", "slope"), [(-32768.0, 1.0), (-1000.0, 10.0)])
def test_grey_values_are_those_that_imagej_shows(tmp_path: Path, offset: float, slope: float) -> None:
    values = grey()
    path = tmp_path / "bone.tif"
    imagej("mm", 1)(path, values)
    text = description(path)
    tifffile.tiffcomment(path, f"{text}\ncf=0\nc0={offset}\nc1={slope}\nvunit=mgHA\n")
    image = read_image(path)
    np.testing.assert_array_equal(image.volume.array, values.astype(float) * slope + offset)
    assert [note.code for note in image.notes if note.severity == "FIX"] == ["tiff-calibration"]


def test_a_calibration_that_is_no_straight_line_is_flagged(tmp_path: Path) -> None:
    values = grey()
    path = tmp_path / "bone.tif"
    imagej("mm", 1)(path, values)
    text = description(path)
    tifffile.tiffcomment(path, f"{text}\ncf=3\nc0=1.0\nc1=2.0\nc2=3.0\nvunit=OD\n")
    assert codes(path) == ["tiff-calibration"]
    np.testing.assert_array_equal(read_image(path).volume.array, values)


@pytest.mark.parametrize("rows", [0, 2**32 - 7])
def test_a_slice_whose_header_asks_for_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, rows: int
) -> None:
    for number in range(9):
        tifffile.imwrite(tmp_path / f"s_{number}.tif", np.ones((8, 10), np.uint16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "s_4.tif", mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(rows, dtype="I")
    with pytest.raises(InputError, match=r"tiff-mixed|image-unreadable"):
        read_image(tmp_path)
    (tmp_path / "s_4.tif").rename(tmp_path / "only.tif")
    with pytest.raises(InputError, match="image-"):
        read_image(tmp_path / "only.tif")


def test_what_pillow_would_turn_round_or_take_for_unsigned_is_refused(tmp_path: Path) -> None:
    signed = (grey().astype(int) - 128).clip(-128, 127).astype(np.int8)
    image = sitk.GetImageFromArray(signed)
    for use, code in (("LZW", "tiff-codec"), ("Deflate", None)):
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(tmp_path / f"{use}.tif"))
        writer.SetUseCompression(True)
        writer.SetCompressor(use)
        writer.Execute(image)
        if code is None:
            np.testing.assert_array_equal(read_image(tmp_path / f"{use}.tif").volume.array, signed)
        else:
            with pytest.raises(InputError, match=code):
                read_image(tmp_path / f"{use}.tif")


@pytest.mark.parametrize(("per", "unit"), [(300, 2), (118.11, 3), (240, 2), (28.346, 3)])
def test_the_density_of_a_printer_is_no_scale(tmp_path: Path, per: float, unit: int) -> None:
    save(tmp_path / "bone.tif", grey(), resolution=(per, per), resolutionunit=unit)
    assert "spacing-absent" in codes(tmp_path / "bone.tif")


@pytest.mark.parametrize("broken", [0, 4])
def test_a_broken_slice_among_sound_ones_is_named(tmp_path: Path, broken: int) -> None:
    write_slices(tmp_path / "stack", grey())
    file = sorted((tmp_path / "stack").iterdir())[broken]
    file.write_bytes(b"no image")
    with pytest.raises(InputError, match="image-unreadable") as caught:
        read_image(tmp_path / "stack")
    assert f"stack/{file.name}" in str(caught.value)


def test_slices_of_which_none_can_be_read_are_not_called_dicom(tmp_path: Path) -> None:
    write_slices(tmp_path / "stack", grey())
    for file in (tmp_path / "stack").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(InputError, match="image-unreadable"):
        read_image(tmp_path / "stack")


@pytest.mark.parametrize(
    ("units", "steps"),
    [
        ({"unit": "um", "zunit": "mm"}, (0.02, 0.02e-3, 0.02e-3)),
        ({"unit": "mm", "yunit": "um", "zunit": "um"}, (0.02e-3, 0.02e-3, 0.02)),
    ],
)
def test_each_axis_of_imagej_may_have_a_unit_of_its_own(
    tmp_path: Path, units: dict[str, str], steps: tuple[float, float, float]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, grey(), imagej=True, resolution=(50, 50), metadata={"spacing": 0.02, **units})
    assert read_image(path).volume.geometry.spacing_mm == pytest.approx(steps)
