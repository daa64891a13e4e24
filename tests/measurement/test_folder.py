"""A folder of bone volumes becomes a table; a bad file is a row of its own, and nothing is measured twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.errors import ConfigError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.measurement import row as measure_row
from srrd_ray.measurement.folder import measure_folder
from srrd_ray.measurement.image import measure_image
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import Flat
from srrd_ray.measurement.table import read_rows, write_rows
from tests.imaging import makers
from tests.stages.bones import grey_bone, write_mha, write_nifti, write_nrrd, write_zarr


def bones(root: Path) -> Path:
    """Return a folder with a volume of each format, one of them in a subfolder, a broken one, and other files."""
    folder = root / "bones"
    (folder / "more").mkdir(parents=True)
    grey = grey_bone((24, 28, 32))
    write_nifti(folder / "a.nii.gz", grey)
    write_nrrd(folder / "b.nrrd", grey, (0.1, 0.05, 0.05))
    write_mha(folder / "more" / "c.mha", grey)
    write_zarr(folder / "d.ome.zarr", grey)
    makers.series(folder / "e_dicom", values=grey_bone(makers.SHAPE))
    (folder / "broken.nii.gz").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    return folder


NAMES = ["a.nii.gz", "b.nrrd", "broken.nii.gz", "d.ome.zarr", "e_dicom", "more/c.mha"]


def test_through_ray_each_image_is_a_row_and_a_broken_one_says_why(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    folder, out = bones(tmp_path), tmp_path / "results.parquet"
    measure_folder(folder, out, executor=RayExecutor(cluster))
    rows = {row["image"]: row for row in read_rows(out)}
    assert sorted(map(str, rows)) == NAMES
    broken = rows["broken.nii.gz"]
    assert (broken["status"], broken["code"], broken["Tb.Th"]) == ("failed", "image-unreadable", None)
    assert "broken.nii.gz" in str(broken["message"])
    alone = measure_image(folder / "a.nii.gz")
    assert [rows["a.nii.gz"][name] for name in ("BV/TV", "Tb.Th", "Tb.Sp", "Euler")] == [
        alone[name] for name in ("BV/TV", "Tb.Th", "Tb.Sp", "Euler")
    ]
    assert [rows["b.nrrd"][f"spacing_{axis}_mm"] for axis in "zyx"] == [0.1, 0.05, 0.05]
    assert not list(tmp_path.glob(".results*"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are measured from here on."""
    seen: list[str] = []

    def counting(
        path: Path, recipe: Recipe, *, roi: Path | None, bone_mask: Path | None, threads: int
    ) -> Flat:
        seen.append(path.name)
        return measure_image(path, recipe, roi=roi, bone_mask=bone_mask, threads=threads)

    monkeypatch.setattr(measure_row, "measure_image", counting)
    return seen


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_only_new_and_changed_images_and_those_that_failed_are_measured_again(
    tmp_path: Path, counted: list[str], suffix: str
) -> None:
    folder, out = bones(tmp_path), tmp_path / f"results{suffix}"
    first = measure_folder(folder, out)
    assert len(counted) == 6
    counted.clear()
    write_nifti(folder / "new.nii", grey_bone((24, 28, 32), seed=7))
    write_nrrd(folder / "b.nrrd", grey_bone((24, 28, 32), seed=8))
    second = {row["image"]: row for row in measure_folder(folder, out)}
    assert sorted(counted) == ["b.nrrd", "broken.nii.gz", "new.nii"]
    for row in first:
        if row["image"] not in ("b.nrrd", "broken.nii.gz"):
            assert second[row["image"]] == row


def test_rows_of_a_run_that_was_killed_are_kept(
    tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = bones(tmp_path), tmp_path / "results.csv"
    with monkeypatch.context() as killed:
        killed.setattr("srrd_ray.measurement.folder.write_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            measure_folder(folder, out)
    assert not out.exists()
    counted.clear()
    measure_folder(folder, out)
    assert counted == ["broken.nii.gz"]


def test_a_defect_of_ours_is_a_row_too_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, recipe: Recipe, *, roi: Path | None, bone_mask: Path | None, threads: int) -> Flat:
        if path.name == "b.nrrd":
            raise ZeroDivisionError("a defect")
        return measure_image(path, recipe, roi=roi, bone_mask=bone_mask, threads=threads)

    monkeypatch.setattr(measure_row, "measure_image", broken)
    rows = {row["image"]: row for row in measure_folder(bones(tmp_path), tmp_path / "results.parquet")}
    assert (rows["b.nrrd"]["status"], rows["b.nrrd"]["code"]) == ("failed", "unexpected-ZeroDivisionError")
    assert rows["a.nii.gz"]["status"] == "ok"


def test_another_threshold_measures_everything_again(tmp_path: Path, counted: list[str]) -> None:
    folder, out = bones(tmp_path), tmp_path / "results.csv"
    measure_folder(folder, out)
    counted.clear()
    measure_folder(folder, out, Recipe(threshold="130"))
    assert len(counted) == 6


def test_a_folder_of_masks_of_the_same_names_restricts_each_image(tmp_path: Path) -> None:
    folder, masks = tmp_path / "bones", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    roi = np.zeros((24, 28, 32), np.uint8)
    roi[:12] = 1
    for name in ("a.nii", "b.nii"):
        write_nifti(folder / name, grey_bone((24, 28, 32)))
    write_nifti(masks / "a.nii", roi)
    a, b = sorted(measure_folder(folder, tmp_path / "out.csv", roi=masks), key=lambda row: str(row["image"]))
    assert (a["n_voxels"], a["status"]) == (roi.sum(), "ok")
    assert (b["status"], b["code"]) == ("failed", "mask-missing")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="folder-empty"):
        measure_folder(tmp_path / "empty", tmp_path / "out.csv")


def test_a_stray_slice_is_a_row_of_its_own_and_what_is_not_read_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "bones"
    folder.mkdir()
    write_nifti(folder / "new\nline.nii", grey_bone((24, 28, 32)))
    makers.series(tmp_path / "ct")
    (folder / "lone.dcm").write_bytes(min((tmp_path / "ct").iterdir()).read_bytes())
    (folder / "pair.img").write_bytes(b"x")
    with caplog.at_level("INFO", logger="srrd_ray"):
        rows = {row["image"]: row for row in measure_folder(folder, tmp_path / "OUT.CSV")}
    assert {name: row["code"] for name, row in rows.items()} == {
        "lone.dcm": "dicom-too-few-slices",
        "new\\nline.nii": None,
    }
    assert [str(row["image"]) for row in read_rows(tmp_path / "OUT.CSV")] == list(rows)
    said = [record.getMessage() for record in caplog.records]
    assert sum("1 of the files are not read: pair.img" in text for text in said) == 1
    assert all("\n" not in text for text in said)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_row_that_was_changed_in_the_table_is_measured_again(
    tmp_path: Path, counted: list[str], suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, out = tmp_path / "bones", tmp_path / f"rows{suffix}"
    folder.mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(folder / name, grey_bone((20, 20, 20)))
    first = measure_folder(folder, out)
    changed = [dict(row) for row in read_rows(out)]
    changed[1]["Tb.Th"] = 482.0
    write_rows(out, changed)
    counted.clear()
    assert measure_folder(folder, out) == first
    assert counted == ["b.nii.gz"]
    assert "b.nii.gz  its row was changed in the table: measured again" in caplog.text
