"""`srrd measure` as it is typed: every format, region, threshold and output, and the exit codes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srrd_ray.imaging.images import read_image
from srrd_ray.measurement.table import read_rows
from srrd_ray.morphometry import local_thickness
from srrd_ray.morphometry.binarize import otsu_threshold, smooth_one_voxel
from tests.imaging import makers
from tests.stages.bones import grey_bone, write_mha, write_nifti, write_nrrd, write_zarr
from tests.test_cli import code_of

SHAPE = (24, 28, 32)
Write = Callable[[Path, NDArray[np.generic]], Path]
WRITERS: dict[str, Write] = {
    "a.nii.gz": write_nifti,
    "b.nrrd": write_nrrd,
    "c.mha": write_mha,
    "d.ome.zarr": write_zarr,
}


def region() -> NDArray[np.uint8]:
    roi = np.zeros(SHAPE, np.uint8)
    roi[4:20, 6:20, 8:30] = 1
    return roi


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, float]:
    assert code_of("measure", *map(str, arguments)) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def expected(bone: NDArray[np.bool_], roi: NDArray[np.generic] | None = None) -> tuple[float, float, float]:
    """Return BV/TV, Tb.Th and Tb.Sp over a region of maps of the whole."""
    inside = np.ones(bone.shape, bool) if roi is None else roi != 0
    thickness, spacing = (local_thickness(phase, 0.05)[inside & phase].mean() for phase in (bone, ~bone))
    return float(bone[inside].mean()), float(thickness), float(spacing)


def basics(found: dict[str, float]) -> tuple[float, float, float]:
    return found["BV/TV"], found["Tb.Th"], found["Tb.Sp"]


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("with_roi", [False, True], ids=["whole", "region"])
def test_every_format_gives_the_same_numbers_and_a_region_is_no_wall(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, with_roi: bool
) -> None:
    grey = grey_bone(SHAPE)
    image = WRITERS[name](tmp_path / name, grey)
    mask = ["--roi", WRITERS[name](tmp_path / f"roi_{name}", region())] if with_roi else []
    found = run(capsys, image, *mask)
    smooth = smooth_one_voxel(grey)
    level = otsu_threshold(smooth[region() != 0] if with_roi else smooth)
    assert found["threshold"] == level
    assert basics(found) == pytest.approx(expected(smooth > level, region() if with_roi else None))


def test_a_dicom_folder_is_one_volume(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    makers.series(tmp_path / "series", values=grey_bone(makers.SHAPE))
    found = run(capsys, tmp_path / "series", "--threshold", "130")
    values = read_image(tmp_path / "series").volume.array
    assert found["BV/TV"] == pytest.approx((values > 130).mean())
    assert found["spacing_mm"] == pytest.approx(list(makers.SPACING))


def test_binary_takes_every_voxel_that_is_not_zero(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bone = grey_bone(SHAPE) > 130
    image = write_nrrd(tmp_path / "bone.nrrd", (bone * 3).astype(np.uint8))
    found = run(capsys, image, "--threshold", "binary")
    assert basics(found) == pytest.approx(expected(bone))
    assert found["threshold"] is None


def test_a_grey_value_is_a_threshold(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grey = grey_bone(SHAPE)
    found = run(capsys, write_mha(tmp_path / "bone.mha", grey), "--threshold", "131.5")
    assert basics(found) == pytest.approx(expected(grey > 131.5))


def test_everything_that_is_asked_for_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE))
    out, maps, picture = tmp_path / "bone.json", tmp_path / "maps", tmp_path / "bone.png"
    found = run(capsys, image, "--out", out, "--maps", maps, "--picture", picture)
    assert json.loads(out.read_text()) == found
    assert sorted(path.name for path in maps.iterdir()) == ["spacing.nrrd", "thickness.nrrd"]
    thickness = read_image(maps / "thickness.nrrd").volume
    assert thickness.array[thickness.array > 0].mean() == pytest.approx(found["Tb.Th"], rel=1e-6)
    assert thickness.geometry.matches(read_image(image).volume.geometry)
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 500


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".CSV"])
def test_one_volume_can_be_a_table_of_one_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str
) -> None:
    image = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE))
    found = run(capsys, image, "--out", tmp_path / f"bone{suffix}")
    (row,) = read_rows(tmp_path / f"bone{suffix}")
    assert (row["image"], row["Tb.Th"], row["spacing_y_mm"]) == ("bone.nii", found["Tb.Th"], 0.05)


def test_in_blocks_the_numbers_and_the_files_are_the_same(
    cluster: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    out, maps, picture = tmp_path / "bone.json", tmp_path / "maps", tmp_path / "bone.png"
    found = run(capsys, image, "--blocks", 32, "--out", out, "--maps", maps, "--picture", picture)
    whole = run(capsys, image)
    assert basics(found) == pytest.approx(basics(whole), rel=1e-13)
    names = ["spacing.nrrd", "spacing.ome.zarr", "thickness.nrrd", "thickness.ome.zarr"]
    assert sorted(path.name for path in maps.iterdir()) == names
    assert picture.stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bone.json",
        "bone.ome.zarr",
        "bone.png",
        "maps",
    ]


def test_a_folder_is_a_table_and_ends_with_one_where_a_file_is_broken(
    cluster: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, out = tmp_path / "bones", tmp_path / "out.csv"
    folder.mkdir()
    write_nifti(folder / "good.nii", grey_bone(SHAPE))
    assert code_of("measure", str(folder), "--out", str(out)) == 0
    (folder / "bad.nii").write_bytes(b"")
    assert code_of("measure", str(folder), "--out", str(out)) == 1
    assert [(row["image"], row["status"]) for row in read_rows(out)] == [
        ("bad.nii", "failed"),
        ("good.nii", "ok"),
    ]


@pytest.mark.parametrize(
    ("threshold", "status", "empty"), [("1000", "no-bone", "Tb.Th"), ("-1000", "all-bone", "Tb.Sp")]
)
def test_a_volume_without_bone_or_marrow_ends_with_one_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, threshold: str, status: str, empty: str
) -> None:
    image = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE))
    assert code_of("measure", str(image), "--threshold", threshold) == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["status"], found[empty]) == (status, None)
    assert f"status {status}" in shown.err
    assert "NaN" not in shown.out


@pytest.mark.parametrize(
    ("roi", "code"),
    [(np.zeros(SHAPE, np.uint8), "mask-empty"), (np.ones((24, 28, 31), np.uint8), "mask-grid")],
)
def test_a_region_outside_the_image_ends_with_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, roi: NDArray[np.uint8], code: str
) -> None:
    image, mask = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE)), write_nifti(tmp_path / "roi.nii", roi)
    assert code_of("measure", str(image), "--roi", str(mask)) == 1
    assert code in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{nii}", "--blocks", "64"], "blocks-need-zarr"),
        (["{zarr}", "--blocks", "64"], "blocks-need-out"),
        (["{zarr}", "--blocks", "50", "--out", "x.json"], "blocks-invalid"),
        (["{zarr}", "--blocks", "64", "--out", "x.json", "--roi", "{nii}"], "blocks-need-zarr"),
        (["{folder}"], "option-invalid"),
        (["{folder}", "--out", "x.json"], "option-invalid"),
        (["{nii}", "--threshold", "otsu"], "threshold-invalid"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: str
) -> None:
    places = {
        "nii": write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE)),
        "zarr": write_zarr(tmp_path / "bone.ome.zarr", grey_bone(SHAPE)),
        "folder": tmp_path,
    }
    assert code_of("measure", *(argument.format(**places) for argument in arguments)) == 2
    assert code in capsys.readouterr().err


def test_a_sub_voxel_surface_finds_the_width_of_an_odd_plate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grey = np.full(SHAPE, 10, np.int16)
    grey[10:15] = 190
    path = write_nifti(tmp_path / "plate.nii.gz", grey)
    voxel = run(capsys, path, "--threshold", "100")
    between = run(capsys, path, "--threshold", "100", "--surface", "subvoxel")
    assert between["Tb.Th"] == pytest.approx(0.25, abs=1e-6)
    assert abs(voxel["Tb.Th"] - 0.25) > 0.04
    assert "sub-voxel surface" in str(between["method"])
    assert "sub-voxel" not in str(voxel["method"])


def test_a_sub_voxel_surface_is_refused_in_blocks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", grey_bone(SHAPE))
    out = tmp_path / "o.json"
    assert code_of("measure", str(path), "--blocks", "64", "--out", str(out), "--surface", "subvoxel") == 2
    assert "in blocks only the surface of voxels is known" in capsys.readouterr().err


def test_the_numbers_are_out_before_a_picture_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE))
    monkeypatch.setattr("srrd_ray.measurement.bone_picture.write_picture", lambda *_: 1 / 0)
    picture, out = tmp_path / "bone.png", tmp_path / "bone.json"
    arguments = [
        "measure",
        str(image),
        "--picture",
        str(picture),
        "--out",
        str(out),
        "--maps",
        str(tmp_path / "m"),
    ]
    assert code_of(*arguments) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads(out.read_text())
    assert "unexpected-ZeroDivisionError" in shown.err
    assert "Traceback" not in shown.err
    assert len(list((tmp_path / "m").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "ends"),
    [
        (["--out", "{folder}"], "output-name", 2),
        (["--out", "{folder}/x.txt"], "output-name", 2),
        (["--out", "{folder}/d.json"], "output-is-folder", 2),
        (["--picture", "{folder}/x.jpg"], "output-name", 2),
        (["--maps", "{nii}"], "output-is-file", 2),
        (["--out", "{nii}/x.json"], "output-unwritable", 3),
        (["--roi", "{folder}/none.nii"], "image-missing", 2),
    ],
)
def test_inputs_and_outputs_are_looked_at_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: str, ends: int
) -> None:
    (tmp_path / "d.json").mkdir()
    (tmp_path / "bone.nii").write_bytes(b"nobody reads this")
    places = {"nii": tmp_path / "bone.nii", "folder": tmp_path}
    words = [argument.format(**places) for argument in arguments]
    assert code_of("measure", str(tmp_path / "bone.nii"), *words) == ends
    assert code in capsys.readouterr().err


def test_an_image_that_is_not_there_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert code_of("measure", str(tmp_path / "none.nii")) == 2
    assert "image-missing" in capsys.readouterr().err


def test_the_json_names_what_was_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "bone.nii", grey_bone(SHAPE))
    found: dict[str, object] = dict(run(capsys, image))
    assert found["image"] == "bone.nii"
    assert found["image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert (
        found["input_sha256"]
        != run(capsys, image, "--roi", write_nifti(tmp_path / "r.nii", region()))["input_sha256"]
    )


def test_a_table_of_other_images_is_kept_and_named_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second = (write_nifti(tmp_path / name, grey_bone(SHAPE)) for name in ("a.nii.gz", "b.nii.gz"))
    table = tmp_path / "rows.csv"
    run(capsys, first, "--out", table)
    before = table.read_bytes()
    run(capsys, first, "--out", table)  # its own row is made anew
    assert code_of("measure", str(second), "--out", str(table)) == 2
    assert "[table-other-images]" in capsys.readouterr().err
    assert table.read_bytes() == before
