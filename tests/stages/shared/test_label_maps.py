from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.segmentation.classes import FEMUR, FIBULA, PATELLA, TIBIA
from srrd_ray.segmentation.simulated_classes import class_of_label
from srrd_ray.stages.shared.label_maps import LabelMapStore


@pytest.mark.slow
def test_a_label_map_is_made_once_and_again_where_its_file_is_damaged(tmp_path: Path) -> None:
    store = LabelMapStore(folder=tmp_path, knees=2, seed=7, voxel_mm=5.0)
    made = store(0)
    assert made.dtype == np.uint8
    counts = np.bincount(class_of_label()[made].ravel(), minlength=6) * 0.125  # cm³
    assert counts[FEMUR] > 80
    assert counts[TIBIA] > 60
    assert counts[FIBULA] > 4
    assert counts[PATELLA] > 8
    path = store.path(0)
    assert path.stat().st_size < 60_000
    written = path.stat().st_mtime_ns
    assert np.array_equal(store(0), made)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:500])
    assert np.array_equal(store(0), made)
    assert path.stat().st_size > 500


def test_another_seed_or_voxel_is_another_file(tmp_path: Path) -> None:
    stores = [
        LabelMapStore(folder=tmp_path, knees=4, seed=s, voxel_mm=v) for s, v in ((1, 1.0), (2, 1.0), (1, 2.0))
    ]
    assert len({store.path(0) for store in stores}) == 3
