"""`srrd measure` where images, masks and results lie in an object store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.measurement.folder import measure_folder
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.table import read_rows
from srrd_ray.storage import objects
from tests.stages.bones import grey_bone, write_nifti, write_zarr
from tests.test_cli import code_of

SHAPE = (24, 28, 32)


def put(bucket: Path, local: Path, key: str) -> str:
    """Upload a file or folder and return its address."""
    name = str(bucket).removeprefix("s3://")
    files = [local] if local.is_file() else sorted(path for path in local.rglob("*") if path.is_file())
    pairs = [
        (path, key if path == local else f"{key}/{path.relative_to(local).as_posix()}") for path in files
    ]
    objects.upload(name, pairs)
    return f"{bucket}/{key}"


def test_one_volume_is_read_from_a_store_and_its_results_are_written_there(
    bucket: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = write_nifti(tmp_path / "bone.nii.gz", grey_bone(SHAPE))
    region = np.zeros(SHAPE, np.uint8)
    region[4:20, 6:20, 8:30] = 1
    roi = write_nifti(tmp_path / "roi.nii.gz", region)
    image, mask = put(bucket, local, "in/bone.nii.gz"), put(bucket, roi, "in/roi.nii.gz")
    assert (
        code_of(
            "measure", image, "--roi", mask, "--out", f"{bucket}/out/bone.json", "--maps", f"{bucket}/maps"
        )
        == 0
    )
    remote = json.loads(capsys.readouterr().out)
    assert code_of("measure", str(local), "--roi", str(roi)) == 0
    assert remote == json.loads(capsys.readouterr().out)
    assert json.loads((bucket / "out" / "bone.json").read_text()) == remote
    assert sorted(path.name for path in (bucket / "maps").iterdir()) == ["spacing.nrrd", "thickness.nrrd"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_folder_in_a_store_becomes_a_table_there_and_is_not_measured_twice(
    bucket: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        put(
            bucket, write_nifti(tmp_path / "bone.nii.gz", grey_bone(SHAPE, seed=seed)), f"bones/{seed}.nii.gz"
        )
    put(bucket, write_zarr(tmp_path / "c.ome.zarr", grey_bone(SHAPE)), "bones/c.ome.zarr")
    out = bucket / "out" / f"bones{suffix}"
    first = measure_folder(bucket / "bones", out)
    assert [row["image"] for row in first] == ["1.nii.gz", "2.nii.gz", "c.ome.zarr"]
    assert {row["status"] for row in first} == {"ok"}
    assert read_rows(out) == first
    monkeypatch.setattr("srrd_ray.measurement.row.measure_image", lambda *_, **__: 1 / 0)
    assert measure_folder(bucket / "bones", out) == first
    assert [path.name for path in (bucket / "out").iterdir()] == [out.name]


def test_blocks_in_a_store_say_what_to_do(
    bucket: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(bucket, write_zarr(tmp_path / "c.ome.zarr", grey_bone(SHAPE)), "c.ome.zarr")
    assert code_of("measure", image, "--blocks", "32", "--out", str(tmp_path / "o.json")) == 2
    assert "it is then fetched whole" in capsys.readouterr().err
    assert code_of("measure", image, "--out", str(tmp_path / "o.json")) == 0


def test_the_settings_of_a_row_tell_apart_all_that_changes_it() -> None:
    recipes = [
        Recipe(), Recipe(mode="bonej"), Recipe(surface="subvoxel"), Recipe(threshold="3"), Recipe(bone="tibia"),
        Recipe(source="mr"), Recipe(source="mr", marrow=3.0), Recipe(source="mr", method="paper"),
    ]  # fmt: skip
    hashes = [recipe.settings(roi=roi, bone_mask=False) for recipe in recipes for roi in (False, True)]
    assert len(set(hashes)) == len(hashes)
