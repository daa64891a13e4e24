from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.errors import RegistrationError
from srrd_ray.geometry import Matrix4, apply
from srrd_ray.registration.rigid import RegistrationConfig, refine, register_bone, surface_starts
from srrd_ray.volume import Volume
from tests.registration import phantoms

CONFIG = RegistrationConfig()


def error_mm(found: Matrix4, pose: phantoms.Matrix, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    points = phantoms.GRID.index_to_lps(np.argwhere(mask)[::200])
    return float(np.linalg.norm(apply(found, points) - apply(pose, points), axis=1).mean())


@pytest.mark.parametrize("label", [1, 2])
def test_a_known_pose_with_24_degrees_of_flexion_is_found_to_a_third_of_a_voxel(label: int) -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((24, -5, 6), (31, -12, 8))
    image = phantoms.moved(ct, pose)
    masks = labels.array == label, phantoms.moved_labels(labels, image, pose).array == label
    found = register_bone(ct, image, *masks, CONFIG)
    assert error_mm(found.matrix, pose, masks[0]) < 0.27
    assert found.trace[-1] < found.initial


def test_the_same_images_give_the_same_matrix_to_the_last_bit() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((5, 2, -3), (3, 1, 2))
    image = phantoms.moved(ct, pose)
    start = phantoms.rigid((4, 2, -3), (3.5, 1, 2))
    runs = [refine(ct, image, labels.array == 1, _rows(start), 1.6, CONFIG) for _ in range(2)]
    assert runs[0] == runs[1]


def test_mutual_information_finds_the_pose_in_an_image_of_other_contrast() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((5, 2, -3), (3, 1, 2))
    image = phantoms.moved(ct, pose)
    other = Volume(array=(1.0 - image.array / 1200.0) ** 2, geometry=image.geometry)
    start = _rows(phantoms.rigid((6.5, 1, -2), (3.6, 0.5, 1.5)))
    found = refine(ct, other, labels.array == 2, start, 0.8, CONFIG, metric="information")
    assert error_mm(found.matrix, pose, labels.array == 2) < 0.25


def test_surfaces_alone_come_near_from_every_start() -> None:
    ct, labels = phantoms.knee()
    pose = phantoms.rigid((20, 4, -6), (10, 5, -5))
    image = phantoms.moved(ct, pose)
    masks = labels.array == 2, phantoms.moved_labels(labels, image, pose).array == 2
    starts = surface_starts(ct, image, *masks, replace(CONFIG, candidates=1))
    assert error_mm(starts[0], pose, masks[0]) < 3.0


def test_a_bone_of_which_no_surface_is_seen_is_refused() -> None:
    ct, labels = phantoms.knee()
    everything = np.ones(labels.array.shape, dtype=bool)
    with pytest.raises(RegistrationError) as caught:
        register_bone(ct, ct, everything, everything, CONFIG)
    assert caught.value.code == "surface-not-seen"


def _rows(matrix: phantoms.Matrix) -> Matrix4:
    a, b, c, d = (tuple(float(v) for v in row) for row in matrix)
    return (a, b, c, d)  # type: ignore[return-value]  # four rows of four
