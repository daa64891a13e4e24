from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.core.errors import RegistrationError
from srrd_ray.core.geometry import Matrix4, transform_points
from srrd_ray.core.volume import Volume
from srrd_ray.registration.rigid import (
    RegistrationConfig,
    choose_by_information,
    drop_duplicate_poses,
    fit_surfaces,
    refine,
    register_bone,
)
from tests.registration import phantoms

CONFIG = RegistrationConfig()


def error_mm(
    found: Matrix4, pose: phantoms.Matrix, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> float:
    points = phantoms.GRID.index_to_lps(np.argwhere(mask)[::200])
    return float(
        np.linalg.norm(transform_points(found, points) - transform_points(pose, points), axis=1).mean()
    )


@pytest.mark.parametrize("label", [1, 2])
def test_a_known_pose_with_24_degrees_of_flexion_is_found_to_a_third_of_a_voxel(label: int) -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((24, -5, 6), (31, -12, 8))
    image = phantoms.moved(ct, pose)
    masks = labels.array == label, phantoms.moved_labels(labels, image, pose).array == label
    found = register_bone(ct, image, *masks, CONFIG)
    assert error_mm(found.matrix, pose, masks[0]) < 0.27
    assert found.trace[-1] < found.initial


@pytest.mark.parametrize("metric", ["correlation", "information"])
def test_the_same_images_give_the_same_matrix_to_the_last_bit(metric: str) -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((5, 2, -3), (3, 1, 2))
    image = phantoms.moved(ct, pose)
    start = phantoms.rigid((4, 2, -3), (3.5, 1, 2))
    runs = [
        refine(ct, image, labels.array == 1, _rows(start), 1.6, config=CONFIG, metric=metric)
        for _ in range(3)
    ]
    assert runs[0] == runs[1] == runs[2]


def test_mutual_information_finds_the_pose_in_an_image_of_other_contrast() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((5, 2, -3), (3, 1, 2))
    image = phantoms.moved(ct, pose)
    other = Volume(array=(1.0 - image.array / 1200.0) ** 2, geometry=image.geometry)
    start = _rows(phantoms.rigid((6.5, 1, -2), (3.6, 0.5, 1.5)))
    found = refine(ct, other, labels.array == 2, start, 0.8, config=CONFIG, metric="information")
    assert error_mm(found.matrix, pose, labels.array == 2) < 0.25


def test_surfaces_alone_come_near_from_every_start() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((20, 4, -6), (10, 5, -5))
    image = phantoms.moved(ct, pose)
    masks = labels.array == 2, phantoms.moved_labels(labels, image, pose).array == 2
    starts = fit_surfaces(ct, image, *masks, replace(CONFIG, candidates=1))
    assert error_mm(starts[0], pose, masks[0]) < 3.0


def test_the_mr_overrules_a_synthetic_ct_whose_bone_lies_five_millimetres_off() -> None:
    """The synthesis draws its own best pose away: the pose has to come from the MR, however far it moves."""
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((6, 2, -3), (12, -5, 3))
    mr = _contrast_of_mr(phantoms.moved(ct, pose))
    wrong = phantoms.moved(ct, pose @ phantoms.rigid((0, 0, 0), (3.5, 3, 1)))
    sct = Volume(array=wrong.resample_onto(mr.geometry).array, geometry=mr.geometry)
    mask = labels.array == 2
    masks = mask, phantoms.moved_labels(labels, sct, pose @ phantoms.rigid((0, 0, 0), (3.5, 3, 1))).array == 2
    config = replace(CONFIG, flexions_deg=(0.0,), twists_deg=(0.0,))
    assert error_mm(register_bone(ct, sct, *masks, config).matrix, pose, mask) > 3.0
    assert error_mm(register_bone(ct, sct, *masks, config, mr=mr).matrix, pose, mask) < 0.3


@pytest.mark.slow
def test_the_start_of_most_information_wins_whatever_the_order_and_names_its_rival() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((5, 2, -3), (3, 1, 2))
    mr, mask = _contrast_of_mr(phantoms.moved(ct, pose)), labels.array == 2
    near, far = phantoms.rigid((5, 2, -3), (4, 1, 2)), phantoms.rigid((5, 2, -3), (23, 1, 2))
    runs = [
        choose_by_information(ct, mr, mask, [_rows(start) for start in starts], CONFIG)
        for starts in ((near, far), (far, near))
    ]
    assert runs[0].matrix == runs[1].matrix
    assert error_mm(runs[0].matrix, pose, mask) < 0.25
    assert 0.0 < runs[0].rival < 0.8
    assert choose_by_information(ct, mr, mask, [_rows(near)], CONFIG).rival == 0.0


def test_poses_that_hardly_differ_are_one_and_the_first_of_them_stays() -> None:
    first, same, other = (_rows(phantoms.rigid((0, 0, 0), (x, 0, 0))) for x in (0.0, 0.9, 4.0))
    points = np.zeros((1, 3))
    assert drop_duplicate_poses([first, same, other, first], points, 1.0) == [first, other]


def test_a_bone_of_which_no_surface_is_seen_is_refused() -> None:
    ct, labels = phantoms.knee()
    everything = np.ones(labels.array.shape, dtype=bool)
    with pytest.raises(RegistrationError) as caught:
        register_bone(ct, ct, everything, everything, CONFIG)
    assert caught.value.code == "surface-not-seen"


def _contrast_of_mr(image: Volume[np.float32]) -> Volume[np.float32]:
    return Volume(array=((1.0 - image.array / 1200.0) ** 2).astype(np.float32), geometry=image.geometry)


def _rows(matrix: phantoms.Matrix) -> Matrix4:
    a, b, c, d = (tuple(float(v) for v in row) for row in matrix)
    return (a, b, c, d)  # type: ignore[return-value]  # four rows of four
