"""The bones that are registered and read: one record with all that is known of each.

A third bone begins here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

BoneName: TypeAlias = Literal["femur", "tibia"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bone:
    """One bone of the knee.

    Parameters
    ----------
    name
        As paths, tables and options spell it.
    label
        Its value in label volumes.
    joint_lps
        Unit vector from the bone towards the knee's joint, LPS.
    colour
        In charts; of Okabe and Ito's palette, told apart by colour-blind readers too.
    contour, contour_word
        Colour of its outline over an image, and how a caption calls that colour.
    """

    name: BoneName
    label: int
    joint_lps: tuple[float, float, float]
    colour: str
    contour: str
    contour_word: str


FEMUR = Bone(
    name="femur",
    label=1,
    joint_lps=(0.0, 0.0, -1.0),
    colour="#0072B2",
    contour="#56B4E9",
    contour_word="blue",
)
TIBIA = Bone(
    name="tibia",
    label=2,
    joint_lps=(0.0, 0.0, 1.0),
    colour="#D55E00",
    contour="#ffb000",
    contour_word="amber",
)

BONE_OF: Mapping[BoneName, Bone] = {bone.name: bone for bone in (FEMUR, TIBIA)}
BONES: tuple[BoneName, ...] = tuple(BONE_OF)
BONE_LABELS: Mapping[BoneName, int] = {bone.name: bone.label for bone in BONE_OF.values()}
CUT_OFF: Final = 100
"""Added to the label of a bone in stored label volumes, where a lump of it was cut off: not of any bone."""
ALL_BONES: Final = "dseg"
"""What BIDS calls a file of labels: ``…_space-ct_dseg.nii.gz`` of a cohort holds all bones of a knee."""
