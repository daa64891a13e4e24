from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.core.geometry import Matrix4, matrix4, transform_points
from srrd_ray.core.volume import Volume
from srrd_ray.registration import search
from srrd_ray.registration.rigid import RegistrationConfig, RigidResult
from tests.registration import phantoms

CONFIG = RegistrationConfig()
POSE = phantoms.rigid((6, 2, -3), (12, -5, 3))


def found_from(wrong: phantoms.Matrix, config: RegistrationConfig, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the error in mm of the search where the first descent ended in the pose `wrong`."""
    ct, labels = phantoms.knee()
    sct = phantoms.moved(ct, POSE)
    mr = Volume(array=((1.0 - sct.array / 1200.0) ** 2).astype(np.float32), geometry=sct.geometry)
    mask = labels.array == 2
    masks = mask, phantoms.moved_labels(labels, sct, POSE).array == 2
    end = RigidResult(matrix=matrix4(wrong), trace=(-0.5,), initial=-0.4)
    monkeypatch.setattr(search, "register_bone", lambda *_, **__: end)
    points = phantoms.GRID.index_to_lps(np.argwhere(mask)[::200])
    pose = search.find_pose(ct, sct, masks, mr, config).matrix
    return float(
        np.linalg.norm(transform_points(pose, points) - transform_points(POSE, points), axis=1).mean()
    )


@pytest.mark.slow
def test_a_descent_that_ended_in_a_wrong_pose_is_taken_up_again_from_starts_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = POSE @ phantoms.rigid((0, 0, 10), (6, 5, 0))
    assert found_from(wrong, CONFIG, monkeypatch) < 0.3


def test_a_pose_that_the_inner_structure_bears_out_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_from(POSE, CONFIG, monkeypatch) == 0.0
    unsure = replace(
        CONFIG, sure_texture=1.0, minimum_standing_out=1e3, search_mm=3.0, refine_mm=3.0, iterations=2
    )
    assert found_from(POSE, unsure, monkeypatch) > 0.0
    faint = replace(CONFIG, sure_texture=1.0)
    assert found_from(POSE, faint, monkeypatch) == 0.0, "it stands out of what there is by chance"


def test_starts_around_a_pose_shift_and_turn_it_both_ways_about_the_bone() -> None:
    centre = np.array([10.0, 5.0, -3.0])
    starts: list[Matrix4] = search.starts_around(matrix4(POSE), centre, CONFIG)
    moved = np.array([transform_points(start, centre) - transform_points(POSE, centre) for start in starts])
    assert len(set(starts)) == 12
    assert np.allclose(np.sort(np.linalg.norm(moved, axis=1)), [0.0] * 6 + [CONFIG.around_mm] * 6)
    assert np.allclose(moved.sum(axis=0), 0.0)
