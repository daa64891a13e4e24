"""Stage ``compare-synthesis``: the synthetic CT of a knee that was held out, against its CT.

It is evaluation: the CT is brought onto the MR by the true poses where the cohort is simulated. Elsewhere by
those found, so that an error of registration counts as one of the synthesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Image, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.registration.grids import working_grid
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.shared.poses import accepted_pose
from srrd_ray.stages.shared.synthesis_card import read_card
from srrd_ray.stages.shared.truth import has_truth_of, read_poses
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table
from srrd_ray.synthesis.alignment import align_ct

TABLE: Final = "synthesis_figures"
COLUMNS = ("participant", "side", "aligned_by", "part", "figure", "value")
SPACING_MM = 0.75
Poses: TypeAlias = Mapping[BoneName, ArrayLike]
AlignedBy: TypeAlias = Literal["truth", "registration"]
Row: TypeAlias = tuple[str, str, AlignedBy, str, str, float]


def write_figures(layout: RunLayout, knee: Knee, cohort: Path, bones: BoneConfig) -> Path:
    """Return the path of the part of table ``synthesis_figures`` of a knee.

    It has no row where the synthesis learnt from the patient, or where no bone has a pose.
    """
    held_out = knee.participant in read_card(layout.model("synthesis")).held_out
    rows = list(_rows(layout, knee, cohort, bones)) if held_out else []
    path = layout.part(TABLE, knee)
    write_table(path, pd.DataFrame(rows, columns=list(COLUMNS)), TABLE)
    return path


def _rows(layout: RunLayout, knee: Knee, cohort: Path, bones: BoneConfig) -> Iterator[Row]:
    aligned_by, poses = _poses(layout, knee, cohort)
    if poses:
        ct, sct, labels = (_read(layout, knee, image) for image in ("ct", "sct", "ct_bones"))
        label_map = Volume(array=labels.array.astype(np.uint8), geometry=labels.geometry)
        for part, figure, value in compare_knee(ct, sct, label_map, poses, bones):
            yield knee.participant, knee.side, aligned_by, part, figure, value


def compare_knee(
    ct: Volume[np.generic], sct: Volume[np.generic], labels: Volume[np.uint8], poses: Poses, bones: BoneConfig
) -> Iterator[tuple[str, str, float]]:
    """Yield part, figure and value of a synthetic CT against its CT, on a grid of 0.75 mm of the MR.

    Bones that cannot be found in the synthetic CT have a Dice of 0.
    """
    from srrd_ray.knee_bones.find import find_bones  # these two take seconds to import
    from srrd_ray.synthesis.fidelity import compare_bones, compare_images

    aligned = align_ct(ct, labels, poses, working_grid(sct.geometry, SPACING_MM))
    yield from compare_images(aligned, sct.resample_onto(aligned.hu.geometry).array)
    try:
        found = find_bones(sct, "synthetic-ct", None, bones).labels
    except InputError:
        found = Volume(array=np.zeros(sct.geometry.shape, dtype=np.uint8), geometry=sct.geometry)
    yield from compare_bones(aligned, found)


def _poses(layout: RunLayout, knee: Knee, cohort: Path) -> tuple[AlignedBy, Poses]:
    if has_truth_of(cohort, knee):
        return "truth", {bone: pose.matrix for bone, pose in read_poses(cohort, knee).items()}
    found = {bone: accepted_pose(layout, knee, bone) for bone in BONES}
    return "registration", {bone: pose for bone, pose in found.items() if pose is not None}


def _read(layout: RunLayout, knee: Knee, image: Image) -> Volume[np.generic]:
    return omezarr.read_volume(layout.volume(knee, image))


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareSynthesisSettings:
    """How bones are found."""

    registration: RegistrationConfig


def compare_synthesis(work: Work[CompareSynthesisSettings]) -> Produced:
    """Compare the synthetic CT of a knee with its CT."""
    assert work.cohort.root is not None, "declared by `truth`"
    bones = work.settings.registration.bones
    return Produced(paths=(write_figures(work.layout, work.item.knees[0], work.cohort.root, bones),))


STAGE = Stage(
    name="compare-synthesis",
    scope="knee",
    function=compare_synthesis,
    settings=CompareSynthesisSettings,
    needs=("ingest", "learn-synthesis", "synthesize", "register"),
    outside=("truth", "segmenter"),
    outputs=(f"tables/parts/{TABLE}",),
    for_the_eye=True,
)
