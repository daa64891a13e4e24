from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.segmentation.acquisition import NARROWEST_MM, acquire, sample_field_of_view, smooth_field
from srrd_ray.segmentation.appearance import CORTEX, KINDS, MARROW, Appearance, sample_appearance
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.contrast import draw
from srrd_ray.segmentation.contrast_kernel import BEND_STEP, gather
from srrd_ray.segmentation.deformation import sample_placement
from srrd_ray.segmentation.simulated_classes import class_of_label
from srrd_ray.simulation.labels import LABELS
from tests.segmentation.planted import SPACING, simulated_map

SHAPE = (48, 32, 48)


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    return simulated_map()


def test_the_same_seed_gives_the_same_patch_and_another_another(labels: NDArray[np.uint8]) -> None:
    first, second, other = (
        draw(np.random.default_rng(seed), labels, SPACING, SHAPE, SPACING) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.eighths, second.eighths)
    assert not np.array_equal(first.image, other.image)


def test_a_patch_is_within_its_scale_and_every_known_voxel_is_whole(labels: NDArray[np.uint8]) -> None:
    for seed in range(12):
        made = draw(np.random.default_rng(seed), labels, SPACING, SHAPE, SPACING)
        assert made.image.shape == SHAPE
        assert made.image.dtype == np.float32
        assert np.isfinite(made.image).all()
        assert 0 <= made.image.min() <= made.image.max() <= 1
        assert set(np.unique(made.eighths.sum(axis=0))) <= {0, 8}
        assert not made.image[made.eighths.sum(axis=0) == 0].any()


def test_a_voxel_on_a_plane_holds_the_part_that_the_plane_cuts_off() -> None:
    labels = np.full((8, 8, 8), LABELS["muscle"], np.uint8)
    labels[4:] = LABELS["tibia"]
    to_map = np.column_stack([np.eye(3), [0.5, 0.0, 0.0]])  # voxel 3 is centred on the border of two labels
    counts, sums = np.zeros((len(CLASSES), 7, 7, 7), np.uint8), np.zeros((1, 7, 7, 7), np.float32)
    tables = np.zeros((1, 17), np.float32)
    tables[0, LABELS["tibia"]], tables[0, LABELS["muscle"]] = 100, 20
    bend = np.zeros((3, 7 // BEND_STEP + 2, 7 // BEND_STEP + 2, 7 // BEND_STEP + 2), np.float32)
    gather(labels, to_map, bend, class_of_label(), tables, counts, sums)
    assert (counts[2, 3] == 4).all()
    assert (counts[2, :3] == 0).all()
    assert (counts[2, 4:6] == 8).all()
    assert sums[0, :5, 0, 0].tolist() == [20, 20, 20, 60, 100]


def counted(
    labels: NDArray[np.uint8], to_map: NDArray[np.float64], bend: NDArray[np.float32], side: int
) -> NDArray[np.uint8]:
    """Return the eighths of each class in a cube of `side` voxels."""
    counts = np.zeros((len(CLASSES), side, side, side), np.uint8)
    sums = np.zeros((1, side, side, side), np.float32)
    gather(labels, to_map, bend, class_of_label(), np.zeros((1, 17), np.float32), counts, sums)
    return counts


def test_a_displacement_of_a_voxel_moves_the_labels_by_a_voxel() -> None:
    labels = np.random.default_rng(0).integers(0, 17, (20, 20, 20)).astype(np.uint8)
    to_map = np.column_stack([np.eye(3), np.full(3, 4.0)])
    made = []
    for shift in (0, 1):
        bend = np.full((3, 4, 4, 4), shift, np.float32)
        made.append(counted(labels, to_map, bend, side=9))
    assert np.array_equal(made[1][:, :-1, :-1, :-1], made[0][:, 1:, 1:, 1:])


def test_points_outside_of_the_label_map_count_nowhere() -> None:
    labels = np.full((4, 4, 4), LABELS["femur"], np.uint8)
    bend = np.zeros((3, 2, 2, 2), np.float32)
    to_map = np.column_stack([np.eye(3), [50.0, 0, 0]])
    assert not counted(labels, to_map, bend, side=4).any()


def test_all_kinds_are_drawn_and_ct_has_real_hounsfield_units() -> None:
    looks = [sample_appearance(np.random.default_rng(seed)) for seed in range(200)]
    assert {look.kind for look in looks} == set(KINDS)
    for look in looks:
        if look.kind == "ct":
            assert -1010 <= look.tables[0, LABELS["air"]] <= -960
            assert 20 <= look.tables[0, LABELS["muscle"]] <= 90
            assert look.tables[0, CORTEX].mean() > look.tables[0, LABELS["muscle"]] + 150
    dark = [look.tables[0, MARROW].mean() < look.tables[0, LABELS["cartilage"]] for look in looks]
    assert 0.25 < np.mean(dark) < 0.9  # marrow both brighter and darker than cartilage


def test_left_and_right_knees_come_equally_often() -> None:
    turned = [
        np.linalg.det(
            sample_placement(np.random.default_rng(s), (16, 16, 16), 1.0, (90, 90, 90), 1.0).to_map[:, :3]
        )
        < 0
        for s in range(80)
    ]
    assert 0.35 < np.mean(turned) < 0.65


def test_a_scan_keeps_the_shape_and_its_mean_and_mr_is_never_negative() -> None:
    image = smooth_field(np.random.default_rng(1), SHAPE, 12) * 50 + 300
    look = sample_appearance(np.random.default_rng(next(
        s for s in range(50) if sample_appearance(np.random.default_rng(s)).kind == "ct"
    )))  # fmt: skip
    for seed in range(10):
        made = acquire(np.random.default_rng(seed), image, look, 1.0)
        assert made.shape == SHAPE
        assert abs(made.mean() - image.mean()) < 60
    mr = Appearance(kind="any", tables=look.tables, unit=1.0)
    assert acquire(np.random.default_rng(3), np.zeros(SHAPE, np.float32), mr, 1.0).min() >= 0


def test_a_field_of_view_is_a_box_of_some_centimetres() -> None:
    for seed in range(40):
        inside = sample_field_of_view(np.random.default_rng(seed), SHAPE, SPACING)
        spans = [np.flatnonzero(inside.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
        assert inside.sum() == np.prod([s[-1] - s[0] + 1 for s in spans])
        assert all(len(s) >= min(round(NARROWEST_MM / SPACING), n) for s, n in zip(spans, SHAPE, strict=True))
