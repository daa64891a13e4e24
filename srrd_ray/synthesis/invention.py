"""What a synthetic CT shows that its MR does not: bone where the MR has none, cortex that is not closed,
and what the way back to MR does not find again. No CT is asked, so this is known of every knee.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.grids import resample_to_working_grid
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.inference import translate
from srrd_ray.synthesis.slices import sagittal, scale_hu, scaled_mr

SPACING_MM = 1.0
BONE_HU = 300.0
"""Above cartilage, muscle and tendon, under cortex at this spacing."""
CORTEX_HU = 200.0
FAR_MM = 4.0
"""Distance from the bones of the MR beyond which what looks like bone was invented: over what the network
that finds them is off.
"""
SHELL_MM = 2.0
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Invention:
    """Invented bone over the bone of the MR (volumes), and the share of the bones' surface without cortex."""

    invented: float
    open: float


def compare_with_mr(sct: Volume[Scalar], bones: Volume[np.bool_]) -> Invention:
    """Return what a synthetic CT shows otherwise than the MR it was made from.

    Parameters
    ----------
    sct
        Hounsfield units.
    bones
        All bones that were found in the MR, patella and fibula too, on any grid of its world.
    """
    image = resample_to_working_grid(sct, SPACING_MM, 0.5 * SPACING_MM)
    mask = Volume(array=bones.array.astype(np.float32), geometry=bones.geometry)
    bone: Mask = mask.resample_onto(image.geometry).array > 0.5
    if not bone.any():
        return Invention(invented=float("inf"), open=1.0)
    outside = ndimage.distance_transform_edt(~bone, sampling=image.geometry.spacing_mm)
    invented = (image.array > BONE_HU) & (outside > FAR_MM)
    shell = bone & ~ndimage.binary_erosion(bone, border_value=1)
    size = 2 * round(SHELL_MM / SPACING_MM) + 1
    brightest = ndimage.maximum_filter(image.array, size=size, mode="nearest")
    unclosed = float((brightest[shell] < CORTEX_HU).mean()) if shell.any() else 0.0
    return Invention(invented=float(invented.sum()) / float(bone.sum()), open=unclosed)


def cycle_error(back: nn.Module, mr: Volume[Scalar], sct: Volume[Scalar], config: CycleGanConfig) -> float:
    """Return how far the MR that is made of the synthetic CT is from the MR itself, in marrow levels."""
    there = scaled_mr(mr, config).array
    here = translate(back, scale_hu(sagittal(sct, config).array, config.floor_hu), config)
    return float(np.abs(here - there).mean()) / 2.0
