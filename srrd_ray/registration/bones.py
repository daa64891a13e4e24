"""Femur and tibia in a CT (or synthetic CT) of a knee, also where the field of view cuts the bones.

Threshold, cores by distance from the surface, names by position, watershed back to the surface: after the
bone extraction of the paper (`Registration/`: HU threshold, opening, largest components), not its circles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from srrd_ray.core.bones import BONE_LABELS
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Side
from srrd_ray.core.settings import (
    Count,
    Folder,
    Hounsfield,
    NonNegative,
    NotEmpty,
    Positive,
    Share,
    validate_fields,
)
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.grids import resample_to_working_grid

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
FIBULA_MM = 25.0
SHEET_MM3 = 100.0
OTHER_MM3 = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BoneConfig:
    """How bones are found; all but the first three are of the rules."""

    by: Literal["auto", "rules", "network"] = "auto"
    """Who finds them. Auto: the network; these rules below `whole_mm`, or where its bones cannot be."""
    whole_mm: NonNegative = 60.0
    """Field of view along each axis that shows the joint as a whole, mm."""
    segmenter: Folder = ""
    """Folder of the network's weights, an absolute path; empty for those that the package ships."""
    threshold_hu: Hounsfield = 150.0
    """HU of the smoothed image above which it is bone: over cartilage (100), under sparse trabecular bone."""
    walls_hu: tuple[Hounsfield, ...] = (100.0, 120.0, 150.0, 180.0, 230.0)
    """HU that a wall of cortex may have in the smoothed image, each tried."""
    gaps: tuple[Count, ...] = (1, 2)
    """Half the gap in a wall that is overlooked, voxels of the working grid, each tried."""
    marrow_hu: Hounsfield = 70.0
    """Mean HU above which what a wall seals off is sparse trabecular bone: over muscle and fluid."""
    fatty_hu: Hounsfield = 0.0
    """Mean HU above which it is so where most of it lies between two walls, medial and lateral: over fat."""
    fatty_cm3: NonNegative = 8.0
    """Least size of such a part, cm³: over the pockets of a notch."""
    between: Share = 0.4
    """Least share of it between them, and largest share between walls above and below, as in a notch."""
    uneven_hu: NonNegative = 55.0
    """SD above which it is several tissues (fat, muscle, fluid), HU."""
    surface_hu: Hounsfield = 330.0
    """HU of the smoothed image at the outer surface of a cortex."""
    rim_mm: NonNegative = 1.5
    """How far the surface may lie inside the first threshold, mm."""
    sigma_mm: NonNegative = 0.7
    """Gaussian before the threshold, mm."""
    dip: Share = 0.75
    """A voxel darker than this share of what lies above and below it belongs to a joint space."""
    reach_mm: NonNegative = 4.0
    """How far above and below it is compared, mm: half the widest joint space that may look closed."""
    spacing_mm: Positive = 1.0
    """Working grid, mm."""
    core_depths_mm: Annotated[tuple[Positive, ...], NotEmpty()] = (1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)
    """Depths under the surface tried, in order, until the cores of femur and tibia are separate, mm."""
    gap_mm: NonNegative = 3.0
    """Half the widest gap of a thin cortex that is bridged within an axial slice, mm."""
    minimum_cm3: NonNegative = 2.0
    """Smallest femur or tibia inside the field of view, cm³."""

    def __post_init__(self) -> None:
        validate_fields(self)


def segment_ct_bones(ct: Volume[Scalar], side: Side, config: BoneConfig | None = None) -> Volume[np.uint8]:
    """Return labels on the grid of `ct`: femur 1, tibia 2, all else 0; fibula and patella are left out.

    Parameters
    ----------
    ct
        Hounsfield units; LPS axes within some 40 degrees of the anatomical ones.
    side
        Side of the knee; the fibula, where seen, has to be lateral.

    Raises
    ------
    InputError
        `bone-not-found` where no femur lies above a tibia;
        `side-mismatch` where the fibula lies on the medial side.
    """
    labels, seen = segment_knee(ct, config or BoneConfig())
    if seen - {side}:
        raise side_mismatch_error(side)
    return labels


def side_mismatch_error(side: Side) -> InputError:
    """Return what is raised where the fibula contradicts the side of a knee."""
    return InputError(
        "side-mismatch", "the fibula lies on the medial side",
        expected=f"a {'left' if side == 'L' else 'right'} knee",
        todo="Correct the side of this knee in knees.tsv, or the orientation of the image.",
    )  # fmt: skip


def segment_knee(ct: Volume[Scalar], config: BoneConfig) -> tuple[Volume[np.uint8], set[Side]]:
    """Return the labels of the bones as `segment_ct_bones` does, and the sides on which a fibula is seen.

    Raises
    ------
    InputError
        `bone-not-found`.
    """
    work = _around_bone(resample_to_working_grid(ct, config.spacing_mm, config.sigma_mm), config.threshold_hu)
    bone = _bone(work.array, config)
    open_bone = bone & ~_joint_space(work.array, config)
    depth = ndimage.distance_transform_edt(open_bone, sampling=config.spacing_mm).astype(np.float32)
    markers = _markers(bone, depth, config)
    height = -(depth + np.clip(work.array, 0.0, 1500.0) / 1000.0)
    basins: Labels = watershed(height, markers, mask=bone)
    cores = _without_fibula(basins == 2, depth, config)
    if cores is not None:
        lower: Labels = watershed(height, cores, mask=basins == 2)
        basins = np.where(basins == 2, lower, basins)
    others = basins * ~_thin_rim(bone, work.array, config)
    solid = [_fill_bone(others == label, others, label, config) for label in BONE_LABELS.values()]
    return _on_grid(solid, work, ct), _sides_of_fibula(basins, config)


def _around_bone(work: Volume[np.float32], threshold: float, margin: int = 8) -> Volume[np.float32]:
    """Return the box of what may be bone, `margin` voxels wider where the image goes on."""
    start, stop = [0, 0, 0], list(work.array.shape)
    for axis in range(3):
        hits = np.flatnonzero((work.array > threshold).any(axis=tuple(a for a in range(3) if a != axis)))
        if hits.size:
            start[axis] = max(int(hits[0]) - margin, 0)
            stop[axis] = min(int(hits[-1]) + 1 + margin, stop[axis])
    z, y, x = (b - a for a, b in zip(start, stop, strict=True))
    return work.crop((start[0], start[1], start[2]), (z, y, x))


def _bone(array: NDArray[np.float32], config: BoneConfig) -> Mask:
    bone: Mask = array > config.threshold_hu
    cm3 = float(bone.sum()) * config.spacing_mm**3 / 1000.0
    if not np.isfinite(array).all() or cm3 < 2.0 * config.minimum_cm3:
        raise _not_found_error(f"{cm3:.1f} cm3 above {config.threshold_hu:.0f} HU")
    return bone | _marrow(bone, config.gap_mm / config.spacing_mm) | _sealed_marrow(array, config)


def _marrow(bone: Mask, radius: float) -> Mask:
    """Return the interiors of axial slices of `bone` whose outlines are
    closed but for gaps of twice `radius` voxels.

    Only axial planes are closed: the joint space lies along them and stays open.
    """
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (y**2 + x**2 <= radius**2)[None]
    pad = ((0, 0), (reach, reach), (reach, reach))
    closed = ndimage.binary_closing(np.pad(bone, pad, mode="edge"), disk)[:, reach:-reach, reach:-reach]
    holes = _fill_slices(closed, axes=(0,)) & ~closed
    inner: Mask = closed & ndimage.binary_dilation(holes, disk) | holes
    return inner


def _sealed_marrow(array: NDArray[np.float32], config: BoneConfig) -> Mask:
    """Return sparse interiors, also where the edge of the image lays them open:
    what a wall of cortex seals off.

    What is darker than a wall falls apart where the wall leaves no gap too wide. A part that is even is
    trabecular bone where it is brighter than soft tissue, or where the cortex of one bone lies on both sides
    of it; soft tissue is one large part of fat, muscle and fluid.
    No one height of the wall serves dense and sparse bone alike.
    """
    inner = np.zeros(array.shape, dtype=np.bool_)
    for wall in config.walls_hu:
        low = array < wall
        lateral, stacked = _between_walls(low, axis=2), _between_walls(low, axis=0)
        for gap in config.gaps:
            parts, count = ndimage.label(ndimage.binary_erosion(low, border_value=1, iterations=gap))
            if count == 0:
                continue
            index = np.arange(1, count + 1)
            mean, sd = (
                np.asarray(of(array, parts, index)) for of in (ndimage.mean, ndimage.standard_deviation)
            )
            within, under = (np.asarray(ndimage.mean(mask, parts, index)) for mask in (lateral, stacked))
            cm3 = np.bincount(parts.ravel(), minlength=count + 1)[1:] * config.spacing_mm**3 / 1000.0
            fatty = (mean > config.fatty_hu) & (cm3 > config.fatty_cm3)
            fatty &= (within > config.between) & (under < config.between)
            kept = ((mean > config.marrow_hu) | fatty) & (sd < config.uneven_hu)
            inner |= ndimage.binary_dilation(np.concatenate([[False], kept])[parts], iterations=gap) & low
    return inner


def _between_walls(low: Mask, axis: int) -> Mask:
    """Return the voxels that have a wall, what is not `low`, on both sides along an axis."""
    ahead = np.maximum.accumulate(~low, axis=axis)
    behind = np.flip(np.maximum.accumulate(np.flip(~low, axis), axis=axis), axis)
    both: Mask = ahead & behind
    return both


def _joint_space(array: NDArray[np.float32], config: BoneConfig) -> Mask:
    """Return the voxels between two bright plates, one above and one below:
    a joint space too narrow to be dark.
    """
    reach = max(round(config.reach_mm / config.spacing_mm), 1)
    both = [
        ndimage.maximum_filter1d(
            array, 2 * (reach // 2) + 1, axis=0, origin=sign * (reach // 2), mode="nearest"
        )
        for sign in (1, -1)
    ]
    dark: Mask = array < config.dip * np.minimum(*both)
    dark &= np.minimum(*both) > 2.0 * config.threshold_hu
    parts, count = ndimage.label(dark)
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * config.spacing_mm**3
    sizes[0] = 0.0
    space: Mask = sizes[parts] >= SHEET_MM3
    return space


def _markers(bone: Mask, depth: NDArray[np.float32], config: BoneConfig) -> Labels:
    """Return the cores: femur 1, tibia 2, others 3; tries deeper cores until femur and tibia separate."""
    for least in config.core_depths_mm:
        named = _name_cores(depth >= least, bone, config.spacing_mm)
        if named is not None:
            return named
    raise _not_found_error("no separation at any depth")


def _without_fibula(tibia: Mask, depth: NDArray[np.float32], config: BoneConfig) -> Labels | None:
    """Return cores of tibia (2) and of a fibula that clings to it (3); None where there is none.

    At some depth under the surface a fibula parts from the tibia: its shaft early, its head late. Only a long
    part is taken for a fibula: in a small field of view its head cannot be separated from a corner of the
    tibia, and stays with it.
    """
    cores = np.zeros(tibia.shape, dtype=np.int32)
    for least in config.core_depths_mm[:-1]:
        parts, count = ndimage.label(tibia & (depth >= least))
        counts = np.bincount(parts.ravel(), minlength=count + 1).astype(np.float64)
        sizes: NDArray[np.float64] = counts * config.spacing_mm**3
        sizes[0] = 0.0
        main = int(sizes.argmax())
        behind = [
            n
            for n in range(1, count + 1)
            if sizes[n] > 100.0 and _is_behind(parts, n, main, config.spacing_mm)
        ]
        if behind:
            cores[cores == 2] = 0
            cores[parts == main] = 2
            cores[np.isin(parts, behind)] = 3
    rows = np.flatnonzero((cores == 3).any(axis=(1, 2)))
    long = rows.size > 0 and (rows[-1] - rows[0]) * config.spacing_mm >= FIBULA_MM
    return cores if long else None


def _is_behind(parts: Labels, part: int, main: int, spacing: float) -> bool:
    """Return whether `part` lies behind the axis of `main` and below its top."""
    small, large = np.argwhere(parts == part), np.argwhere(parts == main)
    rows = large[:, 0] >= small[:, 0].min()
    back = (small[:, 1].mean() - large[rows][:, 1].mean()) * spacing if rows.any() else 0.0
    below = (np.percentile(large[:, 0], 95) - small[:, 0].mean()) * spacing
    return len(small) < 0.3 * len(large) and back > 8.0 and below > 5.0


def _name_cores(cores: Mask, bone: Mask, spacing: float) -> Labels | None:
    """Return the named cores, or None where this depth does not separate a tibia from a femur above it."""
    parts, count = ndimage.label(cores)
    sizes: NDArray[np.int64] = np.bincount(parts.ravel(), minlength=count + 1)
    kept = [n for n in range(1, count + 1) if sizes[n] * spacing**3 >= 50.0]
    boxes = ndimage.find_objects(parts)
    rows = np.flatnonzero(bone.any(axis=(1, 2)))
    low = [n for n in kept if (boxes[n - 1][0].start - rows[0]) * spacing <= 8.0]
    if not low:
        return None
    tibia = max(low, key=lambda n: int(sizes[n]))
    if (rows[-1] + 1 - boxes[tibia - 1][0].stop) * spacing <= 2.0:
        return None
    femur = _femur_cores(parts, tibia, [n for n in kept if n != tibia], sizes)
    if not femur:
        return None
    names = np.zeros(count + 1, dtype=np.int32)
    others = [
        n
        for n in kept
        if sizes[n] * spacing**3 >= OTHER_MM3 or boxes[n - 1][0].start > boxes[tibia - 1][0].stop - 5
    ]
    names[others], names[femur], names[tibia] = 3, 1, 2
    named: Labels = names[parts]
    return named


def _femur_cores(parts: Labels, tibia: int, others: list[int], sizes: NDArray[np.int64]) -> list[int]:
    """Return the cores of the femur: above the plateau; a small one in front of the tibia is the patella."""
    where = np.argwhere(parts == tibia)
    top = np.percentile(where[:, 0], 90)
    plateau = where[where[:, 0] >= np.percentile(where[:, 0], 75)]
    front = np.percentile(plateau[:, 1], 5)
    centres = {n: np.argwhere(parts == n).mean(axis=0) for n in others}
    above = [n for n in others if centres[n][0] > top]
    largest = max((int(sizes[n]) for n in above), default=0)
    return [n for n in above if sizes[n] > 0.5 * largest or centres[n][1] > front]


def _thin_rim(bone: Mask, array: NDArray[np.float32], config: BoneConfig) -> Mask:
    """Return the voxels near the surface that are darker than half a cortex: blur of the cortex, not bone."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(bone, sampling=config.spacing_mm)
    rim: Mask = bone & (depth <= config.rim_mm) & (array < config.surface_hu)
    return rim


def _sides_of_fibula(markers: Labels, config: BoneConfig) -> set[Side]:
    """Return the sides that show a fibula: a long part behind the tibia, in a large field of view only."""
    parts, count = ndimage.label(markers == 3)
    tibia = np.argwhere(markers == 2).mean(axis=0)
    sides: set[Side] = set()
    for n in range(1, count + 1):
        where = np.argwhere(parts == n)
        offset = where.mean(axis=0) - tibia
        behind = offset[0] < 0 and offset[1] > 0 and abs(offset[2]) * config.spacing_mm > 10.0
        if behind and np.ptp(where[:, 0]) * config.spacing_mm >= FIBULA_MM:
            sides.add("L" if offset[2] > 0 else "R")
    return sides


def _fill_bone(region: Mask, basins: Labels, label: int, config: BoneConfig) -> Mask:
    """Return the bone without holes, not reaching into other bones; smaller than `minimum_cm3` is refused."""
    closed = _close(region, 2.5 / config.spacing_mm)
    solid: Mask = _fill_slices(closed, axes=(0, 1, 2)) & ((basins == 0) | (basins == label))
    cm3 = float(solid.sum()) * config.spacing_mm**3 / 1000.0
    if cm3 < config.minimum_cm3:
        raise _not_found_error(f"bone {label} of {cm3:.1f} cm3")
    return solid


def _close(mask: Mask, radius: float) -> Mask:
    """Return `mask` closed by a ball of `radius` voxels; beyond the edge it continues."""
    pad = int(np.ceil(radius)) + 1
    wide = np.pad(mask, pad, mode="edge")
    grown = ndimage.distance_transform_edt(~wide) <= radius if wide.any() else wide
    shrunk = ndimage.distance_transform_edt(grown) > radius if not grown.all() else grown
    inner: Mask = shrunk[pad:-pad, pad:-pad, pad:-pad] | mask
    return inner


def _fill_slices(mask: Mask, axes: tuple[int, ...]) -> Mask:
    """Return `mask` with the holes of its slices across each of `axes` filled."""
    filled = mask.copy()
    for axis in axes:
        for index in np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))):
            view = (slice(None),) * axis + (index,)
            filled[view] |= ndimage.binary_fill_holes(mask[view])
    return filled


def _on_grid(solid: list[Mask], work: Volume[np.float32], ct: Volume[Scalar]) -> Volume[np.uint8]:
    """Return the labels on the grid of `ct`; surfaces are where the smoothed mask is one half."""
    labels = np.zeros(ct.geometry.shape, dtype=np.uint8)
    best = np.full(ct.geometry.shape, 0.5, dtype=np.float32)
    for label, mask in zip(BONE_LABELS.values(), solid, strict=True):
        soft: NDArray[np.float32] = ndimage.gaussian_filter(mask.astype(np.float32), 0.6, mode="nearest")
        share = _extend_edge(Volume(array=soft, geometry=work.geometry), ct)
        labels[share > best] = label
        np.maximum(best, share, out=best)
    return Volume(array=labels, geometry=ct.geometry)


def _extend_edge(soft: Volume[np.float32], ct: Volume[Scalar]) -> NDArray[np.float32]:
    """Return `soft` on the grid of `ct`; the half voxel beyond the working grid repeats its edge."""
    wide = np.pad(soft.array, 2, mode="edge")
    grid = soft.geometry.crop((-2, -2, -2), (wide.shape[0], wide.shape[1], wide.shape[2]))
    return Volume(array=wide, geometry=grid).resample_onto(ct.geometry).array


def _not_found_error(got: str) -> InputError:
    return InputError(
        "bone-not-found",
        "no femur above a tibia in the image",
        got=got,
        expected="a knee CT in Hounsfield units, joint line inside",
        todo="Check the modality, the units and the field of view of this image.",
    )
