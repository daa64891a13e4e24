"""The rigid pose of one bone: by its surfaces from many starts,
then by grey values inside the bone and just around it.

Femur and tibia are registered separately, each on its own mask, after the paper (separate masked rigid
stages); CT and synthetic CT share their grey values, so that correlation is the metric. It brings the pose
near, but what the synthesis gets wrong draws its best pose up to 5 mm away. Where the MR is given, Mattes
mutual information with the MR itself decides between the poses and finishes. SimpleITK, one thread, every
voxel of the mask: the same input gives the same matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.errors import RegistrationError
from srrd_ray.core.geometry import Matrix4, Points, matrix4, transform_points
from srrd_ray.core.settings import (
    Correlation,
    Count,
    Degrees,
    NonNegative,
    NotEmpty,
    Positive,
    Share,
    validate_fields,
)
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.registration.grids import resample_to_working_grid
from srrd_ray.registration.surfaces import Surface, align_surfaces, extract_surface

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrationConfig:
    """How bones are found, aligned and assessed."""

    bones: BoneConfig = field(default_factory=BoneConfig)
    """How femur and tibia are found."""
    moving_bones: Literal["auto", "synthetic-ct", "mr"] = "auto"
    """Where the bones of the MR's side are found: in the MR itself by the network, or in its synthetic CT.
    Auto is the MR where it shows the joint as a whole (`bones.whole_mm`) and what the network finds can be
    bones."""
    flexions_deg: Annotated[tuple[Degrees, ...], NotEmpty()] = (-30.0, -15.0, 0.0, 15.0, 30.0)
    """Starts: rotations about the medio-lateral axis, degrees."""
    twists_deg: Annotated[tuple[Degrees, ...], NotEmpty()] = (-12.0, 0.0, 12.0)
    """Starts: rotations about the long axis, degrees."""
    candidates: Count = 2
    """Best distinct surface fits that go on to grey values."""
    surface_mm: Positive = 1.0
    """Grid of the surfaces, mm."""
    surround_mm: NonNegative = 2.0
    """Soft tissue around the bone that takes part, mm."""
    levels_mm: Annotated[tuple[Positive, ...], NotEmpty()] = (2.0, 1.0)
    """Grids of the grey values, coarse to fine, mm."""
    refine_on_mr: bool = True
    """Decide and finish on the MR itself by mutual information after the synthetic CT."""
    search_mm: Positive = 1.4
    """Grid on which the information decides between the poses, mm."""
    refine_mm: Positive = 0.7
    """Grid on which it finishes, mm."""
    same_mm: Positive = 2.0
    """Poses that nowhere in the bone lie farther apart are the same, mm."""
    sure_texture: Correlation = 0.4
    """Correlation of the inner structure that confirms a pose, whatever there is by chance."""
    around_mm: NonNegative = 4.0
    """How far starts around a pose in doubt are shifted along each axis, mm."""
    around_deg: Degrees = 8.0
    """How far those starts are turned about each axis, degrees."""
    maximum_rival: Share = 0.9
    """Share of the information that another pose may have; above, the pose is ambiguous."""
    iterations: Count = 60
    """Most iterations a level."""
    bound_deg: Degrees = 50.0
    """Rotation beyond which a pose is refused, degrees."""
    bound_mm: Positive = 80.0
    """Shift of the bone's centre beyond which a pose is refused, mm."""
    minimum_overlap: Share = 0.5
    """Share of the bone in the CT that the MR has to see."""
    minimum_dice: Share = 0.8
    """Dice of the bone within the common field of view."""
    maximum_surface_mm: Positive = 2.5
    """Mean distance of the bone surfaces, mm."""
    minimum_correlation: Correlation = 0.25
    """Correlation of grey values inside bone and surround."""
    minimum_texture: Correlation = 0.12
    """Correlation of the inner structure of the bone: what tells this bone from another one."""
    minimum_standing_out: NonNegative = 2.2
    """Times that of poses 4 mm off it has to be below `sure_texture`; else starts around are tried too."""

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class RigidResult:
    """A pose (fixed LPS mm -> moving LPS mm), the metric after each iteration of the last level (falling is
    better) and before it; `rival` is the share of the information that another pose has (0 without any).
    """

    matrix: Matrix4
    trace: tuple[float, ...]
    initial: float
    rival: float = 0.0


def register_bone(
    fixed: Volume[Scalar],
    moving: Volume[np.float32],
    fixed_mask: Mask,
    moving_mask: Mask,
    config: RegistrationConfig | None = None,
    *,
    mr: Volume[np.float32] | None = None,
) -> RigidResult:
    """Return the pose of one bone from CT (`fixed`) to synthetic CT (`moving`),
    and to the MR that it was made from.

    Parameters
    ----------
    fixed, moving
        Hounsfield units.
    fixed_mask, moving_mask
        The bone on the grid of each image.
    mr
        The MR over its local marrow level; without it the synthetic CT alone decides.

    Raises
    ------
    RegistrationError
        `surface-not-seen` where one image shows no surface of the bone away from its edges.
    """
    config = config or RegistrationConfig()
    starts = fit_surfaces(fixed, moving, fixed_mask, moving_mask, config)
    coarse = refine_all(fixed, moving, fixed_mask, starts, config, spacing_mm=config.levels_mm[0])
    if mr is not None:
        return choose_by_information(
            fixed, mr, fixed_mask, [*(end.matrix for end in coarse), starts[0]], config
        )
    best = min(coarse, key=lambda result: result.trace[-1])
    for level in config.levels_mm[1:]:
        best = refine(fixed, moving, fixed_mask, best.matrix, level, config=config)
    return best


def choose_by_information(
    fixed: Volume[Scalar],
    mr: Volume[np.float32],
    mask: Mask,
    starts: Sequence[Matrix4],
    config: RegistrationConfig,
) -> RigidResult:
    """Return the pose of most information with the MR among those reached from `starts`,
    and the best rival's share of it.
    """
    points = fixed.geometry.index_to_lps(np.argwhere(mask)[::1000])
    distinct = drop_duplicate_poses(starts, points, config.same_mm / 2)
    ends = refine_all(fixed, mr, mask, distinct, config, spacing_mm=config.search_mm, metric="information")
    best, *others = sorted(ends, key=lambda end: end.trace[-1])
    rival = next(
        (end for end in others if pose_difference_mm(end.matrix, best.matrix, points) > config.same_mm), None
    )
    if rival is not None:  # it may have been stopped on its way to the same pose, or to a better one
        rival = refine(fixed, mr, mask, rival.matrix, config.search_mm, config=config, metric="information")
        best, rival = sorted((best, rival), key=lambda end: end.trace[-1])
    final = refine(fixed, mr, mask, best.matrix, config.refine_mm, config=config, metric="information")
    if (
        rival is None
        or pose_difference_mm(rival.matrix, best.matrix, points) <= config.same_mm
        or best.trace[-1] >= 0
    ):
        return final
    return replace(final, rival=max(rival.trace[-1] / best.trace[-1], 0.0))


def drop_duplicate_poses(poses: Sequence[Matrix4], points: Points, same_mm: float) -> list[Matrix4]:
    """Return the poses, in order, without those that lie within `same_mm`
    of an earlier one everywhere in `points`.
    """
    kept: list[Matrix4] = []
    for pose in poses:
        if all(pose_difference_mm(pose, other, points) > same_mm for other in kept):
            kept.append(pose)
    return kept


def pose_difference_mm(first: Matrix4, second: Matrix4, points: Points) -> float:
    """Return the largest distance between the images of a point under two poses, mm."""
    return float(
        np.linalg.norm(transform_points(first, points) - transform_points(second, points), axis=1).max()
    )


def fit_surfaces(
    fixed: Volume[Scalar],
    moving: Volume[np.float32],
    fixed_mask: Mask,
    moving_mask: Mask,
    config: RegistrationConfig,
) -> list[Matrix4]:
    """Return the best distinct surface fits over all starts, the lowest cost first."""
    there = _surface(Volume(array=fixed_mask, geometry=fixed.geometry), config)
    here = _surface(Volume(array=moving_mask, geometry=moving.geometry), config)
    fits = [align_surfaces(there, here, start) for start in _starts(there, here, config)]
    ranked = [matrix4(matrix) for matrix, _ in sorted(fits, key=lambda fit: fit[1])]
    return drop_duplicate_poses(ranked, there.points, config.same_mm)[: config.candidates]


def _surface(mask: Volume[np.bool_], config: RegistrationConfig) -> Surface:
    soft = resample_to_working_grid(mask, config.surface_mm, 0.4 * config.surface_mm)
    surface = extract_surface(Volume(array=soft.array > 0.5, geometry=soft.geometry), mask.geometry)
    if len(surface.points) < 50:
        raise RegistrationError(
            "surface-not-seen",
            "no surface of the bone away from the edge of the image",
            got=f"{len(surface.points)} points",
            expected="at least 50",
        )
    return surface


def _starts(fixed: Surface, moving: Surface, config: RegistrationConfig) -> list[Vector]:
    starts = []
    for flexion in config.flexions_deg:
        for twist in config.twists_deg:
            turn = np.eye(4)
            turn[:3, :3] = Rotation.from_euler("xz", [flexion, twist], degrees=True).as_matrix()
            turn[:3, 3] = moving.centroid - turn[:3, :3] @ fixed.centroid
            starts.append(turn)
    return starts


def refine(
    fixed: Volume[Scalar],
    moving: Volume[Scalar],
    fixed_mask: Mask,
    start: Matrix4,
    spacing_mm: float,
    *,
    config: RegistrationConfig,
    metric: str = "correlation",
) -> RigidResult:
    """Return the pose nearest `start` that the grey values agree on, on a grid of `spacing_mm`.

    `metric` is ``correlation`` (CT with synthetic CT) or ``information`` (CT with MR).
    Only voxels of the bone and its surround take part, `surround_mm` wide.
    """
    return refine_all(fixed, moving, fixed_mask, [start], config, spacing_mm=spacing_mm, metric=metric)[0]


def refine_all(
    fixed: Volume[Scalar],
    moving: Volume[Scalar],
    fixed_mask: Mask,
    starts: Sequence[Matrix4],
    config: RegistrationConfig,
    *,
    spacing_mm: float,
    metric: str = "correlation",
) -> list[RigidResult]:
    """Return `refine` of each of `starts`; the images are resampled once."""
    still, region = _fixed_side(fixed, fixed_mask, spacing_mm, config.surround_mm)
    other = _image(resample_to_working_grid(moving, spacing_mm, 0.45 * spacing_mm))
    with _single_threaded():
        return [
            _descend(
                (still, other), _pose(start, region), _method(region, metric, config.iterations, spacing_mm)
            )
            for start in starts
        ]


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Limit ITK to one thread: Mattes information ignores the method's setting,
    and its sums then vary in order.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _descend(
    images: tuple[sitk.Image, sitk.Image],
    pose: sitk.VersorRigid3DTransform,
    method: sitk.ImageRegistrationMethod,
) -> RigidResult:
    method.SetInitialTransform(pose, inPlace=True)
    initial = float(method.MetricEvaluate(*images))
    trace: list[float] = []
    path: list[tuple[float, ...]] = [pose.GetParameters()]

    def note() -> None:
        trace.append(float(method.GetMetricValue()))
        path.append(method.GetOptimizerPosition())

    method.AddCommand(sitk.sitkIterationEvent, note)
    method.Execute(*images)
    return _best_on_path(method, images, pose, path, (initial, *trace))


def _best_on_path(
    method: sitk.ImageRegistrationMethod,
    images: tuple[sitk.Image, sitk.Image],
    pose: sitk.VersorRigid3DTransform,
    path: list[tuple[float, ...]],
    values: tuple[float, ...],
) -> RigidResult:
    """Return the end of the optimizer's path, or its best pose where the end is worse than the start."""
    method.SetInitialTransform(pose, inPlace=True)
    final = float(method.MetricEvaluate(*images))
    best = min(range(len(values)), key=lambda n: values[n])
    if not final <= values[0] and best < len(path):
        pose.SetParameters(path[best])
        final = float(method.MetricEvaluate(*images))
    return RigidResult(matrix=_matrix(pose), trace=(*values[1:], final), initial=values[0])


def _fixed_side(
    fixed: Volume[Scalar], mask: Mask, spacing_mm: float, surround_mm: float
) -> tuple[sitk.Image, sitk.Image]:
    """Return the fixed image around the bone, and the mask of bone and surround on the same grid."""
    soft = resample_to_working_grid(Volume(array=mask, geometry=fixed.geometry), spacing_mm, 0.3)
    region: Mask = ndimage.distance_transform_edt(soft.array <= 0.5) * spacing_mm <= surround_mm
    image = resample_to_working_grid(fixed, spacing_mm, 0.45 * spacing_mm)
    box = ndimage.find_objects(region.astype(np.int32))[0]
    start = (box[0].start, box[1].start, box[2].start)
    z, y, x = (s.stop - s.start for s in box)
    near = Volume(array=region, geometry=soft.geometry).crop(start, (z, y, x))
    return _image(image.crop(start, (z, y, x))), _image(near)


def _image(volume: Volume[Scalar]) -> sitk.Image:
    """Return the volume as a SimpleITK image; its grid lies along LPS."""
    kind = np.uint8 if volume.array.dtype == np.bool_ else np.float32
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array, dtype=kind))
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(tuple(float(v) for v in volume.geometry.affine[:3, 3]))
    return image


def _method(
    region: sitk.Image, metric: str, iterations: int, spacing_mm: float
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    match metric:
        case "information":
            method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
        case _:
            method.SetMetricAsCorrelation()
    # ITK's default smooths the gradient but not the metric: it then walks past trabecular bone by up to 1 mm
    method.MetricUseMovingImageGradientFilterOff()
    method.MetricUseFixedImageGradientFilterOff()
    method.SetMetricFixedMask(region)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=0.7 * spacing_mm, minStep=0.003, numberOfIterations=iterations, relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-8,
    )  # fmt: skip
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _pose(start: Matrix4, region: sitk.Image) -> sitk.VersorRigid3DTransform:
    matrix = np.array(start)
    size = np.array(region.GetSize(), dtype=np.float64)
    centre = np.array(region.TransformContinuousIndexToPhysicalPoint(tuple((size - 1) / 2)))
    pose = sitk.VersorRigid3DTransform()
    pose.SetCenter(tuple(centre))
    pose.SetMatrix(tuple(_orthonormal(matrix[:3, :3]).ravel()), 1e-6)
    pose.SetTranslation(tuple(transform_points(matrix, centre) - centre))
    return pose


def _orthonormal(turn: Vector) -> Vector:
    rotation: Vector = Rotation.from_matrix(turn).as_matrix()
    return rotation


def _matrix(pose: sitk.VersorRigid3DTransform) -> Matrix4:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(pose.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = pose.TransformPoint((0.0, 0.0, 0.0))
    return matrix4(matrix)
