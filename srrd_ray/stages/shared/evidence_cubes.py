"""The cubes of a simulated patient, with the truth and with what morphometry measures of them in MR.

They are cut at the true bones, the MR as far off as a registration leaves it: what is compared on them is how
to learn, not how to find bones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.core.volume import Volume
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.halves import HALVES
from srrd_ray.morphometry.marrow import mr_bone_fraction
from srrd_ray.morphometry.resolve import MorphometryConfig
from srrd_ray.patches import SubchondralPoint
from srrd_ray.simulation.cohort import View, bone_labels, image_knee, pose_knee
from srrd_ray.simulation.school import VIEW, SchoolKnee
from srrd_ray.stages.measure import Box, Values, apparent_in_boxes
from srrd_ray.stages.patches import PairedMr, patches_of
from srrd_ray.stages.shared.fold_training import MIN_COVERAGE
from srrd_ray.stages.shared.school_cubes import cut_with_truth, paired_mr, read_school_cubes
from srrd_ray.storage import patch_store


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvidenceCubes:
    """Cubes that MR measures.

    Parameters
    ----------
    data
        The targets are what is measured in MR.
    truth
        (n, 4): the exact parameters.
    halves
        (half, n, 4): what is measured in the halves of a cube (`halves.HALVES`); that of the whole cube where
        a half cannot be measured.
    """

    data: DistillationData
    truth: NDArray[np.float32]
    halves: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.truth)

    def rows(self, keep: NDArray[np.bool_]) -> EvidenceCubes:
        """Return the rows that `keep` selects."""
        return EvidenceCubes(data=self.data.rows(keep), truth=self.truth[keep], halves=self.halves[:, keep])


def write_evidence_cubes(path: Path, knee: SchoolKnee, config: MorphometryConfig, view: View = VIEW) -> int:
    """Return how many cubes of a simulated knee were written to the shard `path`.

    Arrays are those of the school, `measured` (n, 7, 4), whole cube and halves, NaN where nothing can be
    measured, and `coverage` (n).

    Raises
    ------
    InputError
        `patches-none` where no cube has both truth and MR.
    NotEstimableError
        `marrow-unknown`.
    """
    posed = pose_knee(knee.plan, view.extent, knee.micro)
    images = image_knee(knee.plan, posed, view, knee.scans)
    paired = paired_mr(knee, images)
    cubes = cut_with_truth(knee, images, paired)
    bones = bone_labels(posed.scene, posed.sessions["mr"].bone_from_world(), images.mr.geometry)
    measured, coverage = measure_cubes(paired, bones, [point for _, point in cubes.places], config)
    arrays = cubes.arrays | {"measured": measured, "coverage": coverage}
    patch_store.write_shard(path, arrays, patches_of(path, cubes.places))
    return len(cubes.places)


def measure_cubes(
    paired: PairedMr, bones: Volume[np.uint8], points: Sequence[SubchondralPoint], config: MorphometryConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is measured in each cube and its halves (n, 7, 4), and the coverage of each cube (n)."""
    measured = np.full((len(points), 1 + len(HALVES), len(PARAMETERS)), np.nan, np.float32)
    coverage = np.zeros(len(points), np.float32)
    for bone in BONES:
        inside = bones.array == BONE_LABELS[bone]
        rows = [row for row, point in enumerate(points) if point.bone == bone]
        if not rows:
            continue
        fraction = Volume(
            array=mr_bone_fraction(paired.volume.array.astype(np.float32), inside, bones.geometry.spacing_mm),
            geometry=bones.geometry,
        )
        for compartment in COMPARTMENTS:
            chosen = [row for row in rows if points[row].compartment == compartment]
            if not chosen:
                continue
            boxes = [box for row in chosen for box in boxes_of(points[row], config)]
            found = list(apparent_in_boxes(fraction, inside, paired.transforms[bone], boxes, config))
            for row, parts in zip(chosen, np.array_split(np.arange(len(found)), len(chosen)), strict=True):
                measured[row] = [_values(found[part][0]) for part in parts.tolist()]
                coverage[row] = found[int(parts[0])][1]
    return measured, coverage


def boxes_of(point: SubchondralPoint, config: MorphometryConfig) -> list[Box]:
    """Return the box of a cube, and those of its halves in the order of `halves.HALVES`."""
    whole = Box(center_lps_mm=point.center_lps_mm, size_mm=config.box_mm)
    return [whole, *(_half(whole, axis - 2, side) for axis, side in HALVES)]


def _half(box: Box, axis: int, side: int) -> Box:
    """Return the half of a box along an axis (z, y, x): the lower one for side 0."""
    size, center = list(box.size_mm), list(box.center_lps_mm)
    center[2 - axis] += (side - 0.5) * size[axis] / 2
    size[axis] /= 2
    return replace(box, center_lps_mm=(center[0], center[1], center[2]), size_mm=(size[0], size[1], size[2]))


def _values(values: Values | None) -> tuple[float, ...]:
    """Return BV/TV, Tb.Th, Tb.Sp and Tb.N; NaN where there is none."""
    bvtv, thickness, separation = (np.nan if v is None else v for v in values or (None, None, None))
    return bvtv, thickness, separation, bvtv / thickness


def read_evidence_cubes(paths: Sequence[Path]) -> EvidenceCubes:
    """Return the cubes of all shards that MR measures, in order."""
    return _concatenate([_read(path) for path in paths])


def _read(path: Path) -> EvidenceCubes:
    data, arrays = read_school_cubes(path), patch_store.read_shard(path)
    measured = arrays["measured"].astype(np.float32)
    whole = measured[:, 0]
    halves = np.where(
        np.isfinite(measured[:, 1:]).all(axis=2, keepdims=True), measured[:, 1:], whole[:, None]
    )
    cubes = EvidenceCubes(data=replace(data, targets=whole), truth=data.targets, halves=halves.swapaxes(0, 1))
    covered = arrays["coverage"].astype(np.float32) >= MIN_COVERAGE
    return cubes.rows(np.isfinite(whole).all(axis=1) & covered)


def _concatenate(parts: Sequence[EvidenceCubes]) -> EvidenceCubes:
    return EvidenceCubes(
        data=DistillationData.concatenate([part.data for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        halves=np.concatenate([part.halves for part in parts], axis=1),
    )
