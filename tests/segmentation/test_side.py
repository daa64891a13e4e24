from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import FIBULA, PATELLA
from srrd_ray.segmentation.side import find_side, require_side
from tests.segmentation.planted import knee_labels


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_side_is_found_with_all_three_cues(side: Side) -> None:
    found = find_side(knee_labels(side))
    assert found.side == side
    assert found.certain
    assert set(found.cues) == {"fibula", "patella", "plateau"}
    assert all((cue > 0) == (side == "L") for cue in found.cues.values())


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_affine_says_where_left_is_not_the_order_of_voxels(side: Side) -> None:
    labels = knee_labels(side)
    affine = labels.geometry.affine
    affine[:3, 3] = labels.geometry.index_to_lps((0, 0, labels.array.shape[2] - 1))
    affine[:, 0] *= -1
    turned = Volume(
        array=labels.array[:, :, ::-1].copy(), geometry=Geometry.from_affine(labels.array.shape, affine)
    )
    assert find_side(turned) == find_side(labels)


def test_without_fibula_and_patella_the_plateau_alone_is_less_sure() -> None:
    labels = knee_labels("R")
    labels.array[np.isin(labels.array, (FIBULA, PATELLA))] = 0
    found = find_side(labels)
    assert found.side == "R"
    assert set(found.cues) == {"plateau"}
    assert not found.certain
    assert find_side(knee_labels("R")).certain


def test_a_certain_contradiction_is_refused_and_an_uncertain_one_is_not() -> None:
    found = find_side(knee_labels("L"))
    require_side(found, "L")
    with pytest.raises(InputError) as caught:
        require_side(found, "R")
    assert caught.value.code == "side-mismatch"
    empty = knee_labels("L")
    empty.array[:] = 0
    unsure = find_side(empty)
    assert unsure.confidence == 0.5
    require_side(unsure, "R")
    require_side(unsure, "L")
