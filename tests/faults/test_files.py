"""Faults 29 to 39 and 64 to 69 of NIfTI, NRRD, MetaImage and foreign files, each made for real."""

import gzip
import os
import pickle
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Modality
from srrd_ray.imaging.images import read_header, read_image
from srrd_ray.imaging.masks import read_mask
from srrd_ray.imaging.source import ReadRules
from tests.imaging.makers import NAME, bone, nifti

RAS = np.diag([-0.5, -0.5, 1.0, 1.0])


def refused(path: Path, code: str, rules: ReadRules | None = None, modality: Modality | None = "ct") -> str:
    with pytest.raises(InputError) as caught:
        read_image(path, modality, rules=rules or ReadRules())
    assert caught.value.code == code
    text = str(caught.value)
    assert NAME not in text
    assert str(path.parent) not in text
    return text


def test_29_neither_qform_nor_sform_is_refused(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii", bone(), qform=0, sform=0)
    assert "left and right are unknown" in refused(path, "nifti-no-orientation")


def disagreeing(path: Path) -> Path:
    image = nib.Nifti1Image(bone(), RAS)
    image.header.set_xyzt_units("mm")
    image.set_sform(np.diag([0.5, -0.5, 1.0, 1.0]), code=1)
    image.set_qform(RAS, code=1)
    nib.save(image, path)
    return path


def test_30_forms_that_disagree_are_refused_showing_both(tmp_path: Path) -> None:
    text = refused(disagreeing(tmp_path / "ct.nii"), "nifti-forms-disagree")
    assert "qform [[-0.5" in text
    assert "sform [[0.5" in text


@pytest.mark.parametrize(("form", "sign"), [("sform", -1.0), ("qform", 1.0)])
def test_30_the_configured_form_is_used_and_recorded(tmp_path: Path, form: str, sign: float) -> None:
    rules = ReadRules(nifti_form="sform" if form == "sform" else "qform")
    image = read_image(disagreeing(tmp_path / "ct.nii"), "ct", rules=rules)
    assert image.volume.geometry.affine[0, 0] == sign * 0.5
    assert [(note.severity, note.code) for note in image.notes] == [("FIX", "nifti-forms-disagree")]


def sheared(path: Path) -> Path:
    affine = RAS.copy()
    affine[1, 2] = 0.2
    return nifti(path, bone(), affine, qform=0)


def test_31_a_sheared_sform_is_refused(tmp_path: Path) -> None:
    assert "degrees off" in refused(sheared(tmp_path / "ct.nii"), "affine-sheared")


def test_31_a_sheared_sform_is_resampled_when_configured(tmp_path: Path) -> None:
    path = sheared(tmp_path / "ct.nii")
    image = read_image(path, "ct", rules=ReadRules(shear="resample"))
    axes = image.volume.geometry.affine[:3, :3]
    assert np.abs(np.triu(axes.T @ axes, 1)).max() < 1e-9
    assert image.notes[0].code == "affine-sheared"
    assert image.volume.array.max() == pytest.approx(bone().max(), abs=15)


def test_31_an_sform_that_scales_against_pixdim_is_refused(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii", bone(), qform=0)
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    image.header["pixdim"][1:4] = (0.7, 0.7, 1.0)
    nib.Nifti1Image(bone(), None, image.header).to_filename(tmp_path / "scaled.nii")
    assert "pixdim [0.7" in refused(tmp_path / "scaled.nii", "nifti-scaled")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_32_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = nifti(tmp_path / name, bone())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError) as caught:
        read_image(path, "ct")
    assert caught.value.code in {"image-truncated", "image-unreadable"}


def test_32_a_short_plain_file_is_found_from_its_header(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii", bone())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"image-truncated.*expected 15712 bytes"):
        read_header(path, "ct")


def test_33_nan_beside_bone_is_refused_with_the_count(tmp_path: Path) -> None:
    values = bone().astype(np.float32)
    values[8, 10, 5] = np.nan
    assert "got 1 such voxels" in refused(nifti(tmp_path / "ct.nii", values), "voxels-not-finite")


def test_33_nan_in_air_becomes_air_with_the_count(tmp_path: Path) -> None:
    values = np.pad(bone().astype(np.float32), 4, constant_values=-1000)
    values[0, 0, :3] = np.inf
    image = read_image(nifti(tmp_path / "ct.nii", values), "ct")
    assert image.notes[0].message == "3 voxels that were no numbers set to air"
    assert image.volume.array.min() == -1000


@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 16, 3), (20, 24, 16, 1, 2)])
def test_34_other_than_three_axes_is_refused_naming_the_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert str(shape) in refused(nifti(tmp_path / "ct.nii", np.zeros(shape, np.int16)), "image-dimensions")


def test_34_trailing_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    image = read_image(nifti(tmp_path / "ct.nii", bone()[..., None]), "ct")
    np.testing.assert_array_equal(image.volume.array, bone().T)


@pytest.mark.parametrize("dtype", [np.dtype("c8"), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_34_rgb_and_complex_voxels_are_refused_naming_the_type(
    tmp_path: Path, dtype: np.dtype[np.generic]
) -> None:
    assert "RGB or complex" in refused(
        nifti(tmp_path / "ct.nii", np.zeros((20, 24, 16), dtype)), "image-datatype"
    )


def test_35_a_header_that_demands_too_much_memory_is_refused_before_reading(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii.gz", bone())
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    assert "expected at most 8 GiB" in refused(path, "image-too-large")


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_36_metres_and_microns_are_converted_once_and_recorded(
    tmp_path: Path, unit: str, factor: float
) -> None:
    affine = RAS.copy()
    affine[:3] *= factor
    image = read_image(nifti(tmp_path / "ct.nii", bone(), affine, unit=unit), "ct")
    assert image.volume.geometry.spacing_mm == pytest.approx((1.0, 0.5, 0.5))
    assert [(note.severity, note.code) for note in image.notes] == [("FIX", "nifti-units")]


def test_36_an_unknown_unit_is_taken_as_millimetres_and_flagged(tmp_path: Path) -> None:
    image = read_image(nifti(tmp_path / "ct.nii", bone(), unit="unknown"), "ct")
    assert [(note.severity, note.code) for note in image.notes] == [("FLAG", "nifti-units")]


def scaled(path: Path, slope: float, inter: float) -> Path:
    nifti(path, bone())
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_37_slope_zero_or_nan_counts_as_one(tmp_path: Path, slope: float) -> None:
    np.testing.assert_array_equal(
        read_image(scaled(tmp_path / "ct.nii", slope, 0.0), "ct").volume.array, bone().T
    )


def test_37_scaled_values_beyond_int16_do_not_overflow(tmp_path: Path) -> None:
    image = read_image(scaled(tmp_path / "ct.nii", 100.0, 0.5), "ct")
    assert image.volume.array.dtype == np.float32
    np.testing.assert_allclose(image.volume.array, bone().T * 100.0 + 0.5)


def mask_of(path: Path, values: NDArray[np.uint8], affine: NDArray[np.float64] = RAS) -> Path:
    return nifti(path, values, affine)


def like(path: Path) -> Geometry:
    return read_image(nifti(path, bone()), "ct").volume.geometry


def test_38_a_mask_on_another_grid_is_refused_with_both_geometries(tmp_path: Path) -> None:
    grid = like(tmp_path / "ct.nii")
    moved = RAS.copy()
    moved[0, 3] = 5.0
    for other in (
        mask_of(tmp_path / "a.nii", np.ones((20, 24, 15), np.uint8)),
        mask_of(tmp_path / "b.nii", np.ones((20, 24, 16), np.uint8), moved),
    ):
        with pytest.raises(InputError, match=r"got shape .* expected shape \(16, 24, 20\)") as caught:
            read_mask(other, grid)
        assert caught.value.code == "mask-grid"


def test_38_a_mask_of_several_labels_is_refused_naming_them(tmp_path: Path) -> None:
    values = np.zeros((20, 24, 16), np.uint8)
    values[2, 2, 2], values[3, 3, 3] = 1, 7
    with pytest.raises(InputError, match=r"labels \[0, 1, 7\]"):
        read_mask(mask_of(tmp_path / "m.nii", values), like(tmp_path / "ct.nii"))


def test_38_an_empty_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask-empty"):
        read_mask(mask_of(tmp_path / "m.nii", np.zeros((20, 24, 16), np.uint8)))


def test_39_constant_and_all_air_images_are_refused(tmp_path: Path) -> None:
    refused(nifti(tmp_path / "a.nii", np.full((20, 24, 16), 7, np.int16)), "image-constant")
    air = np.random.default_rng(0).integers(-1010, -990, (20, 24, 16)).astype(np.int16)
    assert "HU" in refused(nifti(tmp_path / "b.nii", air), "image-air")


def test_16_a_flat_nifti_is_refused(tmp_path: Path) -> None:
    assert "(7, 24, 20)" in refused(nifti(tmp_path / "a.nii", bone()[:, :, :7]), "image-too-thin")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["ct.pkl", "ct.npy", "ct.pt", "ct.npz"])
def test_64_pickled_input_is_never_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert "only safetensors" in refused(path, "format-unsafe")
    assert not (tmp_path / "exploded").exists()


def test_67_archives_are_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        archive.writestr("../escaped.txt", "x")
    refused(tmp_path / "ct.zip", "format-archive")
    assert [path.name for path in tmp_path.iterdir()] == ["ct.zip"]


def test_an_unknown_format_is_refused_with_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "ct.png").write_bytes(b"\x89PNG")
    assert ".nii.gz" in refused(tmp_path / "ct.png", "format-unknown")
    (tmp_path / "IM0001").touch()
    assert "give its folder" in refused(tmp_path / "IM0001", "format-unknown")
    (tmp_path / "ct.img").touch()
    assert "the pair of .hdr and .img" in refused(tmp_path / "ct.img", "format-unknown")


def test_a_gzip_file_without_its_ending_or_with_it_by_mistake_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "ct.nii").write_bytes(gzip.compress(bytes(400)))
    assert "rename it to .nii.gz" in refused(tmp_path / "ct.nii", "image-unreadable")
    (tmp_path / "plain.nii.gz").write_bytes(bytes(400))
    assert "BadGzipFile" not in (said := refused(tmp_path / "plain.nii.gz", "image-unreadable"))
    assert "not those of gzip" in said
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(bytes(400))[:-9])
    assert "EOFError" not in refused(tmp_path / "cut.nii.gz", "image-unreadable")


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "ct.nii.gz", "image-missing")
