from pathlib import Path

import ngff_zarr
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image as NgffImage

from srrd_ray.core.errors import StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Knee, StoredVolume
from srrd_ray.core.volume import Volume
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file

KNEE = Knee(participant="017", side="L")
OBLIQUE = [[0.1, 0.29, 0.0, -40.0], [-0.28, 0.1, 0.1, 12.5], [0.02, 0.03, 0.9, 100.25], [0.0, 0.0, 0.0, 1.0]]


def volume(shape: tuple[int, int, int] = (20, 70, 130), dtype: str = "i2") -> Volume[np.generic]:
    values = np.random.default_rng(0).normal(0, 300, shape).astype(dtype)
    return Volume(array=values, geometry=Geometry.from_affine(shape, OBLIQUE))


def write(path: Path, image: Volume[np.generic]) -> StoredVolume:
    return omezarr.write_volume(path, image, knee=KNEE, image="ct", unit="HU", sources={"ct": "ab" * 32})


@pytest.mark.parametrize("dtype", ["i2", "u1", "f4", ">i2", ">f4"])
def test_values_and_oblique_geometry_come_back_exactly(tmp_path: Path, dtype: str) -> None:
    image = volume(dtype=dtype)
    stored = write(tmp_path / "ct.ome.zarr", image)
    back = omezarr.read_volume(tmp_path / "ct.ome.zarr")
    np.testing.assert_array_equal(back.array, image.array)
    assert back.geometry == image.geometry
    assert omezarr.read_stored(tmp_path / "ct.ome.zarr") == stored
    assert stored.knee == KNEE
    assert stored.unit == "HU"


def test_same_voxels_give_same_bytes_whatever_the_strides(tmp_path: Path) -> None:
    image = volume()
    turned = Volume(array=np.asfortranarray(image.array), geometry=image.geometry)
    write(tmp_path / "a", image)
    write(tmp_path / "b", turned)
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")


def test_what_was_scanned_comes_back_and_is_verified(tmp_path: Path) -> None:
    image = volume()
    scanned = image.array.astype(np.float64) > -100
    path = tmp_path / "ct.ome.zarr"
    omezarr.write_volume(path, image, knee=KNEE, image="ct", unit="HU", scanned=scanned)
    found = omezarr.open_scanned(path)
    assert found is not None
    np.testing.assert_array_equal(np.asarray(found[:]), scanned)
    np.testing.assert_array_equal(omezarr.read_volume(path).array, image.array)
    NgffImage.from_zarr(zarr.open_group(path, mode="r"))
    omezarr.verify(path)
    zarr.open_group(path, mode="r+")[omezarr.SCANNED][0, 0, 0] = not scanned[0, 0, 0]  # type: ignore[index]
    with pytest.raises(StoreError, match="store-altered"):
        omezarr.verify(path)
    write(tmp_path / "b", image)
    assert omezarr.open_scanned(tmp_path / "b") is None


def test_metadata_are_valid_ngff_with_spacing_in_millimetres(tmp_path: Path) -> None:
    write(tmp_path / "a", volume())
    image = NgffImage.from_zarr(zarr.open_group(tmp_path / "a", mode="r"))
    scale = image.ome_attributes.multiscales[0].datasets[0].coordinateTransformations[0]
    np.testing.assert_allclose(scale.scale, Geometry.from_affine((1, 1, 1), OBLIQUE).spacing_mm)  # type: ignore[union-attr]


def test_another_reader_sees_the_same_voxels_spacing_and_pyramid(tmp_path: Path) -> None:
    image = volume()
    write(tmp_path / "a.ome.zarr", image)
    seen = ngff_zarr.from_ngff_zarr(str(tmp_path / "a.ome.zarr")).images
    np.testing.assert_array_equal(np.asarray(seen[0].data), image.array)
    np.testing.assert_allclose([seen[0].scale[axis] for axis in "zyx"], image.geometry.spacing_mm)
    levels = [omezarr.open_level(tmp_path / "a.ome.zarr", n).shape for n in range(len(seen))]
    assert [level.data.shape for level in seen] == levels
    assert len(levels) > 1


def test_every_level_holds_block_means_at_block_centres(tmp_path: Path) -> None:
    shape = (5, 7, 130)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ramp = (3.0 * z + 2.0 * y + x).astype(np.float32)
    write(tmp_path / "a", Volume(array=ramp, geometry=Geometry.axis_aligned(shape, (0.5, 0.5, 0.5))))
    coarse = omezarr.level_geometry(tmp_path / "a", 1)
    values = np.asarray(omezarr.open_level(tmp_path / "a", 1)[:])
    assert values.shape == coarse.shape == (3, 4, 65)
    centres = coarse.index_to_lps(np.argwhere(np.ones((2, 3, 65)))) / 0.5
    np.testing.assert_allclose(values[:2, :3].ravel(), centres @ [1.0, 2.0, 3.0], atol=1e-4)


def test_coarse_axes_are_halved_only_when_voxels_have_become_cubes() -> None:
    assert omezarr.downsampling_factor(Geometry.axis_aligned((80, 512, 512), (1.5, 0.3, 0.3))) == (1, 2, 2)
    assert omezarr.downsampling_factor(Geometry.axis_aligned((80, 128, 128), (1.5, 1.2, 1.2))) == (2, 2, 2)


def test_levels_of_labels_invent_no_label(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).choice(np.array([0, 1, 4], np.uint8), (9, 80, 80))
    image = Volume(array=labels, geometry=Geometry.axis_aligned(labels.shape, (1, 1, 1)))
    omezarr.write_volume(tmp_path / "a", image, knee=KNEE, image="ct_bones", unit="label")
    assert set(np.unique(omezarr.open_level(tmp_path / "a", 1)[:])) <= {0, 1, 4}


def test_zeros_are_stored_and_a_removed_shard_is_refused_not_read_as_zeros(tmp_path: Path) -> None:
    empty = Volume(
        array=np.zeros((8, 70, 70), np.int16), geometry=Geometry.axis_aligned((8, 70, 70), (1, 1, 1))
    )
    write(tmp_path / "a", empty)
    assert omezarr.read_volume(tmp_path / "a").array.max() == 0
    next(p for p in (tmp_path / "a" / "0" / "c").rglob("*") if p.is_file()).unlink()
    for reader in (omezarr.read_volume, omezarr.open_level, omezarr.verify):
        with pytest.raises(StoreError, match="shard-missing") as caught:
            reader(tmp_path / "a")
        assert caught.value.code == "shard-missing"


def test_any_flipped_byte_of_a_shard_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a", volume((6, 9, 70)))
    shard = next(p for p in (tmp_path / "a" / "0" / "c").rglob("*") if p.is_file())
    whole = shard.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 97)):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(StoreError) as caught:
            omezarr.read_volume(tmp_path / "a")
        assert caught.value.code == "store-torn"
    shard.write_bytes(whole)
    omezarr.verify(tmp_path / "a")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_shard_cut_short_is_found(tmp_path: Path, share: float) -> None:
    write(tmp_path / "a", volume((6, 9, 70)))
    shard = next(p for p in (tmp_path / "a" / "0" / "c").rglob("*") if p.is_file())
    shard.write_bytes(shard.read_bytes()[: int(share * shard.stat().st_size)])
    with pytest.raises(StoreError) as caught:
        omezarr.read_volume(tmp_path / "a")
    assert caught.value.code in {"store-torn", "shard-missing"}


def test_verify_finds_a_shard_of_another_volume(tmp_path: Path) -> None:
    write(tmp_path / "a", volume((6, 9, 70)))
    other = volume((6, 9, 70))
    write(tmp_path / "b", Volume(array=other.array[::-1].copy(), geometry=other.geometry))
    shard = next(p for p in (tmp_path / "a" / "0" / "c").rglob("*") if p.is_file())
    shard.write_bytes((tmp_path / "b" / shard.relative_to(tmp_path / "a")).read_bytes())
    with pytest.raises(StoreError) as caught:
        omezarr.verify(tmp_path / "a")
    assert caught.value.code == "store-altered"


def test_another_version_stops_with_both_versions_named(tmp_path: Path) -> None:
    write(tmp_path / "a", volume((6, 9, 70)))
    meta = tmp_path / "a" / "zarr.json"
    meta.write_text(meta.read_text().replace("srrd-volume/1", "srrd-volume/9"))
    with pytest.raises(StoreError, match="got srrd-volume/9, expected srrd-volume/1"):
        omezarr.read_stored(tmp_path / "a")


def test_a_failed_write_leaves_the_old_volume_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = write(tmp_path / "a", volume())

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(omezarr, "downsample", full)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "a", volume(dtype="f4"))
    assert omezarr.read_stored(tmp_path / "a") == stored
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
