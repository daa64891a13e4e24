import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import compose
from srrd_ray.simulation.phantoms import BONE_OF, SOFT_OF, body_scene, edge_scene, identity_poses


@pytest.mark.parametrize("label", [*BONE_OF, *SOFT_OF, tissue.FAT])
def test_a_body_is_of_its_tissue_throughout(label: int) -> None:
    grid = Geometry.axis_aligned((6, 7, 8), (3.0, 2.0, 2.0), (-8, -8, -8))
    _, found = compose(body_scene(label), identity_poses() @ grid.affine, grid.shape)
    assert (found == label).all()


def test_marrow_holds_the_trabeculae_that_are_asked_for() -> None:
    grid = Geometry.axis_aligned((60, 60, 60), (0.1, 0.1, 0.1))
    mineral, _ = compose(
        body_scene(tissue.MARROW, 0.25), identity_poses() @ grid.affine, grid.shape, sharp=True
    )
    assert mineral.mean() == pytest.approx(0.25, abs=0.04)


def test_an_edge_is_straight_and_lies_where_it_should() -> None:
    grid = Geometry.axis_aligned((10, 60, 60), (0.5, 0.5, 0.5), (-15, -15, -2))
    normal = np.array([0.9, 0.3, -0.2]) / np.linalg.norm([0.9, 0.3, -0.2])
    mineral, _ = compose(edge_scene(normal), identity_poses() @ grid.affine, grid.shape)
    place = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)) @ normal
    assert (mineral[place < -0.5] > 0.9).all()
    assert (mineral[place > 0.5] == 0).all()
