from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.morphometry.topology import euler_share, fractal_dimension, topology

Mask = NDArray[np.bool_]


def everywhere(mask: Mask) -> Mask:
    return np.ones_like(mask)


def euler(mask: Mask) -> int:
    return topology(mask, everywhere(mask)).euler


def crossed_circle(n: int = 64) -> Mask:
    """BoneJ's test shape: a ring with two bars across it, four handles in all."""
    y, x = (g - (n - 1) / 2 for g in np.ogrid[:n, :n])
    away = np.hypot(y, x)
    ring = (away > 20) & (away < 24)
    bars = ((np.abs(y) < 2) | (np.abs(x) < 2)) & (away < 24)
    mask = np.zeros((9, n, n), bool)
    mask[3:6] = ring | bars
    return mask


def torus(n: int = 36) -> Mask:
    z, y, x = (g - (n - 1) / 2 for g in np.ogrid[:n, :n, :n])
    return np.asarray((np.hypot(y, x) - 12) ** 2 + z**2 < 16)


def menger(level: int) -> Mask:
    index = np.indices((3**level,) * 3)
    solid = np.ones((3**level,) * 3, bool)
    for power in range(level):
        solid &= ((index // 3**power % 3) == 1).sum(axis=0) < 2
    return solid


def test_a_crossed_circle_has_euler_number_minus_3() -> None:
    assert euler(crossed_circle()) == -3


def test_a_torus_has_one_handle() -> None:
    assert euler(torus()) == 0


def test_a_cavity_adds_one() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 2:7] = True
    mask[4, 4, 4] = False
    assert euler(mask) == 2


def test_voxels_that_touch_at_a_corner_are_one_piece() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert euler(mask) == 1


def test_bone_that_reaches_the_border_counts_by_its_share() -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[:, 2:5, 2:5] = True
    found = topology(mask, everywhere(mask))
    assert found.euler == 1
    assert found.corrected == pytest.approx(
        0.0
    )  # a rod through the region: half a piece at either end is its neighbours'


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_has_dimension_2(axis: int) -> None:
    mask = np.zeros((64, 64, 64), bool)
    np.moveaxis(mask, axis, 0)[20] = True
    assert fractal_dimension(mask, everywhere(mask)) == pytest.approx(2.0, abs=1e-6)


def test_a_line_has_dimension_1() -> None:
    mask = np.zeros((64, 64, 64), bool)
    mask[:, 30, 30] = True
    assert fractal_dimension(mask, everywhere(mask)) == pytest.approx(1.0, abs=1e-6)


def test_a_surface_that_fills_space_has_dimension_3() -> None:
    mask = np.random.default_rng(0).random((64, 64, 64)) > 0.5
    assert fractal_dimension(mask, everywhere(mask)) == pytest.approx(3.0, abs=0.01)


def test_the_menger_sponge_has_its_dimension() -> None:
    mask = menger(4)[:64, :64, :64]
    assert fractal_dimension(mask, everywhere(mask)) == pytest.approx(np.log(20) / np.log(3), abs=0.1)


def test_a_volume_too_small_for_three_boxes_has_no_dimension() -> None:
    mask = np.ones((12, 12, 12), bool)
    assert fractal_dimension(mask, everywhere(mask)) is None


def shares_cell_by_cell(bone: Mask, roi: Mask) -> float:
    """The slow twin: every vertex, edge, face and voxel once, with the share of the voxels round it in the region."""
    padded, inside = np.pad(bone, 1), np.pad(roi, 1)
    total = 0.0
    for axes in product((False, True), repeat=3):  # along which axes the cell extends
        around = [(slice(1, -1),) if extends else (slice(0, -1), slice(1, None)) for extends in axes]
        windows = [tuple(w) for w in product(*around)]
        touched = np.logical_or.reduce([padded[w] for w in windows])
        share = np.mean([inside[w] for w in windows], axis=0)
        total += (-1) ** sum(axes) * float((touched * share).sum())
    return total


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_vertices_add_up_as_cells_counted_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bone, roi = rng.random((7, 6, 9)) < 0.4, rng.random((7, 6, 9)) < 0.6
    assert euler_share(bone, roi) == pytest.approx(shares_cell_by_cell(bone, roi), abs=1e-12)
