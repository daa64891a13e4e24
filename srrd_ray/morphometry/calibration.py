"""Bone volume fraction from CT, 3D and on the native grid: by two references, or by a threshold.

A voxel of marrow and mineralised bone has HU = marrow + fraction · (mineral - marrow): the mixture is linear
in attenuation. The mineral's HU depends on the beam alone;
the marrow's on its fat, which differs between people and sites.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.morphometry.marrow import Spacing, marrow_reference

Fraction = NDArray[np.float32]

MINERAL_HU = 1559.0
"""HU of mineralised bone tissue of 1.92 g/cm³ at 70 keV effective (NIST attenuation, ICRU-44);
1936 at 60, 1330 at 80 keV.
"""

MARROW_HU = -50.0
"""HU of the yellow marrow that fills the knee of adults (0.98 g/cm³, 70 keV effective);
red marrow reads some 80 HU higher.
"""


def ct_bone_fraction(
    ct: ArrayLike,
    bone_mask: ArrayLike,
    spacing_mm: Spacing,
    *,
    mineral_hu: float = MINERAL_HU,
    marrow_hu: float | ArrayLike | None = None,
) -> Fraction:
    """Return the bone volume fraction of each voxel of `bone_mask`, 0 outside it.

    Parameters
    ----------
    ct
        (z, y, x), HU.
    bone_mask
        Inside of one bone, cortex included.
    spacing_mm
        Voxel size (z, y, x), mm.
    mineral_hu
        HU of mineralised tissue alone, from a phantom or the beam's effective energy.
    marrow_hu
        HU of marrow alone, one number or one a voxel; null: `ct_marrow`.

    Returns
    -------
    NDArray
        ``(HU - marrow)/(mineral - marrow)``. Noise and edge enhancement take some values below 0 or above 1:
        they are kept, so that means over regions are not biased.

    Raises
    ------
    InputError
        `references-equal` where the mineral is not denser than the marrow.
    NotEstimableError
        `marrow-unknown` where the bone is too small for a marrow reference.
    """
    image, inside = np.asarray(ct, dtype=np.float32), np.asarray(bone_mask) != 0
    marrow = (
        ct_marrow(image, inside, spacing_mm, mineral_hu=mineral_hu)
        if marrow_hu is None
        else np.asarray(marrow_hu)
    )
    if not (marrow < mineral_hu).all():
        raise InputError(
            "references-equal",
            "mineral is denser than marrow",
            got=f"{float(marrow.max()):g} and {mineral_hu:g} HU",
            expected="marrow < mineral",
        )
    span = (np.float32(mineral_hu) - marrow).astype(np.float32)
    missing = np.float32(mineral_hu) - image
    return np.where(inside, np.float32(1) - missing / span, np.float32(0)).astype(np.float32)


def ct_marrow(
    ct: ArrayLike, bone_mask: ArrayLike, spacing_mm: Spacing, *, mineral_hu: float = MINERAL_HU
) -> NDArray[np.float32]:
    """Return the HU of marrow at each voxel, estimated deep in the bone, block by block,
    as in `marrow_reference`.

    Raises
    ------
    NotEstimableError
        `marrow-unknown` where the bone is too small.
    """
    image, inside = np.asarray(ct, dtype=np.float32), np.asarray(bone_mask) != 0
    # bright in marrow, 0 in mineral: what MR shows of bone
    missing = np.maximum(np.float32(mineral_hu) - image, 0)
    return np.float32(mineral_hu) - marrow_reference(missing, inside, spacing_mm).level


def ct_bone(ct: ArrayLike, bone_mask: ArrayLike, threshold_hu: float) -> NDArray[np.bool_]:
    """Return the voxels of `bone_mask` above a threshold in HU:
    right where trabeculae are resolved, apparent elsewhere.
    """
    bone: NDArray[np.bool_] = (np.asarray(bone_mask) != 0) & (np.asarray(ct) > threshold_hu)
    return bone
