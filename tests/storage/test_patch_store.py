from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import InputError, StoreError
from srrd_ray.core.records import COMPARTMENTS, Knee, Patch
from srrd_ray.storage import patch_store
from srrd_ray.storage.file_hash import hash_file


def patches(path: Path, count: int) -> list[Patch]:
    return [
        Patch(
            store=path,
            row=i,
            knee=Knee(participant=f"{i // 4:03d}", side="L"),
            bone=BONES[i % 2],
            compartment=COMPARTMENTS[i // 2 % 2],
            center_lps_mm=(0.1 * i, -1 / 3, 7.0),
            depth_mm=7.25,
        )
        for i in range(count)
    ]


def arrays(count: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    return {
        "ct": rng.normal(0, 300, (count, 4, 8, 8)).astype(np.int16),
        "mr": rng.normal(size=(count, 6, 6, 3)).astype(np.float16),
        "ct_mask": np.zeros((count, 4, 8, 8), np.uint8),
        "has_mr": rng.random(count) > 0.5,
    }


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "patches" / "shard-00000.zarr"
    patch_store.write_shard(path, arrays(13), patches(path, 13), {"config": "ab", "spacing": 0.4})
    return path


@pytest.mark.parametrize("count", [0, 1, 13])
def test_arrays_index_and_attributes_come_back_exactly(tmp_path: Path, count: int) -> None:
    path = tmp_path / "shard-00001.zarr"
    patch_store.write_shard(path, arrays(count), patches(path, count), {"config": "ab"})
    back = patch_store.read_shard(path)
    for name, values in arrays(count).items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == values.dtype
    assert list(patch_store.read_index(path)) == patches(path, count)
    assert patch_store.read_attributes(path) == {"config": "ab"}
    assert patch_store.verify_shard(path) == count


def test_names_and_rows_choose_what_is_read(shard: Path) -> None:
    back = patch_store.read_shard(shard, ("mr",), slice(5, 7))
    assert list(back) == ["mr"]
    np.testing.assert_array_equal(back["mr"], arrays(13)["mr"][5:7])


def test_each_array_is_one_shard_file(shard: Path) -> None:
    assert (
        sorted(p.parts[-6] if "c" in p.parts else p.name for p in shard.glob("ct/c/**/*") if p.is_file())
        != []
    )
    assert sum(p.is_file() for p in (shard / "ct" / "c").rglob("*")) == 1


def test_same_rows_give_same_bytes(shard: Path, tmp_path: Path) -> None:
    other = tmp_path / "again" / shard.name
    patch_store.write_shard(other, arrays(13), patches(other, 13), {"spacing": 0.4, "config": "ab"})
    assert hash_file(other) == hash_file(shard)
    assert hash_file(other.with_suffix(".parquet")) == hash_file(shard.with_suffix(".parquet"))


def test_rows_that_disagree_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.zarr"
    with pytest.raises(InputError) as caught:
        patch_store.write_shard(path, arrays(5), patches(path, 4), {})
    assert caught.value.code == "shard-rows"
    with pytest.raises(InputError):
        patch_store.write_shard(path, arrays(4), patches(path, 4)[::-1], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ct", "mr", "ct_mask", "has_mr"])
def test_a_missing_shard_file_is_refused_and_never_zeros(shard: Path, name: str) -> None:
    next(p for p in (shard / name / "c").rglob("*") if p.is_file()).unlink()
    with pytest.raises(StoreError, match="shard-missing"):
        patch_store.read_shard(shard, (name,))


def test_any_flipped_byte_is_found(shard: Path) -> None:
    file = next(p for p in (shard / "mr" / "c").rglob("*") if p.is_file())
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 97)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x04]) + whole[place + 1 :])
        with pytest.raises(StoreError, match="store-torn"):
            patch_store.read_shard(shard, ("mr",))


def test_any_flipped_byte_of_the_index_is_found_or_harmless(shard: Path) -> None:
    index = shard.with_suffix(".parquet")
    whole, truth = index.read_bytes(), patch_store.read_index(shard)
    found = 0
    for place in range(0, len(whole), 23):
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert patch_store.read_index(shard) == truth
        except StoreError as error:
            found += error.code in {"index-torn", "schema-version"}
    assert found > 20


def test_an_index_of_another_shard_is_found(shard: Path) -> None:
    other = shard.with_name("shard-00001.zarr")
    changed = arrays(13) | {"ct": arrays(13)["ct"][::-1]}
    patch_store.write_shard(other, changed, patches(other, 13), {})
    shard.with_suffix(".parquet").write_bytes(other.with_suffix(".parquet").read_bytes())
    with pytest.raises(StoreError, match="store-altered"):
        patch_store.verify_shard(shard)


def test_a_missing_index_is_named(shard: Path) -> None:
    shard.with_suffix(".parquet").unlink()
    with pytest.raises(StoreError, match=r"index-missing.*shard-00000.parquet"):
        patch_store.read_index(shard)


def test_no_path_of_this_machine_is_written(shard: Path) -> None:
    needle = str(shard.parent).encode()
    for file in shard.parent.rglob("*"):
        assert not file.is_file() or needle not in file.read_bytes()
