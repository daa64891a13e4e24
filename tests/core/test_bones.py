from __future__ import annotations

from typing import get_args

from srrd_ray.core.bones import BONE_LABELS, BONE_OF, BONES, BoneName
from srrd_ray.simulation.pose import FEMUR, TIBIA


def test_every_bone_has_one_record_under_its_name() -> None:
    assert get_args(BoneName) == BONES
    assert all(bone.name == name for name, bone in BONE_OF.items())


def test_bones_can_be_told_apart_in_label_volumes_charts_and_images() -> None:
    for values in (
        list(BONE_LABELS.values()),
        [bone.colour for bone in BONE_OF.values()],
        [bone.contour for bone in BONE_OF.values()],
    ):
        assert len(set(values)) == len(BONES)
    assert 0 not in BONE_LABELS.values()


def test_the_joint_lies_below_the_femur_and_above_the_tibia() -> None:
    assert BONE_OF["femur"].joint_lps == (0, 0, -1)
    assert BONE_OF["tibia"].joint_lps == (0, 0, 1)


def test_a_simulated_knee_holds_the_bones_in_the_order_of_their_labels() -> None:
    assert (BONE_LABELS["femur"], BONE_LABELS["tibia"]) == (FEMUR + 1, TIBIA + 1)
