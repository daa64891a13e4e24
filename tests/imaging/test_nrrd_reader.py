"""An NRRD has the values that pynrrd reads and the places that ITK gives them, in the units that it states."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_header, read_image
from tests.grids import geometries

SHAPE = (4, 3, 2)
VALUES = np.arange(24).reshape(SHAPE)
DIRECTED = {
    "space": "left-posterior-superior", "space directions": "(0.5,0,0) (0,0.6,0) (0,0,0.7)",
    "space origin": "(1,2,3)",
}  # fmt: skip
UNITS = {
    "mm": 1.0, "millimetres": 1.0, "um": 1e-3, "µm": 1e-3, "microns": 1e-3, "Micrometer": 1e-3, "cm": 10.0,
    "m": 1e3, "nm": 1e-6, "inches": 25.4,
}  # fmt: skip
TYPES = ("int8", "uint8", "short", "unsigned short", "int", "uint32", "longlong", "uint64", "float", "double")


def write(path: Path, fields: Mapping[str, str | None], data: bytes | None = None) -> Path:
    plain = {
        "type": "int16", "dimension": "3", "sizes": "2 3 4", "encoding": "raw", "endian": "little",
    }  # fmt: skip
    given = {name: value for name, value in {**plain, **fields}.items() if value is not None}
    text = "NRRD0005\n# a comment\n" + "".join(f"{name}: {value}\n" for name, value in given.items())
    path.write_bytes(text.encode() + b"\n" + (VALUES.astype("<i2").tobytes() if data is None else data))
    return path


def spacing_xyz(path: Path) -> tuple[float, ...]:
    return read_image(path).volume.geometry.spacing_mm[::-1]


def codes(path: Path) -> list[str]:
    return [f"{note.severity} {note.code}" for note in read_image(path).notes]


def refused(path: Path, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code


def by_itk(path: Path) -> Geometry:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Geometry.from_affine(image.GetSize()[::-1], affine)


def vector(numbers: NDArray[np.float64]) -> str:
    return "(" + ",".join(f"{float(v):.17g}" for v in numbers) + ")"


@settings(max_examples=60)
@given(
    grid=geometries(st.just(SHAPE)),
    space=st.sampled_from(["left-posterior-superior", "RAS", "left-anterior-superior", "scanner-xyz", "LPS"]),
    kinds=st.sampled_from([None, "domain domain domain", "space space space"]),
)
def test_axes_and_places_are_those_of_itk(grid: Geometry, space: str, kinds: str | None) -> None:
    directions = " ".join(vector(row) for row in grid.affine[:3, :3].T)
    fields = {"space": space, "space directions": directions, "space origin": vector(grid.affine[:3, 3])}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.nrrd", fields | {"kinds": kinds})
        image, expected = read_image(path), by_itk(path)
    assert image.volume.geometry.matches(expected, tolerance_mm=1e-3)
    assert [note.code for note in image.notes] == (["image-no-orientation"] if space == "scanner-xyz" else [])


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes, "gzip": gzip.compress, "gz": gzip.compress, "bzip2": bz2.compress, "BZ2": bz2.compress
}  # fmt: skip


@settings(max_examples=60)
@given(
    kind=st.sampled_from(TYPES), big=st.booleans(), encoding=st.sampled_from([*PACKED, "text", "ascii", "hex"]),
    lines=st.integers(0, 2), skip=st.integers(0, 5),
)  # fmt: skip
def test_values_are_those_of_pynrrd(kind: str, big: bool, encoding: str, lines: int, skip: int) -> None:
    dtype = np.dtype(nrrd.reader._TYPEMAP_NRRD2NUMPY[kind]).newbyteorder(">" if big else "<")
    raw = VALUES.astype(dtype).tobytes()
    before = b"x" * skip
    text = {"hex": raw.hex().encode()}.get(encoding, " ".join(map(str, VALUES.ravel())).encode())
    data = PACKED[encoding](before + raw) if encoding in PACKED else before + text
    fields = {"type": kind, "endian": "big" if big else "little", "encoding": encoding}
    fields |= {"line skip": str(lines), "byteskip": str(skip)}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.nrrd", fields, b"line\n" * lines + data)
        found = read_image(path).volume.array
        packed = encoding in PACKED and encoding != "raw"
        if encoding not in ("hex", "BZ2") and not (packed and skip):  # pynrrd skips these bytes twice
            np.testing.assert_array_equal(found, nrrd.read(str(path), index_order="C")[0])
    np.testing.assert_array_equal(found, VALUES)


def test_bytes_at_the_end_of_the_file_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", {"byte skip": "-1"}, b"junk" + VALUES.astype("<i2").tobytes())
    np.testing.assert_array_equal(read_image(path).volume.array, VALUES)


@pytest.mark.parametrize(("unit", "factor"), UNITS.items())
def test_units_of_space_and_of_axes_are_converted(tmp_path: Path, unit: str, factor: float) -> None:
    expected = pytest.approx([0.5 * factor, 0.6 * factor, 0.7 * factor])
    three = " ".join([f'"{unit}"'] * 3)
    space = write(tmp_path / "a.nrrd", DIRECTED | {"space units": three})
    axes = write(tmp_path / "b.nrrd", {"spacings": "0.5 0.6 0.7", "units": three})
    for path in (space, axes):
        assert list(spacing_xyz(path)) == expected
        assert ("FIX nrrd-units" in codes(path)) == (factor != 1.0)
    np.testing.assert_allclose(read_header(space).geometry.affine[:3, 3], np.array([1, 2, 3]) * factor)


def test_every_axis_has_its_own_unit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", {"spacings": "500 0.6 0.07", "units": '"um" "mm" "cm"'})
    assert list(spacing_xyz(path)) == pytest.approx([0.5, 0.6, 0.7])


def test_an_unknown_unit_is_taken_as_millimetres_and_flagged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", {"spacings": "1 1 1", "units": '"pixel" "pixel" "pixel"'})
    assert "FLAG nrrd-units" in codes(path)


@pytest.mark.parametrize(
    ("fields", "spacing"),
    [
        ({"axis mins": "0 0 0", "axis maxs": "1 1.8 2.8"}, (0.5, 0.6, 0.7)),
        ({"axismins": "0 0 0", "axismaxs": "0.5 1.2 2.1", "centers": "node node node"}, (0.5, 0.6, 0.7)),
        ({"axis mins": "nan 0 0", "axis maxs": "nan 1.8 2.8", "spacings": "0.5 nan nan"}, (0.5, 0.6, 0.7)),
    ],
)  # fmt: skip
def test_ends_of_axes_are_a_spacing_too(
    tmp_path: Path, fields: dict[str, str], spacing: tuple[float, ...]
) -> None:
    path = write(tmp_path / "a.nrrd", fields)
    assert spacing_xyz(path) == pytest.approx(spacing)
    assert codes(path) == ["FLAG image-no-orientation"]


@pytest.mark.parametrize("fields", [{}, {"spacings": "0.5 nan nan"}, {"space": "LPS"}])
def test_an_absent_scale_is_flagged(tmp_path: Path, fields: dict[str, str]) -> None:
    assert "FLAG spacing-absent" in codes(write(tmp_path / "a.nrrd", fields))


def test_fields_are_known_in_any_case_and_free_keys_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", {"Spacings": "0.5 0.6 0.7"})
    path.write_bytes(path.read_bytes().replace(b"# a comment", b"units:=um um um"))
    assert list(spacing_xyz(path)) == pytest.approx([0.5, 0.6, 0.7])


def test_an_axis_of_one_that_is_no_axis_of_space_is_dropped_wherever_it_is(tmp_path: Path) -> None:
    fields = {"dimension": "4", "sizes": "1 2 3 4", "kinds": "vector domain domain domain"}
    directed = DIRECTED | {"space directions": f"none {DIRECTED['space directions']}"}
    path = write(tmp_path / "a.nrrd", fields | directed)
    assert list(spacing_xyz(path)) == pytest.approx([0.5, 0.6, 0.7])
    np.testing.assert_array_equal(read_image(path).volume.array, VALUES)


def test_a_space_with_time_keeps_its_places(tmp_path: Path) -> None:
    fields = {
        "dimension": "4", "sizes": "2 3 4 1", "space": "right-anterior-superior-time",
        "space directions": "(0.5,0,0,0) (0,0.6,0,0) (0,0,0.7,0) (0,0,0,1)", "space origin": "(1,2,3,0)",
        "kinds": "domain domain domain time",
    }  # fmt: skip
    geometry = read_image(write(tmp_path / "a.nrrd", fields)).volume.geometry
    np.testing.assert_allclose(geometry.affine[:3], [[-0.5, 0, 0, -1], [0, -0.6, 0, -2], [0, 0, 0.7, 3]])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"kinds": "vector domain domain"}, "image-dimensions"),
        ({"kinds": "RGB-color domain domain", "space directions": "none (1,0,0) (0,1,0)"}, "image-dimensions"),
        ({"dimension": "4"}, "image-unreadable"),
        ({"kinds": "domain domain"}, "image-unreadable"),
        ({"spacings": "0.5 -0.5 0.5"}, "spacing-invalid"),
        ({"spacings": "0.5 0 0.5"}, "spacing-invalid"),
        ({"space directions": "(0,0,0) (0,1,0) (0,0,1)", "space": "LPS"}, "spacing-invalid"),
        ({"sizes": "2 3 5"}, "image-truncated"),
        ({"sizes": "2 3 3"}, "image-unreadable"),
        ({"sizes": "2000 30000 40000"}, "image-too-large"),
        ({"data file": "/etc/passwd"}, "image-detached"),
        ({"data file": "LIST\nslice0.raw\nslice1.raw"}, "image-detached"),
        ({"encoding": "zip"}, "image-unreadable"),
        ({"type": "block"}, "image-datatype"),
        ({"endian": None}, "image-unreadable"),
    ],
)  # fmt: skip
def test_what_is_no_volume_or_contradicts_itself_is_refused(
    tmp_path: Path, fields: dict[str, str | None], code: str
) -> None:
    refused(write(tmp_path / "a.nrrd", fields), code)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_compressed_values_are_compared_with_their_checksum(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(VALUES.astype("<i2").tobytes(), 0)
    at = len(packed) // 2
    data = packed[:-4] if damage == "cut" else packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
    refused(write(tmp_path / "a.nrrd", {"encoding": "gzip"}, data), "image-truncated")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_what_inflates_to_more_than_is_told_is_not_inflated(
    tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    path = write(tmp_path / "a.nrrd", {"encoding": encoding}, pack(bytes(60_000_000)))
    tracemalloc.start()
    refused(path, "image-unreadable")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
