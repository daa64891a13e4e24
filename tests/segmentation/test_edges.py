from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.edges import edge_support

GRID = Geometry.axis_aligned((70, 70, 70), (1.0,) * 3)
POINTS = np.moveaxis(GRID.index_to_lps(np.moveaxis(np.indices(GRID.shape), 0, -1)), -1, 0)
BONE = np.linalg.norm(POINTS - 35.0, axis=0) < 22


def image(inside: float, cortex: float, outside: float, noise: float = 20.0) -> Volume[np.float32]:
    """A ball with a shell, trabeculae and noise."""
    rng = np.random.default_rng(0)
    depth = ndimage.distance_transform_edt(BONE)
    grey = np.where(BONE, np.where(depth < 2.5, cortex, inside), outside)
    grain = ndimage.gaussian_filter(rng.normal(size=BONE.shape), 1.0) * BONE * 5 * noise
    grey = ndimage.gaussian_filter(grey, 0.7) + grain + rng.normal(0, noise, BONE.shape)
    return Volume(array=grey.astype(np.float32), geometry=GRID)


@pytest.mark.parametrize(
    "made", [image(200, 1000, 50), image(800, 50, 300), image(100, 50, 600)], ids=["ct", "bright", "dark"]
)
def test_a_bone_of_any_contrast_lies_on_edges_and_one_drawn_beside_it_does_not(
    made: Volume[np.float32],
) -> None:
    right, small, beside = (
        edge_support(made, mask)
        for mask in (BONE, ndimage.binary_erosion(BONE, iterations=8), np.roll(BONE, (7, 7, 7), (0, 1, 2)))
    )
    assert right is not None
    assert small is not None
    assert beside is not None
    assert right > 0.9
    assert small < 0.7
    assert beside < 0.8


def test_a_bone_that_fills_the_image_has_no_surface_to_judge() -> None:
    assert edge_support(image(200, 1000, 50), np.ones(GRID.shape, np.bool_)) is None


def test_edges_across_coarse_voxels_are_left_out() -> None:
    made = image(200, 1000, 50)
    thick = Volume(
        array=made.array[2::4], geometry=Geometry.axis_aligned((17, 70, 70), (4.0, 1.0, 1.0), (0, 0, 2.0))
    )
    share = edge_support(thick, BONE[2::4])
    assert share is not None
    assert share > 0.9
