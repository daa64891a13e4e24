"""A volume measured in blocks through Ray has the maps and the numbers of the volume in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from numpy.typing import NDArray

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.errors import InputError
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.measurement.image import measure_with_maps
from srrd_ray.measurement.recipe import Recipe
from srrd_ray.measurement.result import flatten
from srrd_ray.measurement.volume import Measured, measure_volume, write_nrrds
from srrd_ray.morphometry import local_thickness
from srrd_ray.morphometry.thickness import Mode
from tests.morphometry import shapes
from tests.stages.bones import grey_bone, write_zarr

EXACT = (
    "BV/TV", "Tb.Th", "Tb.Th.SD", "Tb.Th.max", "Tb.Sp", "Tb.Sp.SD", "Tb.Sp.max", "Tb.N(ridge)", "Euler", "Conn.D", "FD",
    "threshold", "status", "method", "n_voxels", "coverage", "units", "notes",
)  # fmt: skip


def stored(path: Path) -> NDArray[np.generic]:
    array = zarr.open_group(path, mode="r")["0"]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


def assert_as_in_one_piece(
    image: Path, found: Measured, *, threshold: str = "auto", mode: Mode = "exact", roi: Path | None = None
) -> None:
    whole = measure_with_maps(image, Recipe(threshold=threshold, mode=mode), roi=roi)
    assert np.array_equal(stored(found.maps[0]), whole.maps.maps.thickness_mm)
    assert np.array_equal(stored(found.maps[1]), whole.maps.maps.separation_mm)
    blocks = flatten(found.measures, found.binarization, found.notes)
    for name in EXACT:
        value = whole.flat[name]
        assert blocks[name] == (pytest.approx(value, rel=1e-13) if isinstance(value, float) else value), name
    for name in ("BS", "DA", "SMI", "Tb.Pf"):
        assert blocks[name] == pytest.approx(whole.flat[name], rel=1e-3), name
    assert found.measures.da_axes is not None
    assert whole.measures.da_axes is not None
    turns = np.abs(np.sum(np.multiply(found.measures.da_axes, whole.measures.da_axes), axis=1))
    assert turns == pytest.approx(1.0, abs=1e-3)
    assert list(blocks) == list(whole.flat)


def cylinder(n: int) -> NDArray[np.int16]:
    """Return grey bone in a cylinder with zeros round it, as a microCT writes it."""
    grey = grey_bone((n, n, n))
    y, x = np.ogrid[:n, :n]
    grey[:, (y - n / 2) ** 2 + (x - n / 2) ** 2 > (0.47 * n) ** 2] = 0
    return grey


def test_through_ray_a_volume_in_blocks_equals_one_piece_bit_for_bit(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", cylinder(96))
    found = measure_volume(image, tmp_path / "maps", edge=64, executor=RayExecutor(cluster))
    assert "zeros round" in found.binarization.method
    assert_as_in_one_piece(image, found)


@pytest.mark.slow
def test_blocks_through_ray_of_which_one_has_neighbours_on_all_sides_equal_one_piece_bit_for_bit(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    bone = shapes.gaussian_field((144, 144, 144))
    image = write_zarr(tmp_path / "bone.ome.zarr", bone.astype(np.uint8))
    found = measure_volume(
        image,
        tmp_path / "maps",
        recipe=Recipe(threshold="binary"),
        edge=48,
        structure=False,
        executor=RayExecutor(cluster),
    )
    assert np.array_equal(stored(found.maps[0]), local_thickness(bone, 0.05, dtype=np.float32))
    assert np.array_equal(stored(found.maps[1]), local_thickness(~bone, 0.05, dtype=np.float32))


def test_voxels_that_are_no_cubes_and_a_grey_value_give_the_same_maps(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone(), (0.1, 0.05, 0.07))
    found = measure_volume(image, tmp_path / "maps", recipe=Recipe(threshold="130"), edge=32)
    assert_as_in_one_piece(image, found, threshold="130")


def test_a_region_restricts_the_averages_and_leaves_the_maps_alone(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    roi = np.zeros((40, 44, 48), np.uint8)
    roi[5:30, 10:40, 7:33] = 1
    mask = write_zarr(tmp_path / "roi.ome.zarr", roi)
    found = measure_volume(image, tmp_path / "maps", roi=mask, edge=32)
    assert_as_in_one_piece(image, found, roi=mask)
    assert found.measures.n_voxels == roi.sum()


def test_only_blocks_that_are_missing_are_done_again(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    first = measure_volume(image, tmp_path / "maps", edge=32)
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "maps" / ".work" / "parts").rglob("*.json")}
    before = stored(first.maps[0])
    (tmp_path / "maps" / "thickness.ome.zarr" / "0" / "c" / "1" / "0" / "1").unlink()
    again = measure_volume(image, tmp_path / "maps", edge=32)
    redone = [p for p, stamp in parts.items() if p.stat().st_mtime_ns != stamp]
    assert [(p.parent.name, p.name[:13]) for p in redone] == [("painting", "000032-000040")]
    assert again.measures == first.measures
    assert np.array_equal(stored(again.maps[0]), before)


def test_an_image_that_has_changed_is_measured_anew(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    measure_volume(image, tmp_path / "maps", edge=32, structure=False)
    array = zarr.open_group(image)["0"]
    assert isinstance(array, zarr.Array)
    array[...] = grey_bone(seed=6)
    again = measure_volume(image, tmp_path / "maps", edge=32, structure=False)
    assert again.measures.tb_th_mm == measure_with_maps(image).measures.tb_th_mm


@pytest.mark.parametrize(("level", "status"), [("1000", "no-bone"), ("-1000", "all-bone")])
def test_without_bone_or_without_marrow_the_status_says_so(tmp_path: Path, level: str, status: str) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    measure_volume(image, tmp_path / "maps", edge=32, structure=False)
    found = measure_volume(image, tmp_path / "maps", recipe=Recipe(threshold=level), edge=32)
    assert found.measures.status == status
    assert (found.measures.tb_th_mm, found.measures.tb_sp_mm) == (None, None)
    assert not stored(found.maps[0]).any()


def test_a_constant_image_is_refused(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", np.full((40, 40, 40), 7, np.uint8))
    with pytest.raises(InputError, match="image-constant"):
        measure_volume(image, tmp_path / "maps", edge=32)


def test_a_region_on_another_grid_is_refused(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone())
    mask = write_zarr(tmp_path / "roi.ome.zarr", np.ones((40, 44, 47), np.uint8))
    with pytest.raises(InputError, match="mask-grid"):
        measure_volume(image, tmp_path / "maps", roi=mask, edge=32)


def test_values_that_are_no_numbers_stop_with_the_pass_that_met_them(tmp_path: Path) -> None:
    values = grey_bone().astype(np.float32)
    values[3, 4, 5] = np.nan
    image = write_zarr(tmp_path / "bone.ome.zarr", values)
    with pytest.raises(InputError, match=r"blocks-failed.*field.*voxels-not-finite"):
        measure_volume(image, tmp_path / "maps", edge=32)


@pytest.mark.parametrize("steps", [(0.05, 0.05, 0.05), (0.1, 0.05, 0.05)], ids=["cubic", "other"])
def test_the_rule_of_bonej_in_blocks_equals_one_piece_bit_for_bit(
    tmp_path: Path, steps: tuple[float, float, float]
) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone((36, 38, 40)), steps)
    found = measure_volume(image, tmp_path / "maps", recipe=Recipe(mode="bonej"), edge=32)
    assert found.measures.mode == "bonej"
    assert_as_in_one_piece(image, found, mode="bonej")


def test_maps_of_blocks_are_nrrd_too_and_open_elsewhere(tmp_path: Path) -> None:
    image = write_zarr(tmp_path / "bone.ome.zarr", grey_bone((40, 44, 48)), (0.1, 0.05, 0.04))
    found = measure_volume(image, tmp_path / "maps", edge=32, structure=False)
    write_nrrds(found)
    for name, path in zip(("thickness", "spacing"), found.maps, strict=True):
        opened = sitk.ReadImage(str(tmp_path / "maps" / f"{name}.nrrd"))
        assert np.array_equal(sitk.GetArrayFromImage(opened), stored(path))
        assert opened.GetSpacing() == pytest.approx((0.04, 0.05, 0.1))
