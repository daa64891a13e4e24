"""Which round of the synthesis is better, by the knees of patients that neither has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.stages.compare_synthesis import compare_knee
from srrd_ray.stages.shared.first_round import SynthesisChoice, first_bones_path, read_first_poses
from srrd_ray.stages.shared.synthesis_model import load_model
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.synthesis.inference import synthesize

Scores = Mapping[str, float]
"""``mae_hu`` of the body and ``dice`` of the bones, means over knees."""
LOST: Scores = {"mae_hu": float("inf"), "dice": 0.0}
"""Of a round whose synthetic CT cannot be one."""


def judge(layout: RunLayout, knees: Sequence[Knee], model: Path, bones: BoneConfig) -> Scores:
    """Return how well a model does on `knees`, by the poses of round one: the truth is not asked."""
    generator, config = load_model(model)
    found: list[Scores] = []
    for knee in knees:
        ct, mr, labels = (
            omezarr.read_volume(path)
            for path in (layout.volume(knee, "ct"), layout.volume(knee, "mr"), first_bones_path(layout, knee))
        )
        poses = {one.bone: one.matrix for one in read_first_poses(layout, knee) if one.quality.accepted}
        try:
            made = synthesize(generator, mr, config)
        except InputError:
            return LOST
        label_map = Volume(array=labels.array.astype(np.uint8), geometry=labels.geometry)
        figures = list(compare_knee(ct, made, label_map, poses, bones))
        dice = [value for part, figure, value in figures if figure == "dice" and part in poses]
        error = [value for part, figure, value in figures if (part, figure) == ("body", "mae_hu")]
        found.append({"mae_hu": float(np.mean(error)), "dice": float(np.mean(dice))})
    return {name: float(np.mean([one[name] for one in found])) for name in LOST}


def choose(first: Scores, aligned: Scores, *, learnt_from: int, judged_by: int) -> SynthesisChoice:
    """Return round two where bodies are nearer to their CT by it, and bones no worse.

    Bones count because registration needs them: round two could have lower errors by blurring their edges.
    """
    nearer, no_worse = aligned["mae_hu"] < first["mae_hu"], aligned["dice"] >= first["dice"] - SAME_DICE
    figures = (
        f"in {judged_by} knees held out the error in the body is {aligned['mae_hu']:.0f} HU (round one "
        f"{first['mae_hu']:.0f}), the Dice of the bones {aligned['dice']:.2f} ({first['dice']:.2f})"
    )
    return SynthesisChoice(
        used=nearer and no_worse,
        reason=figures,
        learnt_from=learnt_from,
        judged_by=judged_by,
        first_mae_hu=_finite(first["mae_hu"]),
        aligned_mae_hu=_finite(aligned["mae_hu"]),
        first_dice=first["dice"],
        aligned_dice=aligned["dice"],
    )


SAME_DICE = 0.01
"""Less than this is no difference."""


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
