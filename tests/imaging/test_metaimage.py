"""A MetaImage is read as ITK reads it, however its fields are spelt, or refused."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_header, read_image

SHAPE = (4, 3, 2)
PLAIN = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "1 2 3",
    "ElementSpacing": "0.5 0.6 0.7", "DimSize": "2 3 4", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
}  # fmt: skip
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
VALUES = np.arange(24).reshape(SHAPE)


def write(
    path: Path, changes: Mapping[str, str | None], data: bytes | None = None, mark: str = " = "
) -> Path:
    """Write a MetaImage of `PLAIN` with some fields changed, or left out (None); the last stays last."""
    fields = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    fields["ElementDataFile"] = fields.pop("ElementDataFile")
    text = "".join(f"{name}{mark}{value}\n" for name, value in fields.items())
    path.write_bytes(text.encode() + (VALUES.astype("<i2").tobytes() if data is None else data))
    return path


def by_itk(path: Path) -> tuple[Geometry, NDArray[np.generic]]:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    values = sitk.GetArrayFromImage(image)
    return Geometry.from_affine(values.shape, affine), values


def refused(path: Path, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code


scales = st.sampled_from([("ElementSpacing",), ("ElementSize",), ("ElementSize", "ElementSpacing")])
origins = st.sampled_from(["Offset", "Position", "Origin", None])
axes = st.sampled_from(["TransformMatrix", "Rotation", "Orientation", None])
orders = st.sampled_from(["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
matrices = st.sampled_from(
    ["1 0 0 0 1 0 0 0 1", "0 1 0 0 0 1 1 0 0", "-1 0 0 0 -1 0 0 0 1", "0.8 0.6 0 -0.6 0.8 0 0 0 1"]
)


@settings(max_examples=150)
@given(
    scale=scales, origin=origins, axis=axes, matrix=matrices, order=orders, big=st.sampled_from(["True", "False", "1", "t"]),
    kind=st.sampled_from(list(TYPES)), compressed=st.booleans(), mark=st.sampled_from([" = ", "=", " : ", ": "]),
    steps=st.lists(st.floats(0.01, 5), min_size=3, max_size=3),
)  # fmt: skip
def test_every_spelling_means_what_it_means_to_itk(
    scale: tuple[str, ...], origin: str | None, axis: str | None, matrix: str, order: str, big: str, kind: str,
    compressed: bool, mark: str, steps: list[float],
) -> None:  # fmt: skip
    changes: dict[str, str | None] = dict.fromkeys(
        ("ElementSpacing", "Offset", "TransformMatrix", "BinaryDataByteOrderMSB"), None
    )
    changes |= {name: " ".join(f"{s * (name == scale[-1]) or 9:.6g}" for s in steps) for name in scale}
    changes |= {origin: "7 8.5 -9"} if origin else {}
    changes |= {axis: matrix} if axis else {}
    changes |= {order: big, "ElementType": kind, "CompressedData": str(compressed)}
    data = VALUES.astype((">" if big != "False" else "<") + TYPES[kind]).tobytes()
    packed = zlib.compress(data)
    changes |= {"CompressedDataSize": str(len(packed))} if compressed else {}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.mha", changes, packed if compressed else data, mark)
        image = read_image(path)
        geometry, values = by_itk(path)
    assert image.volume.geometry.matches(geometry, tolerance_mm=1e-4)
    np.testing.assert_array_equal(image.volume.array, values)
    assert ("image-no-orientation" in {note.code for note in image.notes}) == (axis is None)


def test_an_absent_spacing_is_flagged_and_none_is_invented_for_a_knee(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", {"ElementSpacing": None})
    assert [str(n).split(":")[0] for n in read_image(path).notes] == ["FLAG spacing-absent"]
    with pytest.raises(InputError, match="spacing-absent"):
        read_header(path, "mr")


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("mm", 1.0), ("cm", 10.0), ("?", 1.0)])
def test_the_unit_of_the_file_is_kept(tmp_path: Path, unit: str, factor: float) -> None:
    image = read_image(write(tmp_path / "a.mha", {"DistanceUnits": unit}))
    assert image.volume.geometry.spacing_mm == pytest.approx((0.7 * factor, 0.6 * factor, 0.5 * factor))
    np.testing.assert_allclose(image.volume.geometry.affine[:3, 3], np.array([1, 2, 3]) * factor)
    assert [str(n).split(":")[0] for n in image.notes] == ([] if factor == 1 else ["FIX mha-units"])


@pytest.mark.parametrize(
    "key", ["dim[0]", "0008|0005", "Patient comment", "a b: c", "sform-code", "µ", "x" * 300]
)
def test_keys_of_other_formats_are_passed_over_as_by_itk(tmp_path: Path, key: str) -> None:
    voxels = sitk.GetImageFromArray(VALUES.astype("i2"))
    voxels.SetSpacing((0.5, 0.6, 0.7))
    voxels.SetMetaData(key, "ORIGINAL\\PRIMARY = 1:2 " + "y" * 5000)
    path = tmp_path / "a.mha"
    sitk.WriteImage(voxels, str(path))
    image = read_image(path)
    geometry, values = by_itk(path)
    assert image.volume.geometry.matches(geometry, tolerance_mm=1e-6)
    np.testing.assert_array_equal(image.volume.array, values)


def test_a_key_of_another_format_may_stand_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", {"0008|0018": "1.2", "0008|0018 ": "1.3"})
    np.testing.assert_array_equal(read_image(path).volume.array, VALUES)


def test_values_as_text_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", {"BinaryData": "False"}, " ".join(map(str, VALUES.ravel())).encode())
    np.testing.assert_array_equal(read_image(path).volume.array, VALUES)
    refused(write(tmp_path / "b.mha", {"BinaryData": "False"}, b"1 2 3"), "image-truncated")
    refused(write(tmp_path / "c.mha", {"BinaryData": "False"}, b"1.5 " * 24), "image-unreadable")


def test_a_fourth_axis_of_one_is_dropped_with_its_geometry(tmp_path: Path) -> None:
    matrix = "0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1"
    changes = {"NDims": "4", "DimSize": "2 3 4 1", "TransformMatrix": matrix, "Offset": "1 2 3 4"}
    path = write(tmp_path / "a.mha", changes | {"ElementSpacing": "0.5 0.6 0.7 1"})
    geometry = read_image(path).volume.geometry
    np.testing.assert_allclose(geometry.affine[:3], [[0, 0.6, 0, 1], [0.5, 0, 0, 2], [0, 0, 0.7, 3]])


def test_data_at_the_end_of_the_file_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", {"HeaderSize": "-1"}, b"junk" + VALUES.astype("<i2").tobytes())
    np.testing.assert_array_equal(read_image(path).volume.array, VALUES)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Origin": "7 8 9"}, "image-unreadable"),
        ({"Rotation": "0 1 0 1 0 0 0 0 1"}, "image-unreadable"),
        ({"ElementByteOrderMSB": "True"}, "image-unreadable"),
        ({"elementspacing": "1 1 1"}, "image-unreadable"),
        ({"ElementSpacing": "0.5 0.5"}, "image-unreadable"),
        ({"ElementSpacing": "0.5,0.5,0.5"}, "image-unreadable"),
        ({"NDims": "2"}, "image-unreadable"),
        ({"HeaderSize": "12"}, "image-unreadable"),
        ({"ElementType": "MET_OTHER"}, "image-unreadable"),
        ({"ElementType": "MET_CHAR"}, "image-unreadable"),
        ({"ElementSpacing": "-0.5 0.5 0.5"}, "spacing-invalid"),
        ({"ElementSpacing": "nan 0.5 0.5"}, "spacing-invalid"),
        ({"ElementToIntensityFunctionSlope": "2"}, "mha-intensity"),
        ({"ElementNumberOfChannels": "3"}, "image-dimensions"),
        ({"DimSize": "2000 30000 40000"}, "image-too-large"),
        ({"ElementType": "MET_INT"}, "image-truncated"),
        ({"ElementDataFile": "LIST"}, "image-detached"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_the_data_is_refused(
    tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    refused(write(tmp_path / "a.mha", changes), code)


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer"])
def test_compressed_values_are_compared_with_their_checksum(tmp_path: Path, damage: str) -> None:
    packed = zlib.compress(VALUES.astype("<i2").tobytes(), 0)
    at = len(packed) // 2
    data, code = {
        "cut": (packed[:-4], "image-truncated"),
        "flipped": (packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :], "image-truncated"),
        "longer": (zlib.compress(bytes(100_000)), "image-unreadable"),
    }[damage]
    refused(write(tmp_path / "a.mha", {"CompressedData": "True"}, data), code)
