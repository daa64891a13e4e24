"""Acceptance of the pose of a bone: shape, position and inner structure have to agree (fault 49).

A bone of the wrong side, another person's bone or a flip by 180 degrees can be laid over the bone with a fair
Dice, above all where the field of view shows little of it; but its trabecular structure does not follow.
So the correlation of the inner structure, without the outline, is part of every assessment. How large it is
depends on the images: a right pose of a faint tibia has less of it than a femur that is 4 mm off. What counts
is that it stands out of what the same images have by chance, displaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.errors import InputError, RegistrationError
from srrd_ray.core.geometry import Geometry, Matrix4, transform_points
from srrd_ray.core.records import BoneTransform, RegistrationQuality
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.grids import inside, resample_to_working_grid
from srrd_ray.registration.rigid import RegistrationConfig, RigidResult
from srrd_ray.registration.surfaces import signed_distance_mm

Mask = NDArray[np.bool_]
FLOOR_MM = 2.0
DISPLACED_MM = 4.0
"""How far off the structure agrees by chance alone."""
LONGEST_REASON = 400
"""Characters of a stored reason."""
REFUSALS: Mapping[str, str] = {
    "metric-not-finite": "the metric of the alignment has no value",
    "synthetic-bone-not-found": "no bones were found in the synthetic CT of this MR",
    "synthetic-side-mismatch": "in the synthetic CT of this MR the fibula lies on the medial side",
    "synthetic-bones-refused": "what was found in the synthetic CT of this MR cannot be the bones of a knee",
    "mr-bones-refused": "what was found in the MR cannot be the bones of a knee",
    "mr-side-mismatch": "the bones that were found in the MR are those of the other side",
    "bone-missing": "the bone was not found in both the CT and the MR or its synthetic CT",
    "optimizer-failed": "the alignment stopped without a pose",
    "surface-not-seen": "no surface of the bone away from the edge of the image",
    "rotation-out-of-bounds": "the pose that fits best turns the bone further than a knee bends",
    "shift-out-of-bounds": "the pose that fits best moves the bone too far",
    "pose-ambiguous": "two poses fit almost equally well",
    "metric-not-improving": "the alignment made the agreement worse",
    "no-overlap": "too little of the bone is seen in both images",
    "no-surface": "no surface of the bone lies where both images see",
    "dice-low": "the bone has another shape in the two images",
    "surface-far": "the surfaces of the bone lie too far apart in the two images",
    "correlation-low": "the grey values of CT and synthetic CT do not agree",
    "structure-differs": "the inner structure differs, as for another side, bone or person",
}
"""What each code of a refused pose means, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How two images of a bone agree under a pose: share of the bone seen by both, Dice and mean surface
    distance (mm) in the common field of view, correlation in bone and surround,
    correlation of the inner structure of the bone.
    """

    overlap: float
    dice: float
    surface_mm: float
    correlation: float
    texture: float


def assess(
    fixed: Volume[Scalar],
    moving: Volume[np.float32],
    masks: tuple[Mask, Mask],
    result: RigidResult,
    config: RegistrationConfig,
) -> RegistrationQuality:
    """Return the quality of a pose, with the reason where it is refused.

    Parameters
    ----------
    fixed, moving
        CT and synthetic CT, Hounsfield units.
    masks
        The bone on the grid of each.
    result
        The pose, CT to synthetic CT, and how the metric went.
    """
    if not np.isfinite([*result.trace, result.initial]).all():
        return RegistrationQuality(
            accepted=False, reason="metric-not-finite", dice=0.0, surface_mm=0.0, correlation=0.0
        )
    pair = _Pair.of(fixed, moving, masks[0], config.surface_mm)
    agreement = _agreement(pair, masks[1], result.matrix, config)
    reason = _pose_refusal(fixed, masks[0], result, config) or _agreement_refusal(agreement, config)
    if not reason and agreement.texture < config.sure_texture:
        reason = _chance_refusal(agreement.texture, _chance(pair, result.matrix), config)
    return RegistrationQuality(
        accepted=not reason,
        reason=reason,
        dice=agreement.dice,
        # as for every bone without a surface in both images
        surface_mm=agreement.surface_mm if np.isfinite(agreement.surface_mm) else 0.0,
        correlation=agreement.correlation,
    )


def refusal_error(transform: BoneTransform) -> RegistrationError:
    """Return the error that says why a bone has no pose, and what to do about it.

    The reason of a refused pose is ``code`` or ``code: figures``.
    """
    code, _, figures = transform.quality.reason.partition(": ")
    return RegistrationError(
        code, REFUSALS[code], where=f"{transform.knee.key} {transform.bone}", got=figures,
        todo="Look at CT, MR and synthetic CT of this knee; masks of the bones given with the cohort help.",
    )  # fmt: skip


def refuse(reason: str) -> RegistrationQuality:
    """Return the quality of a bone without a pose."""
    return RegistrationQuality(accepted=False, reason=reason, dice=0.0, surface_mm=0.0, correlation=0.0)


def refuse_bones(image: Literal["synthetic", "mr"], error: InputError) -> RegistrationQuality:
    """Return the quality of all bones where none could be found in the MR or its synthetic CT."""
    code = f"{image}-{error.code}"
    told = shorten(f"{image}-bones-refused: {error.code}, {error.got}", LONGEST_REASON, placeholder=" …")
    return refuse(code if code in REFUSALS else told)


def measure_agreement(
    fixed: Volume[Scalar],
    moving: Volume[np.float32],
    masks: tuple[Mask, Mask],
    matrix: Matrix4,
    config: RegistrationConfig,
) -> Agreement:
    """Return how the two images of the bone agree under the pose `matrix`,
    on an isotropic grid of the fixed image.
    """
    return _agreement(_Pair.of(fixed, moving, masks[0], config.surface_mm), masks[1], matrix, config)


def _agreement(pair: _Pair, moving_mask: Mask, matrix: Matrix4, config: RegistrationConfig) -> Agreement:
    grid, bone, pose = pair.grid, pair.bone, np.array(matrix)
    there = Volume(array=moving_mask.astype(np.float32), geometry=pair.fields[1])
    moved = there.resample_onto(grid, pose)
    other, common = moved.array > 0.5, pair.seen_by_both(pose)
    around = common & (pair.outside_mm <= config.surround_mm)
    return Agreement(
        overlap=float((common & bone).sum() / max(int(bone.sum()), 1)),
        dice=_dice(bone & common, other & common),
        surface_mm=_surface_mm(bone, other, common, config.surface_mm),
        correlation=_correlation(pair.still, pair.moved(pose), around),
        texture=pair.structure(pose),
    )


def structure_confirms(
    fixed: Volume[Scalar], moving: Volume[np.float32], bone: Mask, matrix: Matrix4, config: RegistrationConfig
) -> bool:
    """Return whether the inner structure of a bone is reason enough to accept a pose."""
    pair = _Pair.of(fixed, moving, bone, config.surface_mm)
    texture = pair.structure(np.array(matrix))
    if texture >= config.sure_texture:
        return True
    return texture >= config.minimum_texture and not _chance_refusal(texture, _chance(pair, matrix), config)


def structure_by_chance(
    fixed: Volume[Scalar], moving: Volume[np.float32], bone: Mask, matrix: Matrix4, config: RegistrationConfig
) -> float:
    """Return the correlation of the inner structure (root mean square) of twelve poses 4 mm off `matrix`."""
    return _chance(_Pair.of(fixed, moving, bone, config.surface_mm), matrix)


def _chance(pair: _Pair, matrix: Matrix4) -> float:
    found = [pair.structure(_displaced(np.array(matrix), step)) for step in _steps()]
    return float(np.sqrt(np.mean(np.square(found))))


def _steps() -> NDArray[np.float64]:
    """Return twelve displacements of one length in mm: along the axes, and between two of them."""
    axes = [*np.eye(3), *-np.eye(3)]
    between = [(1, 1, 0), (-1, 1, 0), (1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1)]
    return DISPLACED_MM * np.concatenate([axes, np.array(between) / np.sqrt(2.0)])


def _displaced(pose: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = pose.copy()
    moved[:3, 3] += step
    return moved


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Pair:
    """A bone and the fixed image on an isotropic grid, and the moving image on one of its own.

    `fields` are the fields of view of both images, `outside_mm` is the distance to the bone's surface,
    negative in it, `still_structure` the inner structure of the fixed image.
    """

    fields: tuple[Geometry, Geometry]
    moving: Volume[np.float32]
    grid: Geometry
    bone: Mask
    outside_mm: NDArray[np.float32]
    still: NDArray[np.float32]
    still_structure: NDArray[np.float32]

    @classmethod
    def of(cls, fixed: Volume[Scalar], moving: Volume[np.float32], bone: Mask, spacing: float) -> _Pair:
        """Return the images as they are compared."""
        soft = resample_to_working_grid(Volume(array=bone, geometry=fixed.geometry), spacing, 0.3)
        mask: Mask = soft.array > 0.5
        still = resample_to_working_grid(fixed, spacing, 0.7).array
        return cls(
            fields=(fixed.geometry, moving.geometry),
            moving=resample_to_working_grid(moving, spacing, 0.7),
            grid=soft.geometry,
            bone=mask,
            outside_mm=signed_distance_mm(mask, spacing),
            still=still,
            still_structure=_structure(still, mask),
        )

    def moved(self, pose: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the moving image on the grid."""
        return self.moving.resample_onto(self.grid, pose).array

    def seen_by_both(self, pose: NDArray[np.float64]) -> Mask:
        """Return where both images show something."""
        fixed, moving = self.fields
        return inside(self.grid, fixed) & inside(self.grid, moving, pose)

    def structure(self, pose: NDArray[np.float64]) -> float:
        """Return the correlation of the inner structure of the bone."""
        common = self.seen_by_both(pose)
        within = common & (self.outside_mm <= -FLOOR_MM) & ndimage.binary_erosion(common, iterations=2)
        return _correlation(self.still_structure, _structure(self.moved(pose), self.bone), within)


def _dice(first: Mask, second: Mask) -> float:
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 0.0


def _surface_mm(first: Mask, second: Mask, common: Mask, spacing: float) -> float:
    """Return the mean distance between two surfaces, both ways, in the common field of view."""
    common = ndimage.binary_erosion(common, iterations=3)
    if not (first & common).any() or not (second & common).any():
        return float("inf")
    near, far = signed_distance_mm(first, spacing), signed_distance_mm(second, spacing)
    there = np.abs(far[(np.abs(near) < 0.75 * spacing) & common])
    back = np.abs(near[(np.abs(far) < 0.75 * spacing) & common])
    both = np.concatenate([there, back])
    return float(both.mean()) if both.size else float("inf")


def _structure(image: NDArray[np.float32], bone: Mask) -> NDArray[np.float32]:
    """Return the image less its local mean within the bone (normalised convolution, 3 voxels)."""
    weight: NDArray[np.float32] = ndimage.gaussian_filter(bone.astype(np.float32), 3.0)
    mean: NDArray[np.float32] = ndimage.gaussian_filter(np.where(bone, image, 0.0).astype(np.float32), 3.0)
    return np.where(bone, image - mean / np.maximum(weight, 1e-3), 0.0).astype(np.float32)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32], where: Mask) -> float:
    if where.sum() < 100:
        return 0.0
    a, b = first[where].astype(np.float64), second[where].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 and np.isfinite(norm) else 0.0


def _pose_refusal(fixed: Volume[Scalar], mask: Mask, result: RigidResult, config: RegistrationConfig) -> str:
    """Return why the pose itself is out of bounds or no better than another, or nothing."""
    matrix = np.array(result.matrix)
    degrees = np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())
    centre = fixed.geometry.index_to_lps(np.argwhere(mask).mean(axis=0))
    shift = float(np.linalg.norm(transform_points(matrix, centre) - centre))
    if degrees > config.bound_deg:
        return f"rotation-out-of-bounds: {degrees:.0f} deg"
    if shift > config.bound_mm:
        return f"shift-out-of-bounds: {shift:.0f} mm"
    if result.rival > config.maximum_rival:
        return (
            f"pose-ambiguous: another has {result.rival:.2f} of its information, at most "
            f"{config.maximum_rival:.2f}"
        )
    if result.trace[-1] > result.initial + 0.02 * abs(result.initial):
        return f"metric-not-improving: {result.initial:.3f} to {result.trace[-1]:.3f}"
    return ""


def _agreement_refusal(agreement: Agreement, config: RegistrationConfig) -> str:
    """Return the first measure of agreement that is too poor, or nothing."""
    if agreement.overlap < config.minimum_overlap:
        return f"no-overlap: {agreement.overlap:.2f} of the bone seen, at least {config.minimum_overlap:.2f}"
    if not np.isfinite(agreement.surface_mm):
        return "no-surface"
    if agreement.dice < config.minimum_dice:
        return f"dice-low: {agreement.dice:.2f}, at least {config.minimum_dice:.2f}"
    if agreement.surface_mm > config.maximum_surface_mm:
        return f"surface-far: {agreement.surface_mm:.2f} mm, at most {config.maximum_surface_mm:.2f}"
    if agreement.correlation < config.minimum_correlation:
        return f"correlation-low: {agreement.correlation:.2f}, at least {config.minimum_correlation:.2f}"
    if agreement.texture < config.minimum_texture:
        return f"structure-differs: {agreement.texture:.2f}, at least {config.minimum_texture:.2f}"
    return ""


def _chance_refusal(texture: float, chance: float, config: RegistrationConfig) -> str:
    """Return that the structure agrees no better than the same images displaced, or nothing."""
    if texture < config.minimum_standing_out * chance:
        return (
            f"structure-differs: {texture:.2f}, {chance:.2f} when displaced, at least "
            f"{config.minimum_standing_out:.1f} times that"
        )
    return ""
