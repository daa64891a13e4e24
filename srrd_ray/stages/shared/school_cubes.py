"""The cubes of a knee of the school, with the exact truth of each: kept as one small shard, learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES
from srrd_ray.core.errors import InputError
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.distillation.data import DistillationData, bone_fraction
from srrd_ray.patches import PatchConfig, SubchondralPoint
from srrd_ray.simulation.cohort import KneeImages, View
from srrd_ray.simulation.school import VIEW, SchoolKnee, image_school_knee, sample_pose_errors
from srrd_ray.stages.patches import Arrays, PairedMr, cut_cubes, patches_of
from srrd_ray.stages.shared.truth import parameters_in_cubes
from srrd_ray.storage import patch_store

CUBES = PatchConfig(per_region=6, apart_mm=3.0)
"""More of them in a knee than a run cuts: each comes with its own truth."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrueCubes:
    """The cubes of a simulated knee that have MR and truth; `arrays` as `write_school_cubes` stores them."""

    arrays: Arrays
    places: list[tuple[Knee, SubchondralPoint]]


def write_school_cubes(path: Path, knee: SchoolKnee, view: View = VIEW) -> int:
    """Return how many cubes of a simulated knee were written to the shard `path`.

    Arrays are those of a run's shard, and `truth` (n, 4): BV/TV, Tb.Th (mm), Tb.Sp (mm), Tb.N (1/mm).

    Raises
    ------
    InputError
        `patches-none` where no cube has both truth and MR.
    """
    images = image_school_knee(knee, view)
    cubes = cut_with_truth(knee, images, paired_mr(knee, images))
    patch_store.write_shard(path, cubes.arrays, patches_of(path, cubes.places))
    return len(cubes.places)


def paired_mr(knee: SchoolKnee, images: KneeImages) -> PairedMr:
    """Return the MR of a simulated knee, its bones as far off as a registration leaves them."""
    middle = (np.array(images.ct.geometry.shape) - 1) / 2
    errors = sample_pose_errors(knee.plan, images.ct.geometry.index_to_lps(middle))
    transforms = [
        np.asarray(images.transforms[bone]) @ error for bone, error in zip(BONES, errors, strict=True)
    ]
    mr = Volume(array=images.mr.array, geometry=images.mr.geometry)
    return PairedMr.of(mr, dict(zip(BONES, transforms, strict=True)))


def cut_with_truth(knee: SchoolKnee, images: KneeImages, paired: PairedMr) -> TrueCubes:
    """Return the cubes of a simulated knee, each with its truth; errors as `write_school_cubes`."""
    ct = Volume(array=images.ct.array, geometry=images.ct.geometry)
    cubes = cut_cubes(knee.plan.knee, ct, images.ct_labels, paired, CUBES)
    cells = pd.DataFrame([asdict(cell) for cell in images.cells])
    truth = parameters_in_cubes(cells, [(point.bone, point.center_lps_mm) for point in cubes.points])
    keep = np.flatnonzero(np.isfinite(truth).all(axis=1) & cubes.arrays["has_mr"].astype(np.bool_))
    if not keep.size:
        raise InputError("patches-none", "no cube has both truth and MR", where=knee.plan.knee.key)
    arrays = {name: values[keep] for name, values in cubes.arrays.items()}
    arrays["truth"] = truth[keep, : len(PARAMETERS)].astype(np.float32)
    return TrueCubes(arrays=arrays, places=[(knee.plan.knee, cubes.points[row]) for row in keep.tolist()])


def read_school_cubes(path: Path) -> DistillationData:
    """Return the cubes of a shard; their targets are the truth."""
    index, arrays = patch_store.read_index(path), patch_store.read_shard(path)
    mr_mask = arrays["mr_mask"].astype(np.uint8)
    return DistillationData(
        ct=arrays["ct"].astype(np.int16),
        ct_mask=arrays["ct_mask"].astype(np.uint8),
        ct_spacing_mm=arrays["ct_spacing_mm"].astype(np.float32),
        mr=bone_fraction(arrays["mr"].astype(np.float16), mr_mask),
        mr_mask=mr_mask,
        targets=arrays["truth"].astype(np.float32),
        patients=_words([patch.knee.participant for patch in index]),
        regions=_words([f"{p.knee.side}-{p.bone}-{p.compartment}" for p in index]),
    )


def _words(words: list[str]) -> NDArray[np.str_]:
    return np.array(words, dtype=np.str_)


def read_all_cubes(paths: Sequence[Path]) -> DistillationData:
    """Return the cubes of all shards, in order."""
    return DistillationData.concatenate([read_school_cubes(path) for path in paths])
