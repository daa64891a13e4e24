"""The CT of a knee on the grid of its MR, once the poses of its bones are known.

Each bone is rigid, so what lies in it or close by goes with its pose. Soft tissue has no pose of its own: it
follows the bones round it, the nearer one more, as a skin follows a skeleton. In it the result is the less
certain the farther it lies from a bone; `AlignedCt.outside_mm` says how far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.bones import BONE_LABELS, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Points, transform_points
from srrd_ray.core.volume import Scalar, Volume

Floats = NDArray[np.float32]
NEAR_MM = 0.3
"""Distance from a bone below which others hardly move a point."""
FAR_MM = 1e3
"""In place of the distance from a bone that is nowhere near."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AlignedCt:
    """CT on another grid.

    Parameters
    ----------
    hu
        Hounsfield units; NaN where the CT did not see.
    labels
        Femur 1, tibia 2, as `BONE_LABELS`.
    outside_mm
        Distance from the nearest of the bones that have a pose; negative inside, by the depth.
    """

    hu: Volume[np.float32]
    labels: NDArray[np.uint8]
    outside_mm: Floats


def align_ct(
    ct: Volume[Scalar], bones: Volume[np.uint8], poses: Mapping[BoneName, ArrayLike], grid: Geometry
) -> AlignedCt:
    """Return `ct` on `grid`, which is in the world of the MR.

    Parameters
    ----------
    bones
        Labels on the grid of `ct`.
    poses
        4×4 maps from CT LPS mm to MR LPS mm, one at least, of bones that are in `bones`.

    Raises
    ------
    InputError
        `bone-missing` where no bone has both a pose and a label.
    """
    to_ct = {
        bone: np.linalg.inv(np.asarray(pose, dtype=np.float64))
        for bone, pose in poses.items()
        if (bones.array == BONE_LABELS[bone]).any()
    }
    if not to_ct:
        raise InputError("bone-missing", "no bone of this knee has both a pose and a label in the CT")
    distance = {bone: _distance_mm(bones, bone, matrix, grid) for bone, matrix in to_ct.items()}
    outside = np.min(list(distance.values()), axis=0)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for bone, value in distance.items():
        labels[(value < 0) & (value <= outside)] = BONE_LABELS[bone]
    # rounded: without it the last digits decide whether the outermost voxels count as seen
    index = np.round(ct.geometry.lps_to_index(_points_in_ct(grid, to_ct, distance)), 5)
    hu: Floats = ndimage.map_coordinates(
        ct.array.astype(np.float32, copy=False), np.moveaxis(index, -1, 0), order=1, cval=np.nan,
        output=np.float32,
    )  # fmt: skip
    return AlignedCt(hu=Volume(array=hu, geometry=grid), labels=labels, outside_mm=outside)


def _distance_mm(bones: Volume[np.uint8], bone: BoneName, to_ct: Points, grid: Geometry) -> Floats:
    """Return the signed distance from a bone at the points of `grid`, mm, negative inside.

    What the CT did not see is taken to be as the nearest point that it saw: a bone goes on there.
    """
    mask = Volume(array=(bones.array == BONE_LABELS[bone]).astype(np.float32), geometry=bones.geometry)
    sampled = mask.resample_onto(grid, to_ct, fill=np.nan).array
    unseen = np.isnan(sampled)
    if unseen.any() and not unseen.all():
        nearest = ndimage.distance_transform_edt(
            unseen, sampling=grid.spacing_mm, return_distances=False, return_indices=True
        )
        sampled = sampled[tuple(nearest)]
    inside = sampled > 0.5
    if not inside.any():
        return np.full(grid.shape, FAR_MM, dtype=np.float32)
    inner, outer = (ndimage.distance_transform_edt(m, sampling=grid.spacing_mm) for m in (inside, ~inside))
    return np.asarray(outer - inner, dtype=np.float32)


def _points_in_ct(
    grid: Geometry, to_ct: Mapping[BoneName, Points], distance: Mapping[BoneName, Floats]
) -> Points:
    """Return where in the CT the points of `grid` are: the mean over bones, the nearer one counting more."""
    points = grid.index_to_lps(np.moveaxis(np.indices(grid.shape), 0, -1))
    weights = {bone: (np.maximum(distance[bone], 0.0) + NEAR_MM) ** -3.0 for bone in to_ct}
    total = np.sum(list(weights.values()), axis=0)
    shares = {bone: (weight / total)[..., None] for bone, weight in weights.items()}
    moved = [shares[bone] * transform_points(to_ct[bone], points) for bone in to_ct]
    return np.asarray(np.sum(moved, axis=0), dtype=np.float64)
