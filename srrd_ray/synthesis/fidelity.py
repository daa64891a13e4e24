"""How a synthetic CT compares with the CT over a whole field of view: by region, by tissue, by depth.

Both images are clipped to -1000…2000 HU, which is the range of PSNR and SSIM. Nothing is left out of the
field but what the CT did not see.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from srrd_ray.core.bones import BONE_LABELS
from srrd_ray.core.volume import Volume
from srrd_ray.synthesis.alignment import AlignedCt

LOW_HU, HIGH_HU = -1000.0, 2000.0
AIR_HU = -300.0
DEPTHS_MM = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Edges of the layers under the surface of femur and tibia; negative outside."""
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


class Figure(NamedTuple):
    """One figure of a part of an image, e.g. ``body``, ``mae_hu``."""

    part: str
    figure: str
    value: float


def compare_images(aligned: AlignedCt, made: Floats) -> Iterator[Figure]:
    """Yield the figures of a synthetic CT, `made`, on the grid of the aligned CT.

    Parts are ``field``, ``body`` (what is not air in the CT), ``bone`` (femur and tibia), and the tissues
    ``air`` and ``soft`` (body without the two bones): ``mae_hu``, ``psnr_db``, ``ssim`` and ``me_hu``, the
    mean of synthetic minus real; and layers ``depth -1 to 0 mm`` …: ``ct_hu`` and ``synthetic_hu``. A part
    of less than 100 voxels is left out.
    """
    ct, seen = aligned.hu.array, np.isfinite(aligned.hu.array)
    if int(seen.sum()) < FEWEST:
        return
    real, other = (np.clip(np.where(seen, image, 0.0), LOW_HU, HIGH_HU) for image in (ct, made))
    structure = _structure(real, other)
    bone = seen & (aligned.labels > 0)
    air = seen & (real < AIR_HU) & ~bone
    parts = {"field": seen, "body": seen & ~air, "bone": bone, "soft": seen & ~air & ~bone, "air": air}
    for part, mask in parts.items():
        if int(mask.sum()) >= FEWEST:
            yield from _of_part(part, other[mask] - real[mask], structure[mask])
    yield from _by_depth(-aligned.outside_mm, seen, real, other)


FEWEST = 100
"""Voxels of a part below which it is left out."""


def _structure(real: Floats, other: Floats) -> Floats:
    """Return the map of structural similarity (Wang 2004: Gaussian of 1.5 voxels)."""
    _, found = structural_similarity(
        real, other, data_range=HIGH_HU - LOW_HU, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    return np.asarray(found, dtype=np.float32)


def _of_part(part: str, error: Floats, structure: Floats) -> Iterator[Figure]:
    square = max(float((error.astype(np.float64) ** 2).mean()), 1e-6)
    yield Figure(part, "mae_hu", float(np.abs(error).mean()))
    yield Figure(part, "me_hu", float(error.mean()))
    yield Figure(part, "psnr_db", float(10 * np.log10((HIGH_HU - LOW_HU) ** 2 / square)))
    yield Figure(part, "ssim", float(structure.mean()))


def _by_depth(depth_mm: Floats, seen: Mask, real: Floats, other: Floats) -> Iterator[Figure]:
    for low, high in pairwise(DEPTHS_MM):
        layer = seen & (depth_mm > low) & (depth_mm <= high)
        if int(layer.sum()) >= FEWEST:
            part = f"depth {low:g} to {high:g} mm"
            yield Figure(part, "ct_hu", float(real[layer].mean()))
            yield Figure(part, "synthetic_hu", float(other[layer].mean()))


def compare_bones(aligned: AlignedCt, found: Volume[np.uint8]) -> Iterator[Figure]:
    """Yield ``dice`` and ``surface_mm`` of each bone: those found in the synthetic CT (on any grid of the
    MR's world) against those of the CT, where both images see.

    ``surface_mm`` is the mean distance of the surfaces, both ways. A bone that was not found has Dice 0 and
    no distance.
    """
    grid = aligned.hu.geometry
    seen = np.isfinite(aligned.hu.array)
    for bone, label in BONE_LABELS.items():
        real = (aligned.labels == label) & seen
        if not real.any():
            continue
        mask = Volume(array=(found.array == label).astype(np.float32), geometry=found.geometry)
        other = (mask.resample_onto(grid).array > 0.5) & seen
        yield Figure(bone, "dice", 2.0 * float((real & other).sum()) / float(real.sum() + other.sum()))
        if other.any():
            yield Figure(bone, "surface_mm", _surfaces_apart_mm(real, other, seen, grid.spacing_mm))


def _surfaces_apart_mm(a: Mask, b: Mask, seen: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Return the mean distance of the surfaces of two masks, both ways; surfaces where the view ends do not
    count.
    """
    within = ndimage.binary_erosion(seen)
    edges = [(mask & ~ndimage.binary_erosion(mask)) & within for mask in (a, b)]
    if not (edges[0].any() and edges[1].any()):
        return float("nan")
    apart = [ndimage.distance_transform_edt(~edge, sampling=spacing_mm) for edge in edges]
    return float(np.concatenate([apart[1][edges[0]], apart[0][edges[1]]]).mean())
