"""The picture of a knee is drawn whatever became of its bones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import matrix4
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality, Unit
from srrd_ray.core.records import Image as ImageName
from srrd_ray.core.volume import Volume
from srrd_ray.registration.quality import refuse
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.stages.shared.qc_picture import THUMBNAIL, bone_notes, describe_bones, draw_knee
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume, write_volume
from tests.report.test_overlays import SHIFT, knee

WORDS = 20
"""Rows of pixels of the title."""
KNEE = Knee(participant="001", side="R")
GOOD = RegistrationQuality(accepted=True, reason="", dice=0.97, surface_mm=0.31, correlation=0.9)
FAR = RegistrationQuality(
    accepted=False, reason="surface-far: 2.1 mm", dice=0.9, surface_mm=2.1, correlation=0.5
)


def transforms(quality: RegistrationQuality) -> list[BoneTransform]:
    pose = np.eye(4)
    pose[:3, 3] = SHIFT if quality.dice else 0
    return [
        BoneTransform(knee=KNEE, bone=bone, fixed="ct", moving="mr", matrix=matrix4(pose), quality=quality)
        for bone in BONES
    ]


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    found, images = RunLayout(root=tmp_path), knee()
    assert images.mr is not None
    kinds: dict[ImageName, Volume[np.generic]] = {
        "ct": images.ct, "mr": images.mr, "sct": images.mr,
        "ct_bones": Volume(array=images.bones.array, geometry=images.bones.geometry),
    }  # fmt: skip
    for image, volume in kinds.items():
        unit: Unit = "label" if image == "ct_bones" else "HU"
        write_volume(found.volume(KNEE, image), volume, knee=KNEE, image=image, unit=unit)
    return found


def drawn(layout: RunLayout, quality: RegistrationQuality) -> np.ndarray:
    for transform in transforms(quality):
        write_pose(layout, transform)
    picture, thumbnail = draw_knee(layout, KNEE)
    with Image.open(thumbnail) as small:
        assert small.size[0] <= THUMBNAIL[0]
    with Image.open(picture) as whole:
        return np.asarray(whole.convert("RGB"))


def unlike(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean difference of grey levels; pictures are stored with loss."""
    return float(np.abs(a.astype(float) - b).mean())


def test_a_refused_bone_is_drawn_where_it_was_put_and_one_without_a_pose_by_the_middles(
    layout: RunLayout,
) -> None:
    good, far, nowhere = (drawn(layout, one) for one in (GOOD, FAR, refuse("bone-missing")))
    assert unlike(good[WORDS:], far[WORDS:]) < 1
    assert unlike(good[WORDS:], nowhere[WORDS:]) < 1, "the middles of these two images lie as their bones do"
    assert unlike(good[:WORDS], far[:WORDS]) > 1


def test_what_became_of_the_bones_is_told_in_words() -> None:
    assert describe_bones(transforms(GOOD)[:1]) == "femur accepted, surfaces 0.31 mm apart"
    assert describe_bones(transforms(refuse("bone-missing"))[:1]).startswith("femur REFUSED, ")


def test_what_was_flagged_of_the_bones_is_told_in_the_title(layout: RunLayout) -> None:
    assert bone_notes(layout, KNEE) == []
    plain = drawn(layout, GOOD)
    labels = read_volume(layout.volume(KNEE, "ct_bones"))
    path = layout.volume(KNEE, "mr_bones")
    write_volume(path, labels, knee=KNEE, image="mr_bones", unit="label", notes=["FLAG bone-lump: femur"])
    assert bone_notes(layout, KNEE) == ["MR: FLAG bone-lump: femur"]
    assert unlike(drawn(layout, GOOD)[:WORDS], plain[:WORDS]) > 1
