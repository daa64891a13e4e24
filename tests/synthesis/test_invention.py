from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.invention import compare_with_mr, cycle_error
from srrd_ray.synthesis.networks import Generator
from tests.registration import phantoms


def bones_of(labels: Volume[np.uint8]) -> Volume[np.bool_]:
    return Volume(array=labels.array > 0, geometry=labels.geometry)


def test_a_ct_of_the_same_bones_invents_nothing_and_is_closed() -> None:
    ct, labels = phantoms.knee()
    found = compare_with_mr(ct, bones_of(labels))
    assert found.invented == 0.0
    assert found.open < 0.02


def test_bone_in_soft_tissue_is_invented_by_its_volume() -> None:
    ct, labels = phantoms.knee()
    lacking = np.where(labels.array == 2, labels.array, 0) > 0  # the MR has no femur
    found = compare_with_mr(ct, Volume(array=lacking, geometry=labels.geometry))
    deep = (labels.array == 1).sum() / (labels.array == 2).sum()
    assert 0.3 * deep < found.invented < deep


def test_a_hole_in_the_cortex_is_told_by_its_share_of_the_surface() -> None:
    ct, labels = phantoms.knee()
    holed = ct.array.copy()
    holed[:, :, :45] = 60.0  # the lateral half is soft
    found = compare_with_mr(Volume(array=holed, geometry=ct.geometry), bones_of(labels))
    assert found.open == pytest.approx(0.5, abs=0.12)


def test_an_mr_without_bones_makes_any_bone_an_invention() -> None:
    ct, labels = phantoms.knee()
    none = Volume(array=np.zeros(labels.array.shape, dtype=np.bool_), geometry=labels.geometry)
    assert compare_with_mr(ct, none).invented == float("inf")


class Same(nn.Module):
    """Returns what it is given, so that the MR made again is the scaled CT."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return image


def test_the_way_back_is_compared_in_marrow_levels() -> None:
    config = CycleGanConfig(width=4, blocks=1, slice_mm=3.0)
    ct, _ = phantoms.knee()
    mr = Volume(array=np.where(ct.array > 150, 80.0, 8.0).astype(np.float32), geometry=ct.geometry)
    error = cycle_error(Generator(config, from_mr=False), mr, ct, config)
    assert 0.0 < error < 3.0
    bright = Volume(array=np.full_like(ct.array, 1000.0), geometry=ct.geometry)  # scaled: 1, as marrow is
    flat = Volume(array=np.full_like(ct.array, 80.0) + np.indices(ct.array.shape)[2], geometry=ct.geometry)
    assert cycle_error(Same(), flat, bright, config) < 0.2
