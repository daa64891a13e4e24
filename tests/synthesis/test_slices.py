from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.slices import cut_tiles, sagittal, scale_hu, scale_mr, slices_from_ct, unscale_hu

CONFIG = CycleGanConfig()


def test_hounsfield_units_survive_scaling_as_floats() -> None:
    hu = np.array([-200.0, 0.3, 400.0, 1999.7], dtype=np.float32)
    np.testing.assert_allclose(unscale_hu(scale_hu(hu, -200.0)), hu, atol=1e-3)


def test_sagittal_slices_show_the_world_whatever_the_axes_of_the_image() -> None:
    grid = Geometry.axis_aligned((40, 30, 20), (0.75, 0.75, 1.5), (5.0, -3.0, 2.0))
    height = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))[..., 2].astype(np.float32)
    made = sagittal(Volume(array=height, geometry=grid), CONFIG)
    assert made.array.shape[0] == 20
    rows = made.geometry.index_to_lps(np.stack([np.zeros(40), np.arange(40), np.zeros(40)], axis=-1))[:, 2]
    np.testing.assert_allclose(made.array[0, 3:-3, 0], rows[3:-3], atol=1e-2)


@pytest.mark.parametrize("size", [(50, 40), (64, 48), (130, 100)])
def test_tiles_have_one_shape_and_cover_the_slices(size: tuple[int, int]) -> None:
    made = cut_tiles(np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32), (64, 48))
    assert made.shape[1:] == (64, 48)
    assert len(made) % 3 == 0


def test_an_mr_without_contrast_and_voxels_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        scale_mr(np.zeros((2, 4, 4), dtype=np.float32))
    assert caught.value.code == "image-constant"
    grid = Geometry.axis_aligned((8, 8, 8), (1.0, 1.0, 1.0))
    with pytest.raises(InputError) as broken:
        slices_from_ct(Volume(array=np.full((8, 8, 8), np.nan, dtype=np.float32), geometry=grid), CONFIG)
    assert broken.value.code == "voxels-not-finite"
