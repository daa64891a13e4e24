"""What a synthetic CT shows otherwise than its MR: noted with it, flagged, and refused above a limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srrd_ray.core.errors import InputError
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.knee_bones.find import shows_whole_joint
from srrd_ray.knee_bones.segmenter_files import require_segmenter
from srrd_ray.knee_bones.segmenter_model import shared_segmenter
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.inference import segment
from srrd_ray.stages.shared.synthesis_card import read_card
from srrd_ray.stages.shared.synthesis_model import load_contrasts, load_way_back
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.contrast import unlikeness
from srrd_ray.synthesis.invention import Invention, compare_with_mr, cycle_error
from srrd_ray.synthesis.slices import scaled_mr

BONES = [number for number, name in enumerate(CLASSES) if name in ("femur", "tibia", "fibula", "patella")]
FLAGGED_INVENTED, FLAGGED_OPEN, FLAGGED_CYCLE = 0.10, 0.10, 0.5
"""Above these somebody should look. After a minute of training the way back of a knee that was learnt from is
0.35 to 0.41 off, of a sequence that was not 0.53 and more (docs/synthesis.md).
"""


def note_inventions(
    mr: Volume[Scalar], sct: Volume[Scalar], first: Path, config: CycleGanConfig, bones: BoneConfig
) -> tuple[str, ...]:
    """Return lines to be kept with a synthetic CT, ``FLAG …`` where somebody should look.

    The bones of the MR are asked of the network, so of a small field of view only the way back and the
    contrast are told.

    Parameters
    ----------
    first
        Folder of the synthesis of round one, which keeps the way back to MR.
    config
        Holds the limit above which the synthetic CT is refused.

    Raises
    ------
    InputError
        `synthesis-invented`.
    """
    trained, lines = read_card(first).config, []
    back = load_way_back(first)
    if back is not None:
        error = cycle_error(back, mr, sct, trained)
        text = f"the MR made of it again is {error:.2f} marrow levels from the MR"
        lines.append(_line("synthesis-cycle", text, flagged=error > FLAGGED_CYCLE))
    seen = load_contrasts(first)
    if seen is not None:
        apart = unlikeness(seen, scaled_mr(mr, trained).array)
        text = f"as far from the nearest MR that the synthesis began from as {apart:.1f} times what is usual"
        lines.append(_line("synthesis-contrast", text, flagged=apart > 1.0))
    if shows_whole_joint(mr, bones):
        lines += _bone_lines(_against_bones(mr, sct, bones), config)
    return tuple(lines)


def _against_bones(mr: Volume[Scalar], sct: Volume[Scalar], bones: BoneConfig) -> Invention:
    network, working = shared_segmenter(require_segmenter(bones.segmenter))
    classes = segment(network, mr, "mr", working)
    found = np.isin(classes.array, BONES)
    return compare_with_mr(sct, Volume(array=found, geometry=classes.geometry))


def _bone_lines(found: Invention, config: CycleGanConfig) -> list[str]:
    if found.invented > config.most_invented:
        raise InputError(
            "synthesis-invented", "the synthetic CT shows bone where its MR has none",
            got=f"{found.invented:.0%} of the bone in the MR", expected=f"at most {config.most_invented:.0%}",
            todo="Look at it; train the synthesis longer, or raise synthesis.most_invented.",
        )  # fmt: skip
    invented = f"bone where the MR has none: {found.invented:.0%} of the bone in the MR"
    unclosed = f"no cortex over {found.open:.0%} of the surface of the bones in the MR"
    return [
        _line("synthesis-invented", invented, flagged=found.invented > FLAGGED_INVENTED),
        _line("synthesis-open", unclosed, flagged=found.open > FLAGGED_OPEN),
    ]


def _line(code: str, text: str, *, flagged: bool) -> str:
    return f"{'FLAG' if flagged else 'INFO'} {code}: {text}"
