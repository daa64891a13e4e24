"""A first estimate of CT from MR by the physics of both scanners: where the generator starts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from srrd_ray.synthesis.slices import HU_CENTRE, HU_SCALE

MARROW_HU, BONE_HU, SOFT_HU = -50.0, 1560.0, 60.0
FULL_MARROW = 1.28


def guess_ct(mr: Tensor) -> Tensor:
    """Return a scaled CT from scaled MR slices (n, 1, h, w), pixel by pixel and its neighbourhood.

    MR is dark in cortex, cartilage and muscle alike. Dark and thin next to bright marrow is bone, from -50 HU
    of marrow to 1560 HU (method C5), its share 1 - I / I_marrow (bSSFP, method C4); dark and wide is soft
    tissue. Fluid and fat are as bright as marrow and wrong here: to tell them apart is left to the networks.
    No CT is looked at.
    """
    signal = 0.5 * (mr + 1.0)
    wide = functional.avg_pool2d(signal, 5, stride=1, padding=2, count_include_pad=False)
    near_marrow = ((wide - 0.25) / 0.35).clamp(0.0, 1.0)
    bone = MARROW_HU + (BONE_HU - MARROW_HU) * (1.0 - signal / FULL_MARROW)
    return (near_marrow * bone + (1.0 - near_marrow) * SOFT_HU - HU_CENTRE) / HU_SCALE
