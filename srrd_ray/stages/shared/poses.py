"""The poses of the bones of a knee, as registered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BoneName
from srrd_ray.core.records import BoneTransform, Knee
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import read_record, write_record


def read_pose(layout: RunLayout, knee: Knee, bone: BoneName) -> BoneTransform | None:
    """Return the transform of a bone, accepted or refused; None where the bone was not registered."""
    path = layout.transform(knee, bone)
    return read_record(BoneTransform, path, "transform") if path.is_file() else None


def write_pose(layout: RunLayout, found: BoneTransform) -> None:
    """Write the transform of a bone, accepted or refused, to its place in the run."""
    write_record(layout.transform(found.knee, found.bone), found, "transform")


def accepted_pose(layout: RunLayout, knee: Knee, bone: BoneName) -> NDArray[np.float64] | None:
    """Return the 4×4 map from CT LPS mm to MR LPS mm of a bone.

    It is None where the bone has none or its registration was refused.
    """
    found = read_pose(layout, knee, bone)
    return (
        np.asarray(found.matrix, dtype=np.float64) if found is not None and found.quality.accepted else None
    )
