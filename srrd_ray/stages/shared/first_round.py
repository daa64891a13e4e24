"""What round one leaves of a knee, poses, bones of the CT, slices for round two, and which round is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srrd_ray.core.bones import BONES
from srrd_ray.core.records import BoneTransform, Knee
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record, write_record

CHOICE = "choice.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisChoice:
    """``models/synthesis-aligned/choice.json``: whether round two is used, and by which figures.

    Parameters
    ----------
    used
        Whether the synthetic CT of all knees is that of round two.
    reason
        Why, in words.
    learnt_from, judged_by
        Knees that round two learnt from, and knees of patients held out that decided.
    first_mae_hu, aligned_mae_hu, first_dice, aligned_dice
        What each round scored on the latter: error in the body, and Dice of the bones; null where it was not
        measured.
    """

    used: bool
    reason: str
    learnt_from: int = 0
    judged_by: int = 0
    first_mae_hu: float | None = None
    aligned_mae_hu: float | None = None
    first_dice: float | None = None
    aligned_dice: float | None = None


def read_choice(layout: RunLayout) -> SynthesisChoice:
    """Return which round of the synthesis a run uses."""
    path = layout.model("synthesis-aligned") / CHOICE
    return read_record(SynthesisChoice, path, "synthesis_choice")


def chosen_model(layout: RunLayout) -> Path:
    """Return the folder of the synthesis that a run uses."""
    return layout.model("synthesis-aligned" if read_choice(layout).used else "synthesis")


def pair_path(layout: RunLayout, knee: Knee) -> Path:
    """Return where the aligned slices of a knee are, if it has any."""
    return layout.first(knee) / "pair.safetensors"


def first_bones_path(layout: RunLayout, knee: Knee) -> Path:
    """Return where the labels of the bones of the CT are, if round one found any."""
    return layout.first(knee) / "ct_bones.ome.zarr"


def write_first_poses(layout: RunLayout, found: Sequence[BoneTransform]) -> tuple[Path, ...]:
    """Return the paths of the poses of round one, accepted or refused, after writing them."""
    paths = tuple(layout.first(one.knee) / f"transform_{one.bone}.json" for one in found)
    for path, one in zip(paths, found, strict=True):
        write_record(path, one, "transform")
    return paths


def read_first_poses(layout: RunLayout, knee: Knee) -> tuple[BoneTransform, ...]:
    """Return the poses of round one; none where the knee was not aligned."""
    paths = (layout.first(knee) / f"transform_{bone}.json" for bone in BONES)
    return tuple(read_record(BoneTransform, path, "transform") for path in paths if path.is_file())
