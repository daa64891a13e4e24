from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.simulation.cohort import View
from srrd_ray.simulation.school import VIEW, sample_school_knee
from srrd_ray.stages.shared.school_cubes import read_all_cubes, write_school_cubes

COARSE = View(ct_mm=VIEW.ct_mm, mr_mm=VIEW.mr_mm, center_mm=VIEW.center_mm, truth_voxel_mm=0.3)
SHALLOW = View(ct_mm=(66.0, 12.0, 24.0), mr_mm=(60.0, 9.0, 18.0), center_mm=(0, 0, 0), truth_voxel_mm=0.3)


@pytest.mark.slow
def test_cubes_come_with_images_masks_and_the_truth_of_their_bone(tmp_path: Path) -> None:
    path = tmp_path / "knee.zarr"
    count = write_school_cubes(path, sample_school_knee(1, 7), COARSE)
    data = read_all_cubes([path])
    assert len(data) == count > 8
    assert set(data.patients) == {"school000001"}
    bone_volume, thickness, separation, number = data.targets.T
    assert ((bone_volume > 0.03) & (bone_volume < 0.7)).all()
    np.testing.assert_allclose(number, bone_volume / thickness, rtol=1e-5)
    assert (separation > 0.2).all()
    assert (data.mr_mask.mean(axis=(1, 2, 3)) > 0.5).all()
    inside = np.where(data.ct_mask > 0, data.ct, np.nan)
    denser = np.nanmean(inside, axis=(1, 2, 3))
    assert np.corrcoef(denser, bone_volume)[0, 1] > 0.3


@pytest.mark.slow
def test_a_field_of_view_without_a_cube_is_a_fault_not_an_empty_shard(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patches-none"):
        write_school_cubes(tmp_path / "knee.zarr", sample_school_knee(1, 7), SHALLOW)
    assert not list(tmp_path.iterdir())
