import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.simulation.compose import CHANNELS, COMPACT, FAT, MARROW, SOFT_CHANNELS, Scene, Table, compose
from srrd_ray.simulation.trabeculae import random_tile, tile_maps

FRACTION = 0.3


def half_space(fraction: float = FRACTION) -> Scene:
    """Bone under z = 0 with a plate of 1 mm; a second bone far below everything, and fat."""
    values = np.zeros((61, 3, 3, len(CHANNELS)), np.float32)
    values[..., 0] = -np.linspace(-15, 15, 61, dtype=np.float32)[:, None, None]
    values[..., CHANNELS.index("compact")] = 1.0
    values[..., CHANNELS.index("fraction")] = fraction
    values[..., CHANNELS.index("rod")] = 0.3
    values[..., CHANNELS.index("cyst")] = -9
    bone = Table(values, np.array([-0.5, -0.5, -15.0]), 0.5)
    none = Table(np.full((2, 2, 2, len(CHANNELS)), -9, np.float32), np.zeros(3), 1.0)
    soft = np.full((2, 2, 2, len(SOFT_CHANNELS)), -9, np.float32)
    soft[..., SOFT_CHANNELS.index("limb")] = 50
    rng = np.random.default_rng(0)
    maps = np.stack([tile_maps(rng, 1.4, 1.4, 1.2, 15.0)] * 2)
    return Scene(
        bones=(bone, none),
        soft=Table(soft, np.zeros(3), 1.0),
        tile=random_tile(rng, 0.22, 100),
        tile_from_bone=maps,
    )


def from_index(step: float, origin: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = origin
    return np.stack([affine, affine])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return half_space()


def test_the_bone_volume_fraction_is_what_the_table_asks_for(scene: Scene) -> None:
    mineral, label = compose(scene, from_index(0.15, (-4, -4, -12)), (60, 55, 55), sharp=True)
    assert (label >= MARROW).all()
    assert mineral.mean() == pytest.approx(FRACTION, abs=0.03)


def test_partial_volume_keeps_the_mean_of_the_sharp_structure(scene: Scene) -> None:
    sharp, _ = compose(scene, from_index(0.06, (-4, -4, -9)), (100, 100, 100), sharp=True)
    smooth, _ = compose(scene, from_index(0.06, (-4, -4, -9)), (100, 100, 100))
    assert smooth.mean() == pytest.approx(float(sharp.mean()), abs=0.01)


def test_coarse_partial_volume_is_the_mean_of_fine_samples(scene: Scene) -> None:
    fine, _ = compose(scene, from_index(0.05, (-3, -3, -9)), (60, 60, 60), sharp=True)
    coarse, _ = compose(scene, from_index(0.1, (-2.975, -2.975, -8.975)), (30, 30, 30))
    blocks = fine.reshape(30, 2, 30, 2, 30, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.3])
@pytest.mark.parametrize("step", [0.15, 0.25])
def test_voxels_wider_than_the_trabeculae_keep_the_volume_fraction(fraction: float, step: float) -> None:
    scene, n = half_space(fraction), round(7.5 / step)
    sharp, _ = compose(scene, from_index(0.06, (-4, -4, -9)), (125, 125, 125), sharp=True)
    voxels, _ = compose(scene, from_index(step, (-4, -4, -9)), (n, n, n))
    assert voxels.mean() == pytest.approx(float(sharp.mean()), rel=0.04)


def test_two_poses_see_the_same_trabeculae(scene: Scene) -> None:
    grid = from_index(0.2, (-2, -2, -9))
    turned = grid[:, [0, 1, 2, 3]][:, :, [2, 1, 0, 3]]
    one, _ = compose(scene, grid, (20, 22, 24), sharp=True)
    other, _ = compose(scene, turned, (24, 22, 20), sharp=True)
    assert (one.transpose(2, 1, 0) == other).mean() > 0.999


def test_a_slab_is_the_same_alone_as_within_the_volume(scene: Scene) -> None:
    whole, _ = compose(scene, from_index(0.2, (-2, -2, -9)), (6, 8, 24))
    plane = from_index(0.2, (-2, -2, -9 + 3 * 0.2))
    np.testing.assert_allclose(compose(scene, plane, (1, 8, 24))[0][0], whole[3], atol=1e-4)


def test_the_plate_is_compact_and_beyond_the_surface_is_fat(scene: Scene) -> None:
    mineral, label = compose(scene, from_index(0.1, (0, 0, -0.55)), (12, 4, 4))
    assert (label[:4] == COMPACT).all()
    assert (label[-4:] == FAT).all()
    assert (mineral[-4:] == 0).all()
    assert (mineral[:4] > 0.9).all()
