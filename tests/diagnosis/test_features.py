from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.core.bones import BoneName
from srrd_ray.core.records import Compartment, Knee
from srrd_ray.diagnosis import Features, PatchValues, knee_features

Row = tuple[Knee, BoneName, Compartment, float]


def patch(bone: BoneName, compartment: Compartment, value: float, participant: str = "1") -> Row:
    return Knee(participant=participant, side="L"), bone, compartment, value


def features(rows: list[Row]) -> Features:
    knees, bones, compartments, values = zip(*rows, strict=True)
    table = np.repeat(np.array(values, dtype=np.float64)[:, None], 4, axis=1)
    return knee_features(PatchValues(knees=knees, bones=bones, compartments=compartments, values=table))


def test_features_are_the_mean_and_the_medial_lateral_contrast() -> None:
    rows = [
        patch("femur", "medial", 4),
        patch("femur", "medial", 6),
        patch("tibia", "medial", 7),
        patch("femur", "lateral", 2),
        patch("tibia", "lateral", 2),
    ]
    found = features(rows)
    assert found.names[:2] == ("BV/TV mean", "BV/TV medial-lateral")
    assert found.values[0] == pytest.approx([4, 4] * 4)
    assert found.patients == ("1",)


def test_a_region_counts_once_however_many_patches_it_has() -> None:
    few = [patch("femur", "medial", 4), patch("femur", "lateral", 2)]
    assert features(few).values == pytest.approx(features(few + few[:1] * 9).values)


def test_a_missing_bone_leaves_its_compartments_to_the_other() -> None:
    found = features([patch("tibia", "medial", 3), patch("tibia", "lateral", 1)])
    assert found.values[0, :2] == pytest.approx([2, 2])


def test_a_knee_without_a_compartment_is_named_and_left_out() -> None:
    rows = [
        patch("tibia", "medial", 3, "1"),
        patch("tibia", "medial", 3, "2"),
        patch("femur", "lateral", 3, "2"),
        patch("femur", "lateral", float("nan"), "1"),
    ]
    found = features(rows)
    assert found.knees == (Knee(participant="2", side="L"),)
    assert found.excluded == (Knee(participant="1", side="L"),)
