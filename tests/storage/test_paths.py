"""The same code on a folder and on a real S3 server: same bytes, whole or absent, few requests."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from srrd_ray.cohort.check import check
from srrd_ray.cohort.tables import read_cohort
from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.storage import objects, omezarr, patch_store, paths
from srrd_ray.storage.atomic import replacing, write_text
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.paths import cached_listing, local_copy, modified_times, parse_path, remove_tree
from srrd_ray.storage.tables import read_table, write_table
from srrd_ray.storage.weights import load_tensors, save_tensors
from tests.imaging import makers
from tests.object_store import ObjectStore
from tests.storage.test_patch_store import arrays, patches

SHAPE = (70, 80, 90)
TABLE = pd.DataFrame({"participant": ["A1", "B2"], "BV/TV": [0.25, None]})


def volume(seed: int = 0) -> Volume[np.int16]:
    array = np.random.default_rng(seed).integers(-1000, 2000, SHAPE).astype(np.int16)
    return Volume(array=array, geometry=Geometry.axis_aligned(SHAPE, (1.0, 0.5, 0.5), (0, 0, 0)))


def write_ct(path: Path, seed: int = 0) -> None:
    omezarr.write_volume(path, volume(seed), knee=Knee.parse("sub-A1_side-L"), image="ct", unit="HU")


def copy_up(local: Path, to: Path) -> Path:
    """Copy a folder into a store."""
    assert isinstance(to, paths.ObjectPath)
    files = [file for file in sorted(local.rglob("*")) if file.is_file()]
    objects.upload(to.bucket, [(file, to.prefix + file.relative_to(local).as_posix()) for file in files])
    return to


def contents(path: Path) -> dict[str, bytes]:
    with local_copy(path) as here:
        return {
            p.relative_to(here).as_posix(): p.read_bytes() for p in sorted(here.rglob("*")) if p.is_file()
        }


def test_a_place_reads_as_a_path_does(bucket: Path, tmp_path: Path) -> None:
    for root in (bucket / "deep", tmp_path / "deep"):
        write_text(root / "b" / "two.json", "twö\n")
        write_text(root / "b" / "three.txt", "3")
        write_text(root / "one.json", "1")
        assert (root / "b" / "two.json").read_text(encoding="utf-8") == "twö\n"
        assert (root / "b" / "two.json").read_bytes() == "twö\n".encode()
        with (root / "b" / "two.json").open(encoding="utf-8") as file:
            assert list(file) == ["twö\n"]
        with (root / "b" / "two.json").open("rb") as raw:
            raw.seek(-2, os.SEEK_END)
            assert raw.read() == "twö\n".encode()[-2:]
        assert [(root / name).is_file() for name in ("one.json", "b", "none", "b/two")] == [
            True,
            False,
            False,
            False,
        ]
        assert [(root / name).is_dir() for name in ("one.json", "b", "none", "b/two")] == [
            False,
            True,
            False,
            False,
        ]
        assert [(root / name).exists() for name in ("one.json", "b", "none", "b/two")] == [
            True,
            True,
            False,
            False,
        ]
        assert sorted(p.name for p in root.iterdir()) == ["b", "one.json"]
        assert [p.relative_to(root).as_posix() for p in sorted(root.glob("*/t*.json"))] == ["b/two.json"]
        assert [p.name for p in root.glob("o*")] == ["one.json"]
        assert sorted(p.name for p in root.rglob("*.json")) == ["one.json", "two.json"]
        assert (root / "one.json").stat().st_size == 1
        assert root.resolve() == pickle.loads(pickle.dumps(root))
        with pytest.raises(FileNotFoundError):
            (root / "none").read_bytes()
        with pytest.raises(FileNotFoundError):
            (root / "none").stat()
        (root / "one.json").unlink()
        remove_tree(root)
        assert not root.exists()


def test_only_addresses_of_a_store_are_places_of_one(tmp_path: Path) -> None:
    assert parse_path(tmp_path) is tmp_path
    assert str(parse_path(Path("s3://bucket/a/b"))) == "s3://bucket/a/b"
    for wrong in ("s3://", "gs://bucket/a", "s3://bucket/a/../b"):
        with pytest.raises(ConfigError, match="place-invalid"):
            parse_path(Path(wrong))


def test_a_place_is_never_taken_for_a_file_name() -> None:
    with pytest.raises(StoreError, match="place-remote"):
        os.fspath(parse_path(Path("s3://bucket/a")))
    with pytest.raises(StoreError, match="place-remote"):
        parse_path(Path("s3://bucket/a")).open("w")


WRITERS: dict[str, Callable[[Path], object]] = {
    "ct.ome.zarr": write_ct,
    "shard.zarr": lambda path: patch_store.write_shard(path, arrays(13), patches(path, 13)),
    "table.parquet": lambda path: write_table(path, TABLE),
    "weights.safetensors": lambda path: save_tensors(path, {"a": torch.arange(6.0)}, {"learner": "a"}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_store_holds_the_bytes_that_a_disk_would(bucket: Path, tmp_path: Path, name: str) -> None:
    for root in (tmp_path, bucket):
        WRITERS[name](root / name)
    assert contents(tmp_path) == contents(bucket)
    assert hash_file(tmp_path / name) == hash_file(bucket / name)


def test_what_a_store_holds_is_read_back(bucket: Path) -> None:
    for name, write in WRITERS.items():
        write(bucket / name)
    np.testing.assert_array_equal(omezarr.read_volume(bucket / "ct.ome.zarr").array, volume().array)
    omezarr.verify(bucket / "ct.ome.zarr")
    assert patch_store.verify_shard(bucket / "shard.zarr") == 13
    assert list(patch_store.read_index(bucket / "shard.zarr")) == patches(bucket / "shard.zarr", 13)
    pd.testing.assert_frame_equal(read_table(bucket / "table.parquet"), TABLE)
    assert load_tensors(bucket / "weights.safetensors")[0]["a"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_window_of_a_volume_is_fetched_without_the_rest(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, s3: ObjectStore
) -> None:
    write_ct(bucket / "ct.ome.zarr")
    fetched: list[int] = []
    read = objects.read

    def counting(bucket: str, key: str, span: tuple[int, int] | None = None) -> bytes:
        found = read(bucket, key, span)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(objects, "read", counting)
    window = (slice(65, 70), slice(65, 80), slice(65, 90))
    values = omezarr.open_level(bucket / "ct.ome.zarr")[window]
    np.testing.assert_array_equal(values, volume().array[window])
    assert sum(fetched) < volume().array.nbytes / 2


def test_a_folder_is_replaced_whole_its_root_last(bucket: Path, s3: ObjectStore) -> None:
    write_text(bucket / "ct.ome.zarr" / "stale" / "c", "old")
    write_text(bucket / "ct.ome.zarr" / "zarr.json", "{}")
    before = len(s3.requests)
    write_ct(bucket / "ct.ome.zarr", seed=1)
    assert "stale/c" not in contents(bucket / "ct.ome.zarr")
    changes = [path.partition("?")[0] for method, path in s3.requests[before:] if method in ("PUT", "POST")]
    assert changes[-1].endswith("/ct.ome.zarr/zarr.json")
    np.testing.assert_array_equal(omezarr.read_volume(bucket / "ct.ome.zarr").array, volume(1).array)


def test_a_volume_is_few_objects(bucket: Path) -> None:
    write_ct(bucket / "ct.ome.zarr")
    levels = len(list(bucket.glob("ct.ome.zarr/*/zarr.json")))
    assert len(contents(bucket / "ct.ome.zarr")) == 1 + 2 * levels


def test_an_error_while_writing_leaves_the_old(bucket: Path) -> None:
    write_text(bucket / "a", "old")

    def write(beside: Path) -> None:
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), replacing(bucket / "a") as beside:
        write(beside)
    assert (bucket / "a").read_text() == "old"
    assert [p.name for p in bucket.iterdir()] == ["a"]


def test_an_upload_that_breaks_off_shows_nothing(
    bucket: Path, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(method: str, path: str) -> HTTPStatus | None:
        return (
            HTTPStatus.FORBIDDEN if method == "PUT" and ("partNumber=2" in path or "/0/c/" in path) else None
        )

    monkeypatch.setattr(objects, "PART_BYTES", 5 * 2**20)
    with s3.failing(refuse):
        with pytest.raises(StoreError, match="store-denied"), replacing(bucket / "large") as beside:
            beside.write_bytes(bytes(12 * 2**20))
        with pytest.raises(StoreError, match="store-denied"):
            write_ct(bucket / "ct.ome.zarr")
    assert not (bucket / "large").exists()
    assert not (bucket / "ct.ome.zarr").exists()
    with pytest.raises(StoreError, match="store-missing"):
        omezarr.read_volume(bucket / "ct.ome.zarr")
    assert not objects.client().list_multipart_uploads(Bucket=bucket.parts[1]).get("Uploads")


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_volume(bucket: Path, s3: ObjectStore) -> None:
    code = (
        "from pathlib import Path; from srrd_ray.storage.paths import parse_path; from tests.storage.test_paths import write_ct\n"
        f"write_ct(parse_path(Path({str(bucket)!r})) / 'ct.ome.zarr')"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2])

    def kill(method: str, _: str) -> HTTPStatus | None:
        if method == "PUT" and any(
            True for _ in bucket.rglob("*")
        ):  # something is up, and not the root, which is last
            writer.kill()
            return HTTPStatus.INTERNAL_SERVER_ERROR
        return None

    with s3.failing(kill):
        assert writer.wait(timeout=120) == -9
    assert any(True for _ in bucket.rglob("*"))
    assert not (bucket / "ct.ome.zarr").exists()
    write_ct(bucket / "ct.ome.zarr")
    omezarr.verify(bucket / "ct.ome.zarr")


@pytest.mark.parametrize(
    ("damage", "code"), [("removed", "shard-missing"), ("short", "store-torn"), ("flipped", "store-torn")]
)
def test_a_lost_or_torn_object_is_found(bucket: Path, damage: str, code: str) -> None:
    write_ct(bucket / "ct.ome.zarr")
    shard = bucket / "ct.ome.zarr" / "0" / "c" / "0" / "0" / "0"
    held = shard.read_bytes()
    if damage == "removed":
        shard.unlink()
    else:
        middle = len(held) // 3
        torn = (
            held[:middle]
            if damage == "short"
            else held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :]
        )
        objects.write(bucket.parts[1], "ct.ome.zarr/0/c/0/0/0", torn)
    with pytest.raises(StoreError, match=code):
        omezarr.read_volume(bucket / "ct.ome.zarr")


def test_a_cohort_is_read_from_one_listing_however_many_knees_it_has(
    bucket: Path, tmp_path: Path, s3: ObjectStore
) -> None:
    counts = []
    for people in (("A1", "B2"), ("A1", "B2", "C3", "D4", "E5")):
        local = makers.cohort(tmp_path / str(len(people)), people=people, sides=("L", "R"))
        root = copy_up(local, bucket / str(len(people)))
        before = len(s3.requests)
        found = read_cohort(root)
        counts.append(len(s3.requests) - before)
        assert [k.knee for k in found.knees] == [k.knee for k in read_cohort(local).knees]
        assert [str(k.ct.path).removeprefix(str(root)) for k in found.knees if k.ct] == [
            str(k.ct.path).removeprefix(str(local)) for k in read_cohort(local).knees if k.ct
        ]
    assert counts[0] == counts[1] <= 4


def test_check_finds_in_a_store_what_it_finds_on_disk(bucket: Path, tmp_path: Path) -> None:
    from tests.cohort.test_check import broken

    local = broken(tmp_path)
    assert check(copy_up(local, bucket / "cohort")) == check(local)


def test_a_folder_of_dicom_in_a_store_is_checked(bucket: Path, tmp_path: Path) -> None:
    local = makers.cohort(tmp_path / "cohort", people=("A1",))
    (local / "sub-A1/ct/sub-A1_side-L_ct.nii.gz").unlink()
    makers.series(local / "sub-A1/ct/sub-A1_side-L_ct")
    found = check(copy_up(local, bucket / "cohort"))
    assert found == check(local)


def test_one_listing_answers_as_the_store_would(bucket: Path) -> None:
    write_text(bucket / "run" / "a" / "b.json", "1")
    write_ct(bucket / "run" / "ct.ome.zarr")
    names = ("a", "a/b.json", "a/none", "ct.ome.zarr", "none", "ct.ome.zarr/0")
    asked = [((bucket / "run" / n).is_dir(), (bucket / "run" / n).is_file()) for n in names]
    sizes = paths.list_sizes(bucket / "run")
    with cached_listing(bucket / "run"):
        assert [((bucket / "run" / n).is_dir(), (bucket / "run" / n).is_file()) for n in names] == asked
        assert paths.list_sizes(bucket / "run") == sizes


def test_what_is_written_directly_in_a_folder_is_told_also_while_files_vanish(
    tmp_path: Path, bucket: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.json", "b.json"):
        (tmp_path / "in" / name).write_text("{}")
    copy_up(tmp_path / "in", bucket / "in")
    (tmp_path / "in" / "gone.json").symlink_to(tmp_path / "nowhere")
    files = {name for name, _ in modified_times(tmp_path / "in")} - {"deep"}
    assert files == {name for name, _ in modified_times(bucket / "in")} == {"a.json", "b.json"}
    assert [list(modified_times(root / "none")) for root in (tmp_path, bucket)] == [[], []]


def test_a_home_that_no_shell_expanded_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_path(Path("~/bone.json")) == tmp_path / "bone.json"
    with pytest.raises(ConfigError, match="place-invalid"):
        parse_path(Path("~nobody-of-this-name/bone.json"))
