from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Image, Knee, Modality, StoredVolume, Unit
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.export import export_series
from srrd_ray.imaging.images import read_image
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file
from tests.imaging import makers
from tests.imaging.makers import OBLIQUE, grid

KNEE = Knee(participant="A1", side="L")


def stored(path: Path, values: NDArray[np.generic], image: Image, unit: Unit) -> StoredVolume:
    volume = Volume(array=values, geometry=grid(OBLIQUE))
    source: Modality | None = "mr" if image == "sct" else None
    return omezarr.write_volume(path, volume, knee=KNEE, image=image, unit=unit, synthetic_from=source)


def test_an_exported_ct_is_read_back_voxel_by_voxel_in_its_place(tmp_path: Path) -> None:
    ct = stored(tmp_path / "ct.ome.zarr", makers.voxels(grid(OBLIQUE)), "ct", "HU")
    back = read_image(export_series(ct, tmp_path / "out"), "ct", side="L")
    np.testing.assert_array_equal(back.volume.array, makers.voxels(grid(OBLIQUE)))
    assert back.volume.geometry.matches(grid(OBLIQUE))


def test_fractions_are_kept_within_a_65000th_of_their_range(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=makers.SHAPE).astype(np.float32)
    mr = stored(tmp_path / "mr.ome.zarr", values, "mr", "au")
    back = read_image(export_series(mr, tmp_path / "out"), "mr").volume.array
    assert np.abs(back - values).max() < np.ptp(values) / 65000


def test_a_synthetic_ct_says_so_and_new_uids_are_the_same_for_the_same_volume(tmp_path: Path) -> None:
    sct = stored(tmp_path / "sct.ome.zarr", makers.voxels(grid(OBLIQUE)), "sct", "HU")
    export_series(sct, tmp_path / "a")
    export_series(sct, tmp_path / "b")
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")
    header = dcmread(tmp_path / "a" / "IM00001.dcm")
    assert "SYNTHETIC" in header.ImageType
    assert "SYNTHETIC" in header.SeriesDescription


def test_28_nothing_of_the_source_is_in_the_exported_files(tmp_path: Path) -> None:
    makers.series(tmp_path / "in", geometry=grid(OBLIQUE))
    image = read_image(tmp_path / "in", "ct")
    ct = stored(tmp_path / "ct.ome.zarr", image.volume.array, "ct", "HU")
    for file in export_series(ct, tmp_path / "out").iterdir():
        assert not [planted for planted in makers.PLANTED if planted.encode() in file.read_bytes()]


def test_labels_and_values_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    labels = stored(tmp_path / "l.ome.zarr", np.ones(makers.SHAPE, np.uint8), "ct_bones", "label")
    with pytest.raises(InputError, match="export-labels"):
        export_series(labels, tmp_path / "out")
    wide = stored(tmp_path / "w.ome.zarr", np.full(makers.SHAPE, 1e6, np.float32), "ct", "HU")
    with pytest.raises(InputError, match="export-range"):
        export_series(wide, tmp_path / "out")
    assert not (tmp_path / "out").exists()
