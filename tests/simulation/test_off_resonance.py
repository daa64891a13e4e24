import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.off_resonance import (
    BONE_PPM,
    FAT_PPM,
    WATER_PPM,
    apply_shim,
    dipole_field,
    interpolate_plane,
    off_resonance,
    susceptibility_table,
)
from srrd_ray.simulation.phantoms import body_scene, edge_scene, identity_poses

GRID = Geometry.axis_aligned((32, 40, 48), (0.8, 0.5, 0.5), (-12, -10, -12))
NO_SHIM = np.zeros((3, 3, 3))


@pytest.mark.parametrize("turned", [False, True])
def test_a_ball_has_the_field_of_a_dipole_along_the_body(turned: bool) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    if turned:  # columns of the array along the body
        affine[:3, :3] = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    grid = Geometry.from_affine((72, 72, 72), affine)
    place = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)) - 36
    r, radius = np.linalg.norm(place, axis=-1), 8.0
    field = dipole_field((r < radius).astype(np.float32), grid)
    volume = (r < radius).sum() / (4 / 3 * np.pi)  # of the voxels, in place of R³
    for offset in ((0, 0, 16), (16, 0, 0), (0, 11, 11)):
        at = tuple(int(v) for v in np.rint(grid.lps_to_index(np.array(offset) + 36.0)))
        distance = np.linalg.norm(offset)
        expected = volume / distance**3 / 3 * (3 * (offset[2] / distance) ** 2 - 1)
        assert field[at] == pytest.approx(expected, abs=0.004)
    assert abs(field[36, 36, 36]) < 0.01


def test_a_body_of_water_has_the_field_that_the_shim_leaves() -> None:
    shim = np.zeros((3, 3, 3))
    shim[0, 0, 0], shim[1, 0, 0] = 12.0, -5.0
    field = off_resonance(body_scene(tissue.MUSCLE), identity_poses(), GRID, shim)
    assert field[0].mean() == pytest.approx(17.0, abs=0.01)
    assert field[-1].mean() == pytest.approx(7.0, abs=0.01)


def test_bone_beside_fat_bends_the_field_and_all_of_it_stays_in_the_tables() -> None:
    field = off_resonance(edge_scene((1.0, 0.2, 0.1)), identity_poses(), GRID, NO_SHIM)
    assert 5 < np.ptp(field) < 200
    assert abs(field.mean()) < 1


def test_a_shim_takes_out_mean_and_slopes() -> None:
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 9)] * 3, indexing="ij")
    curved = x**2 - (x**2).mean()
    found = apply_shim(4 + 3 * z - 2 * y + curved, np.ones(z.shape, bool))
    np.testing.assert_allclose(found, curved, atol=1e-9)


def test_a_plane_is_linear_between_nodes_at_the_middle_of_their_voxels() -> None:
    z, y, x = np.meshgrid(np.arange(4.0), np.arange(5.0), np.arange(6.0), indexing="ij")
    plane = interpolate_plane((z + 10 * y + 100 * x).astype(np.float32), 0.5, (10, 12))
    assert plane[5, 6] == pytest.approx(1.5 + 10 * 2.25 + 100 * 2.75)
    assert plane[0, 0] == pytest.approx(1.5)


def test_marrow_lies_between_fat_and_bone() -> None:
    table = susceptibility_table()
    assert table[tissue.MARROW] == pytest.approx(FAT_PPM)
    assert table[tissue.MARROW + 10] == pytest.approx(0.4 * BONE_PPM + 0.6 * FAT_PPM)
    assert table[tissue.MUSCLE] == pytest.approx(WATER_PPM)
