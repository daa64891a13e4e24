import json
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
import zarr
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Knee, Modality
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import image_format, read_header, read_image
from srrd_ray.imaging.masks import read_mask
from srrd_ray.storage import omezarr
from tests.imaging import makers
from tests.imaging.makers import OBLIQUE, bone, grid, signal


def itk_image(geometry: Geometry, values: NDArray[np.generic]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(values)
    affine = geometry.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("modality", ["ct", "mr", None])
def test_every_format_written_by_itk_is_read_in_place(
    tmp_path: Path, suffix: str, compressed: bool, modality: Modality | None
) -> None:
    geometry = grid(OBLIQUE)
    path = tmp_path / f"image{suffix}"
    SimpleITK.WriteImage(itk_image(geometry, makers.voxels(geometry)), str(path), useCompression=compressed)
    image = read_image(path, modality)
    assert image.volume.geometry.matches(geometry, tolerance_mm=1e-3)
    assert image.volume.array.dtype == np.int16
    index = np.moveaxis(np.indices(geometry.shape), 0, -1)
    np.testing.assert_allclose(
        image.volume.array, signal(image.volume.geometry.index_to_lps(index)), atol=0.6
    )
    assert read_header(path, modality).geometry == image.volume.geometry


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_values_of_every_type_are_kept(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (9, 10, 11)).astype(dtype)
    path = tmp_path / "a.mha"
    SimpleITK.WriteImage(itk_image(Geometry.axis_aligned((9, 10, 11), (1, 1, 1)), values), str(path))
    np.testing.assert_array_equal(read_image(path).volume.array, values)


def test_fractions_stay_float_and_whole_numbers_become_int16(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32)
    a, b = makers.nifti(tmp_path / "a.nii", values), makers.nifti(tmp_path / "b.nii", np.rint(10 * values))
    assert read_image(a).volume.array.dtype == np.float32
    assert read_image(b).volume.array.dtype == np.int16


def test_values_beyond_int16_stay_float(tmp_path: Path) -> None:
    values = np.array([40000, 0], np.uint16).repeat(2000).reshape(10, 20, 20)
    assert read_image(makers.nifti(tmp_path / "a.nii", values), "mr").volume.array.max() == 40000


def test_an_ras_nrrd_is_turned_into_lps(tmp_path: Path) -> None:
    header = {
        "space": "right-anterior-superior",
        "space directions": np.diag([0.5, 0.5, 1.0]),
        "space origin": [1, 2, 3],
    }
    nrrd.write(str(tmp_path / "a.nrrd"), bone(), header)
    geometry = read_header(tmp_path / "a.nrrd", "ct").geometry
    np.testing.assert_array_equal(geometry.index_to_lps((0, 0, 0)), [-1, -2, 3])
    assert geometry.affine[0, 0] == -0.5


def test_an_nrrd_without_orientation_is_no_knee_but_can_be_measured(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), bone(), {"spacings": [0.5, 0.5, 1.0]})
    with pytest.raises(InputError, match="image-no-orientation"):
        read_header(tmp_path / "a.nrrd", "ct")
    image = read_image(tmp_path / "a.nrrd")
    assert image.volume.geometry.spacing_mm == (1.0, 0.5, 0.5)
    assert [note.severity for note in image.notes] == ["FLAG"]


def test_a_header_may_not_choose_which_file_is_read(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nhdr"), bone(), detached_header=True)
    SimpleITK.WriteImage(itk_image(grid(), makers.voxels(grid())), str(tmp_path / "b.mhd"))
    for name in ("a.nhdr", "b.mhd"):
        with pytest.raises(InputError, match="image-detached"):
            read_header(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "z.mha", "z.nrrd"])
def test_files_cut_short_are_refused(tmp_path: Path, name: str) -> None:
    SimpleITK.WriteImage(
        itk_image(grid(), makers.voxels(grid())), str(tmp_path / name), useCompression=name[0] == "z"
    )
    whole = (tmp_path / name).read_bytes()
    for share in (0.05, 0.5, 0.99):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / name, "ct")
        assert caught.value.code in {"image-truncated", "image-unreadable"}


def foreign(path: Path, version: int, unit: str | None = "micrometer") -> Path:
    axes = [{"name": name, "type": "space"} | ({"unit": unit} if unit else {}) for name in "zyx"]
    transforms = [{"type": "scale", "scale": [20.0, 10.0, 10.0]}]
    scales = [
        {
            "axes": axes,
            "datasets": [{"path": "s0", "coordinateTransformations": transforms}],
            "version": "0.4",
        }
    ]
    group = zarr.create_group(path, zarr_format=2 if version == 4 else 3)
    array = group.create_array("s0", shape=(16, 24, 20), dtype="i2", chunks=(8, 8, 8))
    array[:] = bone().T
    block = {"multiscales": scales} if version == 4 else {"ome": {"version": "0.5", "multiscales": scales}}
    meta = path / (".zattrs" if version == 4 else "zarr.json")
    old = json.loads(meta.read_text()) if meta.exists() else {}
    meta.write_text(json.dumps(old | (block if version == 4 else {"attributes": block})))
    return path


@pytest.mark.parametrize("version", [4, 5])
def test_foreign_ome_zarr_is_read_with_its_unit(tmp_path: Path, version: int) -> None:
    image = read_image(foreign(tmp_path / "a.zarr", version))
    assert image.volume.geometry.spacing_mm == pytest.approx((0.02, 0.01, 0.01))
    np.testing.assert_array_equal(image.volume.array, bone().T)
    assert {note.code for note in image.notes} == {"zarr-units", "image-no-orientation"}


def test_foreign_ome_zarr_is_no_knee_as_it_has_no_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image-no-orientation"):
        read_header(foreign(tmp_path / "a.zarr", 5), "ct")


def test_our_own_volume_is_read_with_its_exact_geometry(tmp_path: Path) -> None:
    volume = Volume(array=makers.voxels(grid(OBLIQUE)), geometry=grid(OBLIQUE))
    omezarr.write_volume(
        tmp_path / "a.ome.zarr", volume, knee=Knee(participant="1", side="L"), image="ct", unit="HU"
    )
    assert read_image(tmp_path / "a.ome.zarr", "ct").volume.geometry == volume.geometry


def test_a_mask_takes_the_grid_of_its_image_where_they_agree(tmp_path: Path) -> None:
    ct = read_image(makers.nifti(tmp_path / "ct.nii.gz", bone()), "ct").volume.geometry
    mask = read_mask(makers.nifti(tmp_path / "m.nii.gz", (bone() > 200).astype(np.uint8) * 255), ct)
    assert mask.geometry is ct
    np.testing.assert_array_equal(mask.array, bone().T > 200)


def test_the_format_is_known_from_name_or_content(tmp_path: Path) -> None:
    assert image_format(foreign(tmp_path / "folder", 5)) == "ome-zarr"
    makers.series(tmp_path / "series")
    assert image_format(tmp_path / "series") == "dicom"
