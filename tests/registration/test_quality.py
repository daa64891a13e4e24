from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.geometry import matrix4
from srrd_ray.core.records import BoneTransform, Knee
from srrd_ray.core.serial import to_json
from srrd_ray.core.volume import Volume
from srrd_ray.registration.quality import (
    REFUSALS,
    assess,
    measure_agreement,
    refusal_error,
    refuse,
    structure_by_chance,
)
from srrd_ray.registration.rigid import RegistrationConfig, RigidResult, register_bone
from tests.registration import phantoms

CONFIG = RegistrationConfig()
FAINT_HU = 1200.0
"""Noise that leaves a fifth of the structure."""


def judged(
    pose: phantoms.Matrix, other_seed: int = 0, trace: tuple[float, ...] = (-0.9,), rival: float = 0.0
) -> tuple[bool, str]:
    """Return acceptance and reason of `pose` for a knee that truly lies at a pose of a few degrees."""
    ct, labels = phantoms.knee()
    true = phantoms.rigid((6, 2, -3), (12, -5, 3))
    image = phantoms.moved(phantoms.knee(seed=other_seed)[0], true)
    masks = labels.array == 2, phantoms.moved_labels(labels, image, true).array == 2
    result = RigidResult(matrix=matrix4(pose), trace=trace, initial=-0.5, rival=rival)
    quality = assess(ct, image, masks, result, CONFIG)
    return quality.accepted, quality.reason


TRUE = phantoms.rigid((6, 2, -3), (12, -5, 3))


def test_the_true_pose_is_accepted_without_a_reason() -> None:
    assert judged(TRUE) == (True, "")


@pytest.mark.parametrize(
    ("pose", "reason"),
    [
        (phantoms.rigid((6, 2, 177), (12, -5, 3)), "rotation-out-of-bounds"),
        (phantoms.rigid((6, 2, -3), (120, -5, 3)), "shift-out-of-bounds"),
        (phantoms.rigid((6, 2, -3), (60, -5, 3)), "no-overlap"),
        (phantoms.rigid((6, 2, -3), (20, -5, 0)), "surface-far"),
    ],
)
def test_a_wrong_pose_is_refused_with_its_reason(pose: phantoms.Matrix, reason: str) -> None:
    accepted, why = judged(pose)
    assert not accepted
    assert why.startswith(reason)


def test_a_bone_that_the_other_image_does_not_show_is_refused_in_numbers_that_can_be_written() -> None:
    ct, labels = phantoms.knee()
    image = phantoms.moved(ct, TRUE)
    result = RigidResult(matrix=matrix4(TRUE), trace=(-0.9,), initial=-0.5, rival=0.0)
    quality = assess(ct, image, (labels.array == 2, np.zeros(image.array.shape, bool)), result, CONFIG)
    assert not quality.accepted
    assert quality.reason.startswith("no-surface")
    assert "accepted" in to_json(quality)


def test_the_bone_of_another_person_is_refused_though_its_shape_fits() -> None:
    accepted, why = judged(TRUE, other_seed=9)
    assert not accepted
    assert why.startswith("structure-differs")


def test_faint_structure_is_accepted_where_it_stands_out_of_chance_and_refused_where_it_does_not() -> None:
    ct, labels = phantoms.knee()
    noisy = phantoms.moved(ct, TRUE, noise_hu=FAINT_HU)
    masks = labels.array == 2, phantoms.moved_labels(labels, noisy, TRUE).array == 2
    result = RigidResult(matrix=matrix4(TRUE), trace=(-0.9,), initial=-0.5, rival=0.0)
    texture = measure_agreement(ct, noisy, masks, result.matrix, CONFIG).texture
    chance = structure_by_chance(ct, noisy, masks[0], result.matrix, CONFIG)
    assert CONFIG.minimum_texture < texture < 0.26
    assert texture > 1.5 * CONFIG.minimum_standing_out * chance
    assert assess(ct, noisy, masks, result, CONFIG).accepted
    strict = replace(CONFIG, minimum_standing_out=1.1 * texture / chance)
    assert assess(ct, noisy, masks, result, strict).reason.startswith("structure-differs: ")


def test_a_metric_that_is_not_finite_or_grew_worse_is_refused() -> None:
    assert judged(TRUE, trace=(float("nan"),)) == (False, "metric-not-finite")
    accepted, why = judged(TRUE, trace=(-0.1,))
    assert not accepted
    assert why.startswith("metric-not-improving")


def test_a_pose_that_another_one_nearly_equals_is_refused_as_ambiguous() -> None:
    accepted, why = judged(TRUE, rival=0.95)
    assert not accepted
    assert why.startswith("pose-ambiguous")
    assert judged(TRUE, rival=0.8) == (True, "")


def test_a_knee_of_the_other_side_is_refused() -> None:
    ct, labels = phantoms.knee()
    mirrored = Volume(array=ct.array[:, :, ::-1].copy(), geometry=ct.geometry)
    mask = (labels.array == 2)[:, :, ::-1].copy()
    result = register_bone(ct, mirrored, labels.array == 2, mask, replace(CONFIG, candidates=1))
    assert not assess(ct, mirrored, (labels.array == 2, mask), result, CONFIG).accepted


def test_every_reason_that_the_assessment_gives_has_words() -> None:
    codes = set(
        re.findall(
            r'f"([a-z]+(?:-[a-z]+)+)[:"]|"([a-z]+(?:-[a-z]+)+)"',
            Path(assess.__code__.co_filename).read_text(),
        )
    )
    assert {one or other for one, other in codes} <= set(REFUSALS)
    transform = BoneTransform(
        knee=Knee(participant="1", side="L"), bone="tibia", fixed="ct", moving="mr",
        matrix=matrix4(np.eye(4)), quality=refuse("surface-far: 9.40 mm, at most 1.20"),
    )  # fmt: skip
    message = str(refusal_error(transform))
    assert message.startswith("[surface-far] the surfaces of the bone lie too far apart")
    assert "sub-1_side-L tibia: got 9.40 mm, at most 1.20." in message


def test_a_bone_without_a_pose_is_never_accepted() -> None:
    quality = refuse("bone-missing")
    assert (quality.accepted, quality.reason) == (False, "bone-missing")
    assert np.isfinite([quality.dice, quality.surface_mm, quality.correlation]).all()
