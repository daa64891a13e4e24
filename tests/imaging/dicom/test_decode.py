"""Pixels are those that pydicom decodes, whatever the encoding, bits, sign and whatever the meta header says."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.dicom.decode import read_stored_values
from srrd_ray.imaging.dicom.files import Slice, read_folder
from srrd_ray.imaging.images import read_image
from tests.imaging import makers

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LITTLE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def written(allocated: int, stored: int, signed: bool, syntax: UID, seed: int) -> bytes:
    """Return a CT slice of random bits, those above BitsStored included, as a file of `syntax`."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 6, 2))
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = rng.integers(0, 1 << allocated, (rows, columns), dtype=np.uint64)
    stream = io.BytesIO()
    dataset = makers.a_slice(np.zeros((rows, columns), np.int16))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    raw = pixels.astype(f"{order}u{allocated // 8}").tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if allocated == 8 and syntax != ImplicitVRLittleEndian else "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def slice_of(folder: Path, content: bytes) -> Slice:
    (folder / "IM0001.dcm").write_bytes(content)
    return read_folder(folder).slices[0]


def relabelled(content: bytes, claimed: UID | None) -> bytes:
    """Return the file with another transfer syntax in its meta header, or none."""
    length = struct.unpack("<I", content[140:144])[0]
    meta, rest = content[144 : 144 + length], content[144 + length :]
    at = meta.index(b"\x02\0\x10\0UI")
    end = at + 8 + struct.unpack("<H", meta[at + 6 : at + 8])[0]
    value = (claimed or "").encode()
    value += b"\0" * (len(value) % 2)
    named = b"\x02\0\x10\0UI" + struct.pack("<H", len(value)) + value if claimed else b""
    meta = meta[:at] + named + meta[end:]
    return content[:140] + struct.pack("<I", len(meta)) + meta + rest


def by_pydicom(content: bytes) -> NDArray[np.integer]:
    return np.asarray(dcmread(io.BytesIO(content)).pixel_array)


@settings(max_examples=150)
@given(
    allocated=st.sampled_from([8, 16, 32]),
    unused=st.integers(0, 7),
    signed=st.booleans(),
    syntax=st.sampled_from(NATIVE),
    seed=st.integers(0, 2**32 - 1),
)
def test_stored_values_are_those_of_pydicom(
    allocated: int, unused: int, signed: bool, syntax: UID, seed: int
) -> None:
    content = written(allocated, allocated - unused, signed, syntax, seed)
    with TemporaryDirectory() as folder:
        item = slice_of(Path(folder), content)
        assert (item.stored.offset is not None) == (syntax in LITTLE), "the fast path is what is compared"
        found = read_stored_values(item)
    expected = by_pydicom(content)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60)
@given(
    allocated=st.sampled_from([8, 16]),
    real=st.sampled_from(NATIVE[:3]),
    claimed=st.sampled_from([None, *LITTLE]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_meta_header_that_names_no_or_another_encoding_moves_no_pixel(
    allocated: int, real: UID, claimed: UID | None, seed: int
) -> None:
    content = written(allocated, allocated, False, real, seed)
    with TemporaryDirectory() as folder:
        try:
            item = slice_of(Path(folder), relabelled(content, claimed))
        except InputError:
            assert real == ExplicitVRBigEndian
            return
        assert item.stored.relabelled == (real != claimed)
        np.testing.assert_array_equal(read_stored_values(item), by_pydicom(content))


def test_files_without_preamble_are_read_like_the_others(tmp_path: Path) -> None:
    files = makers.series(tmp_path / "ct")
    expected = read_image(tmp_path / "ct", "ct").volume.array
    for file in files[3:6]:
        file.write_bytes(file.read_bytes()[132:])
    np.testing.assert_array_equal(read_image(tmp_path / "ct", "ct").volume.array, expected)


def test_the_correction_of_an_encoding_is_recorded(tmp_path: Path) -> None:
    for file in makers.series(tmp_path / "ct"):
        file.write_bytes(relabelled(file.read_bytes(), ImplicitVRLittleEndian))
    image = read_image(tmp_path / "ct", "ct")
    makers.assert_in_place(image.volume)
    assert [str(note) for note in image.notes if note.code == "dicom-encoding"] == [
        "FIX dicom-encoding: meta header of 12 slices names no encoding or another: read as the data have it"
    ]


def refused(folder: Path, code: str) -> InputError:
    with pytest.raises(InputError) as caught:
        read_image(folder, "ct")
    assert caught.value.code == code
    return caught.value


def test_compressed_pixels_that_are_called_uncompressed_are_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"

    for file in makers.series(tmp_path / "ct"):
        dataset = dcmread(file)
        edit(0, dataset)
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset.save_as(file)
        file.write_bytes(relabelled(file.read_bytes(), ExplicitVRLittleEndian))
    refused(tmp_path / "ct", "dicom-pixels")


def test_values_that_bits_stored_cannot_hold_are_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation = 0
        dataset.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = 8, 7

    makers.series(tmp_path / "ct", edit=edit)
    refused(tmp_path / "ct", "dicom-pixels")


def test_pixels_in_the_high_bits_are_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.BitsStored = 12

    makers.series(tmp_path / "ct", edit=edit)
    assert "HighBit 15" in str(refused(tmp_path / "ct", "dicom-high-bit"))


def test_several_frames_in_a_classic_file_are_refused(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.NumberOfFrames = 2
        dataset.PixelData += dataset.PixelData

    makers.series(tmp_path / "ct", edit=edit)
    refused(tmp_path / "ct", "dicom-header")


def test_a_deflated_file_that_inflates_beyond_the_limit_is_refused_before_it_is_parsed(
    tmp_path: Path,
) -> None:
    dataset = makers.a_slice(np.zeros((2000, 2000), np.int16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (tmp_path / "a.dcm").stat().st_size < 20_000
    with pytest.raises(InputError, match="image-too-large"):
        read_folder(tmp_path, max_gib=0.005)
    assert len(read_folder(tmp_path).slices) == 1
