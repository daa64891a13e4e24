"""A NIfTI is where nibabel puts it, with the values that nibabel reads, or refused; no spacing is invented."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_header, read_image
from tests.grids import geometries
from tests.imaging import makers

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (4, 3, 2)
VALUES = np.arange(24, dtype=np.int16).reshape(SHAPE)


def image_of(
    affine: np.ndarray, kind: type = nib.Nifti1Image, *, qform: int = 1, sform: int = 1
) -> nib.Nifti1Image:
    image = kind(VALUES.T, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    return image


def write(path: Path, image: nib.Nifti1Image, **header: object) -> Path:
    """Write an image with fields of its header set to what nibabel would not write."""
    stream = io.BytesIO(image.to_bytes())
    raw = type(image.header).from_fileobj(stream, check=False)
    pixdim = raw["pixdim"].copy()
    for name, value in header.items():
        if name.startswith("pixdim"):
            pixdim[int(name[6:])] = value
        else:
            raw[name] = value
    raw["pixdim"] = pixdim
    content = raw.binaryblock + image.to_bytes()[len(raw.binaryblock) :]
    path.write_bytes(gzip.compress(content) if path.suffix.lower() == ".gz" else content)
    return path


def codes(path: Path) -> list[str]:
    return [f"{note.severity} {note.code}" for note in read_image(path).notes]


def refused(path: Path, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code


@settings(max_examples=60)
@given(
    grid=geometries(st.just(SHAPE)), kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    codes=st.sampled_from([(1, 0), (0, 2), (1, 1)]), name=st.sampled_from(["a.nii", "a.nii.gz", "A.NII.GZ", "A.NII"]),
    qfac=st.sampled_from([None, 0.0]),
)  # fmt: skip
def test_places_and_values_are_those_of_nibabel(
    grid: Geometry, kind: type, codes: tuple[int, int], name: str, qfac: float | None
) -> None:
    image = image_of(RAS @ grid.affine, kind, qform=codes[0], sform=codes[1])
    header = {} if qfac is None or np.linalg.det(image.affine) < 0 else {"pixdim0": qfac}
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / name, image, **header)
        found = read_image(path)
        try:
            expected = nib.load(path)
        except ValueError:  # a quaternion that is too long by rounding: nibabel refuses what it wrote
            reject()
        np.testing.assert_array_equal(found.volume.array.T, expected.dataobj)
    np.testing.assert_allclose(found.volume.geometry.affine, RAS @ expected.affine, atol=1e-3)


HALF_TURN = np.diag([-0.02, -0.02, 0.02, 1.0])


@pytest.mark.parametrize("sform", [0, 1])
@pytest.mark.parametrize(("length", "notes"), [(1 + 1e-7, []), (1 + 1e-5, ["FIX nifti-quaternion"])])
def test_a_quaternion_a_little_too_long_is_cut_to_its_length(
    tmp_path: Path, sform: int, length: float, notes: list[str]
) -> None:
    path = write(tmp_path / "a.nii", image_of(HALF_TURN, sform=sform), quatern_d=length)
    np.testing.assert_allclose(read_image(path).volume.geometry.affine, RAS @ HALF_TURN, atol=1e-7)
    assert codes(path) == notes


def test_a_quaternion_that_is_no_rotation_leaves_the_sform_or_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", image_of(HALF_TURN), quatern_d=1.5)
    assert codes(path) == ["FLAG nifti-form-invalid"]
    refused(write(tmp_path / "b.nii", image_of(HALF_TURN, sform=0), quatern_d=1.5), "nifti-form-invalid")
    refused(write(tmp_path / "c.nii", image_of(HALF_TURN, sform=0), quatern_d=np.nan), "nifti-form-invalid")


def test_an_sform_that_is_no_affine_leaves_the_qform(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", image_of(HALF_TURN), srow_x=[np.nan] * 4)
    assert codes(path) == ["FLAG nifti-form-invalid"]
    assert read_image(path).volume.geometry.spacing_mm == pytest.approx((0.02, 0.02, 0.02))


@pytest.mark.parametrize("size", [0.0, -0.5, np.nan, np.inf])
def test_a_voxel_size_that_is_none_is_not_made_one_millimetre(tmp_path: Path, size: float) -> None:
    refused(write(tmp_path / "a.nii", image_of(HALF_TURN, sform=0), pixdim1=size), "spacing-invalid")
    path = write(tmp_path / "b.nii", image_of(HALF_TURN), pixdim1=size)
    assert codes(path) == ["FLAG nifti-form-invalid"]
    assert read_image(path).volume.geometry.spacing_mm == pytest.approx((0.02, 0.02, 0.02))


def test_what_nibabel_mends_in_a_header_is_a_note_and_no_line_of_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.nii", image_of(HALF_TURN), qform_code=300)
    assert [str(note) for note in read_header(path).notes] == [
        "FIX nifti-header: qform_code 300 not valid; setting to 0"
    ]
    assert codes(write(tmp_path / "b.nii", image_of(HALF_TURN))) == []
    assert capfd.readouterr().err == ""


def test_forms_of_small_voxels_that_differ_by_a_few_percent_disagree(tmp_path: Path) -> None:
    image = image_of(HALF_TURN)
    image.set_qform(np.diag([-0.0205, -0.0205, 0.0205, 1.0]), code=1)
    refused(write(tmp_path / "a.nii", image), "nifti-forms-disagree")


@pytest.mark.parametrize(
    ("units", "code"), [(5, "FLAG"), (8, "FLAG"), (255, "FLAG"), (3 + 8, "FIX"), (2 + 24, "")]
)
def test_any_number_in_place_of_a_unit_is_read(tmp_path: Path, units: int, code: str) -> None:
    found = codes(write(tmp_path / "a.nii", image_of(RAS), xyzt_units=units))
    assert found == ([f"{code} nifti-units"] if code else [])


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"vox_offset": np.nan}, "image-unreadable"),
        ({"vox_offset": np.inf}, "image-unreadable"),
        ({"vox_offset": -5}, "image-unreadable"),
        ({"vox_offset": 10}, "image-unreadable"),
        ({"datatype": 999}, "image-unreadable"),
        ({"datatype": 1}, "image-unreadable"),
        ({"dim": [9, 2, 3, 4, 1, 1, 1, 1]}, "image-unreadable"),
        ({"dim": [3, -2, 3, 4, 1, 1, 1, 1]}, "image-dimensions"),
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "image-too-large"),
        ({"dim": [3, 2, 3, 32767, 1, 1, 1, 1]}, "image-truncated"),
        ({"scl_slope": 2.0, "scl_inter": np.nan}, "image-unreadable"),
        ({"magic": b"abc"}, "image-unreadable"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_headers_that_make_no_sense_are_refused(
    tmp_path: Path, header: dict[str, object], code: str, name: str
) -> None:
    refused(write(tmp_path / name, image_of(RAS), **header), code)


def test_a_flipped_bit_in_compressed_voxels_is_found(tmp_path: Path) -> None:
    content = gzip.compress(makers.nifti(tmp_path / "a.nii", makers.bone()).read_bytes(), 0)
    at = len(content) // 2
    path = tmp_path / "b.nii.gz"
    path.write_bytes(content)
    assert read_header(path).format == "nifti"
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    refused(path, "image-truncated")


def test_what_inflates_without_end_is_refused(tmp_path: Path) -> None:
    content = makers.nifti(tmp_path / "a.nii", makers.bone()).read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(content + bytes(80_000_000), 1))
    refused(path, "image-unreadable")


@pytest.mark.parametrize("angle", [180.0, 179.99, 90.0])
def test_a_half_turn_that_float32_stores_a_little_short_is_a_half_turn(tmp_path: Path, angle: float) -> None:
    half = np.radians(angle) / 2
    header = nib.Nifti1Header()
    header.set_data_shape((3, 4, 5))
    header["pixdim"][1:4], header["qform_code"] = (1.0, 1.0, 4.0), 1
    part = float(np.sin(half) / np.sqrt(2))
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = part, 0.0, part
    header.set_xyzt_units("mm")
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), None, header)
    image.to_filename(path)
    np.testing.assert_allclose(read_header(path).geometry.affine, RAS @ nib.load(path).affine, atol=1e-5)
