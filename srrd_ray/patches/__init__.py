"""Cubes of subchondral bone: where they lie under the joint surface, and how CT and MR are cut there."""

from srrd_ray.patches.sampling import CutPatch, PatchConfig, Placement, cut_ct, cut_mr, place_cubes
from srrd_ray.patches.subchondral import SubchondralPoint, subchondral_points

__all__ = [
    "CutPatch",
    "PatchConfig",
    "Placement",
    "SubchondralPoint",
    "cut_ct",
    "cut_mr",
    "place_cubes",
    "subchondral_points",
]
