"""Whether an image shows a knee in the stated modality, judged by its voxels alone.

In CT a knee has one level where bone is as wide as condyles or a plateau; shafts and hands have none, and a
trunk has more body around it than a leg. An MR has no absolute unit that identifies bone:
only its header, extent and the sign of its values are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.source import Note, ReadRules

Image: TypeAlias = "Volume[np.int16] | Volume[np.float32]"
Grid: TypeAlias = tuple[NDArray[np.float32], tuple[float, float]]

COARSE_MM, PLANE_MM = 2.0, 4.0
"""Edge of a pixel, and distance of the planes that are looked at."""
BONE_HU, TISSUE_HU = 150.0, -300.0
ACROSS_MM, ALONG_MM = 80.0, 30.0
"""Least field of view that shows condyles or plateau whole; a smaller one is not checked."""
LEAST_BONE_CM2, MOST_BONE_CM2 = 12.0, 90.0
"""Widest section of bone: shafts stay below, a skull or a pelvis is above."""
MOST_BODY_CM2 = 450.0
"""A leg 75 cm around."""
MOST_BONES = 4
PART_CM2 = 0.5
METAL_HU, METAL_CM3 = 2800.0, 0.05
"""Above every cortex; a screw has some tenths of a cm³."""
NO_OUTLINE, OUTLINE_MM = 0.97, 150.0
AIR_LIKE, AIR_SHARE = -500.0, 0.01
"""Values that only air in Hounsfield units has, and the least share of them that a CT with air shows."""
AIR_HU_RANGE, FAT_HU_RANGE = (-1100.0, -880.0), (-150.0, -50.0)
"""Where the median of air and the peak of fat lie in any CT that is in Hounsfield units."""
FAT_TO_MUSCLE_HU, LEAST_MUSCLE_HU = (90.0, 200.0), 20.0
"""Distance of the peaks of fat and muscle: two that are as far apart are taken for them, unless the lower
one may be muscle.
"""
SOFT_HU, BIN_HU, LEAST_PEAK, SOFT_SHARE = 300.0, 10.0, 0.2, 0.1
"""Soft tissue lies within so much of water; bins of its histogram; least height of a peak over the highest;
least share of the image that it has to be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sections:
    """What the planes across the leg show: widest section of one bone, bones in the median plane,
    body at the widest bone.
    """

    bone_cm2: float
    bones: int
    body_cm2: float
    body_share: float
    across_mm: float

    def __str__(self) -> str:
        return (
            f"widest section of bone {self.bone_cm2:.0f} cm2, {self.bones} bones in the median plane, "
            f"body {self.body_cm2:.0f} cm2"
        )


def check_anatomy(image: Image, modality: Modality, where: str, rules: ReadRules) -> tuple[Note, ...]:
    """Return a FLAG `ct-metal` where a CT shows metal, and what `check_knee` doubts of it; of an MR
    `knee-doubtful` where it may be none.

    A field of view too small to show condyles or plateau whole is not checked.

    Raises
    ------
    InputError
        `wrong-modality` or, for a CT, `not-a-knee`, where the rules refuse that.
    """
    metal = _flag_metal(image) if modality == "ct" else ()
    if not _is_wide_enough(image):
        return metal
    wrong = _other_modality(image, modality, where)
    if wrong is not None and rules.not_a_knee == "refuse":
        raise wrong
    if modality == "ct" and wrong is None:
        return metal + check_knee(image, where, rules)
    return () if wrong is None else (Note(severity="FLAG", code="knee-doubtful", message=wrong.what),)


def _flag_metal(ct: Image) -> tuple[Note, ...]:
    if ct.array.max() < METAL_HU:
        return ()
    cm3 = float(np.count_nonzero(ct.array >= METAL_HU)) * ct.geometry.voxel_mm3 / 1000.0
    if cm3 < METAL_CM3:
        return ()
    text = f"{cm3:.2f} cm3 at {METAL_HU:g} HU or more: metal, whose streaks spoil measures nearby"
    return (Note(severity="FLAG", code="ct-metal", message=text),)


def _other_modality(image: Image, modality: Modality, where: str) -> InputError | None:
    """Return the refusal of a CT without one value below 0,
    and of an MR with much that is as dark as air in a CT.
    """
    if modality == "ct" and image.array.min() >= 0:
        return InputError(
            "wrong-modality", "no value is below 0, so these are no Hounsfield units", where=where,
            got=f"values from {float(image.array.min()):g} to {float(image.array.max()):g}",
            expected="fat and air below 0",
            todo="Give the CT of this knee, converted with RescaleSlope and RescaleIntercept.",
        )  # fmt: skip
    dark = float((image.array[::4, ::4, ::4] <= AIR_LIKE).mean()) if modality == "mr" else 0.0
    if dark <= AIR_SHARE:
        return None
    return InputError(
        "wrong-modality", "values far below 0, as of air in a CT", where=where,
        got=f"{100 * dark:.0f} % of the voxels at {AIR_LIKE:g} or less", expected="magnitudes of an MR",
        todo="Give the MR of this knee; a CT belongs into the folder ct.",
    )  # fmt: skip


def check_knee(ct: Image, where: str, rules: ReadRules) -> tuple[Note, ...]:
    """Return a FLAG `knee-doubtful` where a CT may show something else than one knee, and `ct-scale` where
    air or fat have values that they do not have in Hounsfield units.

    Raises
    ------
    InputError
        `not-a-knee` where no bone is as wide as a knee, or the body around it is wider than a leg,
        and the rules refuse that.
    """
    grid = _coarsen(ct)
    sections, off_scale = _sections(grid), _flag_scale(grid[0])
    wrong = _refusal_reasons(sections)
    if wrong and rules.not_a_knee == "refuse":
        raise _refusal(wrong[0], sections, where)
    doubts = [*wrong, *_doubt_reasons(sections)]
    if not doubts:
        return off_scale
    doubt = Note(severity="FLAG", code="knee-doubtful", message=f"{'; '.join(doubts)}: {sections}")
    return (doubt, *off_scale)


def _flag_scale(planes: NDArray[np.float32]) -> tuple[Note, ...]:
    """Return a FLAG where the levels of air or of fat are not those of a CT in Hounsfield units."""
    air, fat = planes[planes < TISSUE_HU], _find_fat(planes)
    found = [
        f"{tissue} at {level:.0f}, where it lies between {low:g} and {high:g} HU"
        for tissue, level, (low, high) in (
            ("air", float(np.median(air)) if air.size > AIR_SHARE * planes.size else None, AIR_HU_RANGE),
            ("fat", fat, FAT_HU_RANGE),
        )
        if level is not None and not low <= level <= high
    ]
    if not found:
        return ()
    text = f"{' and '.join(found)}: the scale of the values is doubtful, and bone is told by them"
    return (Note(severity="FLAG", code="ct-scale", message=text),)


def _find_fat(planes: NDArray[np.float32]) -> float | None:
    """Return the lower of two peaks as far apart as fat and muscle; null where there is no such pair."""
    soft = planes[np.abs(planes) < SOFT_HU]
    if soft.size < SOFT_SHARE * planes.size:
        return None
    counts, edges = np.histogram(soft, round(2 * SOFT_HU / BIN_HU), (-SOFT_HU, SOFT_HU))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 1.5)
    peaks, _ = signal.find_peaks(smooth, height=LEAST_PEAK * float(smooth.max()))
    highest = np.sort(peaks[np.argsort(smooth[peaks])[-2:]])
    levels = edges[highest] + BIN_HU / 2
    if levels.size < 2 or not FAT_TO_MUSCLE_HU[0] <= levels[1] - levels[0] <= FAT_TO_MUSCLE_HU[1]:
        return None
    return float(levels[0]) if levels[0] < LEAST_MUSCLE_HU else None  # else muscle and spongy bone


def _refusal_reasons(sections: Sections) -> list[str]:
    """Return why this cannot be a knee."""
    reasons = []
    if sections.bone_cm2 < LEAST_BONE_CM2:
        reasons.append("no bone in the image is as wide as a knee")
    if sections.body_cm2 > MOST_BODY_CM2:
        reasons.append("the image shows a trunk, not a leg")
    return reasons


def _doubt_reasons(sections: Sections) -> list[str]:
    """Return what few knees show, but also a cast, a phantom under the knee or a narrow field of view."""
    reasons = []
    if sections.bone_cm2 > MOST_BONE_CM2:
        reasons.append("bone wider than a knee (pelvis, skull or a cast)")
    if sections.bones > MOST_BONES:
        reasons.append("more bones than a knee has (hand, foot, chest or a phantom beside it)")
    if sections.body_share > NO_OUTLINE and sections.across_mm >= OUTLINE_MM:
        reasons.append("no outline of a leg")
    return reasons


def measure_sections(ct: Image) -> Sections:
    """Return what the planes across the leg of a CT in HU show."""
    return _sections(_coarsen(ct))


def _sections(grid: Grid) -> Sections:
    planes, pixel = grid
    cm2 = pixel[0] * pixel[1] / 100.0
    sections = [_bone_areas(plane > BONE_HU, cm2) for plane in planes]
    widest = [float(areas.max(initial=0.0)) for areas in sections]
    body = planes[int(np.argmax(widest))] > TISSUE_HU
    return Sections(
        bone_cm2=max(widest),
        bones=int(np.median([(areas >= PART_CM2).sum() for areas in sections])),
        body_cm2=float(_sizes(body, cm2).max(initial=0.0)),
        body_share=float(body.mean()),
        across_mm=min(n * mm for n, mm in zip(planes.shape[1:], pixel, strict=True)),
    )


def _axes(image: Image) -> tuple[int, int, int]:
    """Return the array axis nearest to LPS z, along which the leg lies, and the other two."""
    columns = image.geometry.affine[2, :3] / np.linalg.norm(image.geometry.affine[:3, :3], axis=0)
    along = 2 - int(np.argmax(np.abs(columns)))
    first, second = (axis for axis in range(3) if axis != along)
    return along, first, second


def _is_wide_enough(image: Image) -> bool:
    along, *across = (image.geometry.shape[a] * image.geometry.spacing_mm[a] for a in _axes(image))
    return min(across) >= ACROSS_MM and along >= ALONG_MM


def _coarsen(ct: Image) -> Grid:
    """Return planes across the leg of about 2 mm a pixel, and the pixel's edges;
    in-plane means take the noise off.
    """
    axes = _axes(ct)
    every, rows, cols = (
        max(int(mm / ct.geometry.spacing_mm[a]), 1)
        for a, mm in zip(axes, (PLANE_MM, COARSE_MM, COARSE_MM), strict=True)
    )
    kept = np.moveaxis(ct.array, axes[0], 0)[::every]
    n, y, x = kept.shape[0], kept.shape[1] // rows, kept.shape[2] // cols
    blocks = kept[:, : y * rows, : x * cols].reshape(n, y, rows, x, cols)
    coarse = np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32), dtype=np.float32)
    return coarse, (ct.geometry.spacing_mm[axes[1]] * rows, ct.geometry.spacing_mm[axes[2]] * cols)


def _bone_areas(bone: NDArray[np.bool_], cm2: float) -> NDArray[np.float64]:
    """Return the areas (cm²) of the bones in a plane, marrow included where
    the cortex closes but for a pixel or two.
    """
    closed = ndimage.binary_closing(np.pad(bone, 2, mode="edge"))[2:-2, 2:-2]
    return _sizes(ndimage.binary_fill_holes(closed), cm2)


def _sizes(mask: NDArray[np.bool_], cm2: float) -> NDArray[np.float64]:
    parts, _ = ndimage.label(mask)
    return np.asarray(np.bincount(parts.ravel())[1:] * cm2, dtype=np.float64)


def _refusal(what: str, sections: Sections, where: str) -> InputError:
    return InputError(
        "not-a-knee",
        what,
        where=where,
        got=str(sections),
        expected=(
            f"a bone of {LEAST_BONE_CM2:g} cm2 or more across the leg, and at most {MOST_BODY_CM2:g} cm2 of "
            f"body"
        ),
        todo="Check that this is the CT of this knee, in Hounsfield units; if it is, set not_a_knee to flag.",
    )
