from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry, Points, transform_points
from srrd_ray.core.volume import Volume
from srrd_ray.patches import PatchConfig, SubchondralPoint, cut_ct, cut_mr, place_cubes, subchondral_points
from srrd_ray.patches.sampling import CT_SHAPE, MR_SHAPE, ct_grid, mr_grid
from tests.patches.phantoms import knee_labels, oblique_grid, rotation, voxel_lps

LABELS = knee_labels(oblique_grid())
POINT = SubchondralPoint(bone="tibia", compartment="medial", center_lps_mm=(12.0, -3.0, -10.0), depth_mm=8.0)
POSE = np.eye(4)
POSE[:3, :3], POSE[:3, 3] = rotation((1.0, 0.4, -0.3), 25.0), (14.0, -9.0, 6.0)


def ramp(points: Points) -> np.ndarray:
    return np.asarray(points @ np.array([3.0, -2.0, 5.0]) + 40.0)


def ramp_volume(grid: Geometry) -> Volume[np.float32]:
    return Volume(array=ramp(voxel_lps(grid)).astype(np.float32), geometry=grid)


def mr_volume() -> Volume[np.float32]:
    sagittal = np.eye(4)
    sagittal[:3, :3] = np.array([[0, 0, -0.75], [0.3, 0, 0], [0, -0.3, 0]])
    grid = Geometry.from_affine((40, 100, 100), sagittal)
    centre = grid.index_to_lps((19.5, 49.5, 49.5))
    sagittal[:3, 3] = transform_points(POSE, POINT.center_lps_mm) - centre
    return ramp_volume(Geometry.from_affine(grid.shape, sagittal))


def test_a_ct_cube_from_an_oblique_volume_holds_the_values_of_its_own_lps_grid() -> None:
    patch = cut_ct(ramp_volume(LABELS.geometry), LABELS, POINT)
    assert patch.image.shape == CT_SHAPE
    np.testing.assert_allclose(patch.image, ramp(voxel_lps(ct_grid(POINT.center_lps_mm))), atol=0.01)


def test_an_mr_cube_is_mapped_by_the_transform_of_its_bone() -> None:
    patch = cut_mr(mr_volume(), POSE, LABELS, POINT)
    assert patch.image.shape == MR_SHAPE
    expected = ramp(transform_points(POSE, voxel_lps(mr_grid(POINT.center_lps_mm))))
    np.testing.assert_allclose(patch.image, expected, atol=0.02)


def test_mr_detail_finer_than_the_ct_grid_survives_the_cut() -> None:
    volume = mr_volume()
    waves = np.sin(2 * np.pi * voxel_lps(volume.geometry)[..., 1] / 0.8).astype(np.float32)
    patch = cut_mr(Volume(array=waves, geometry=volume.geometry), POSE, LABELS, POINT)
    assert patch.image.std() > 0.85 / np.sqrt(2)


def test_both_cubes_are_centred_at_the_point() -> None:
    for grid in (ct_grid(POINT.center_lps_mm), mr_grid(POINT.center_lps_mm)):
        np.testing.assert_allclose(grid.corners_lps().mean(axis=0), POINT.center_lps_mm)


def test_the_mask_is_the_part_of_the_cube_inside_the_bone() -> None:
    shallow = SubchondralPoint(
        bone="tibia", compartment="medial", center_lps_mm=(12.0, -3.0, -2.0), depth_mm=0.0
    )
    patch = cut_ct(ramp_volume(LABELS.geometry), LABELS, shallow)
    assert patch.mask.mean() == pytest.approx(0.5, abs=0.05)
    assert not patch.mask[-1].any()
    assert patch.mask[0].all()


def test_cubes_inside_volume_and_bone_are_all_kept() -> None:
    points = subchondral_points(LABELS, "R", PatchConfig())
    placement = place_cubes(ramp_volume(LABELS.geometry), LABELS, points, PatchConfig())
    assert (len(placement.kept), placement.outside_volume, placement.outside_bone) == (24, 0, 0)


def test_a_cube_that_leaves_the_bone_is_excluded_and_counted() -> None:
    shallow = PatchConfig(depth_mm=1.0)
    points = subchondral_points(LABELS, "R", shallow)
    placement = place_cubes(ramp_volume(LABELS.geometry), LABELS, points, shallow)
    assert (placement.kept, placement.outside_bone) == ((), len(points))


def test_a_cube_that_leaves_the_volume_is_excluded_and_counted() -> None:
    points = subchondral_points(LABELS, "R", PatchConfig())
    half = ramp_volume(LABELS.geometry).crop((0, 0, 0), (71, 71, 50))
    placement = place_cubes(half, LABELS, points, PatchConfig())
    assert placement.outside_volume >= 8
    assert {p.compartment for p in placement.kept} <= {"lateral"}
    assert all(np.isfinite(cut_ct(half, LABELS, p).image).all() for p in placement.kept)


def test_no_region_gets_more_cubes_than_asked_for() -> None:
    config = PatchConfig(per_region=2, pitch_mm=2.0)
    points = subchondral_points(LABELS, "L", config)
    placement = place_cubes(ramp_volume(LABELS.geometry), LABELS, points, config)
    assert len(placement.kept) == 8


def test_cubes_of_a_region_keep_their_distance() -> None:
    config = PatchConfig(pitch_mm=1.0, radius_mm=5.0, apart_mm=4.0)
    placement = place_cubes(
        ramp_volume(LABELS.geometry), LABELS, subchondral_points(LABELS, "R", config), config
    )
    centres = np.array(
        [p.center_lps_mm for p in placement.kept if (p.bone, p.compartment) == ("tibia", "medial")]
    )
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    assert gaps[np.triu_indices(len(centres), 1)].min() >= 4.0
