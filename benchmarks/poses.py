"""What the synthetic CT is for, once the bones are found in the MR itself: four ways to the pose of each bone.

``python benchmarks/poses.py COHORT RUN [--knees 4]``: a simulated cohort and a run over it. Every way starts from the surfaces of the
bones found in CT and MR. Prints the target registration error at the landmarks, the share of bones below 1 mm, and CPU seconds a bone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srrd_ray.core.bones import BONE_LABELS, BONES, BoneName
from srrd_ray.core.errors import InputError, SrrdError
from srrd_ray.core.geometry import Matrix4, transform_points
from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.knee_bones.find import find_bones
from srrd_ray.registration.rigid import (
    RegistrationConfig,
    choose_by_information,
    fit_surfaces,
    register_bone,
)
from srrd_ray.registration.search import find_pose
from srrd_ray.stages.shared.truth import PoseTruth, read_poses
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume
from srrd_ray.synthesis.bias import flatten_bias

CONFIG = RegistrationConfig()
Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Bone:
    """One bone of a knee in CT, MR and synthetic CT."""

    ct: Volume[np.float32]
    sct: Volume[np.float32]
    mr: Volume[np.float32]
    masks: tuple[Mask, Mask]
    truth: PoseTruth


def surfaces(bone: Bone) -> Matrix4:
    """Return the best fit of the surfaces alone."""
    return fit_surfaces(bone.ct, bone.sct, *bone.masks, CONFIG)[0]


def synthetic_ct(bone: Bone) -> Matrix4:
    """Return what the correlation of CT and synthetic CT leads to."""
    return register_bone(bone.ct, bone.sct, *bone.masks, CONFIG).matrix


def information(bone: Bone) -> Matrix4:
    """Return what the mutual information of CT and MR leads to, from the fits of the surfaces."""
    starts = fit_surfaces(bone.ct, bone.sct, *bone.masks, CONFIG)
    return choose_by_information(bone.ct, bone.mr, bone.masks[0], starts, CONFIG).matrix


def everything(bone: Bone) -> Matrix4:
    """Return what `srrd run` does: surfaces, synthetic CT, information, and a wider search where it is in doubt."""
    return find_pose(bone.ct, bone.sct, bone.masks, bone.mr, CONFIG).matrix


WAYS: dict[str, Callable[[Bone], Matrix4]] = {
    "surfaces alone": surfaces,
    "synthetic CT": synthetic_ct,
    "mutual information": information,
    "all together": everything,
}


def bones_of(cohort: Path, layout: RunLayout, knee: Knee) -> Iterator[tuple[BoneName, Bone]]:
    """Yield the bones of a knee that were found in both images; none where those of the MR cannot be bones."""
    ct, mr, sct, labels = (read_volume(layout.volume(knee, i)) for i in ("ct", "mr", "sct", "ct_bones"))
    images = [Volume(array=v.array.astype(np.float32), geometry=v.geometry) for v in (ct, sct)]
    try:
        found = find_bones(mr, "mr", None)
    except InputError as error:
        print(f"{knee.key}: left out, {error}")
        return
    truth = read_poses(cohort, knee)
    for bone in BONES:
        label = BONE_LABELS[bone]
        masks = labels.array == label, found.labels.array == label
        if masks[0].any() and masks[1].any():
            yield (
                bone,
                Bone(ct=images[0], sct=images[1], mr=flatten_bias(mr), masks=masks, truth=truth[bone]),
            )


def error_mm(bone: Bone, matrix: Matrix4) -> float:
    """Return the median target registration error of a pose, mm."""
    truth = bone.truth
    off = transform_points(matrix, truth.landmarks) - transform_points(truth.matrix, truth.landmarks)
    return float(np.median(np.linalg.norm(off, axis=1)))


def main() -> None:
    """Print a line for each bone and way, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--knees", type=int, default=4)
    asked = parser.parse_args()
    layout = RunLayout(root=asked.run)
    errors: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for folder in sorted((asked.run / "volumes").iterdir())[: asked.knees]:
        knee = Knee.parse(folder.name)
        for name, bone in bones_of(asked.cohort, layout, knee):
            for way, find in WAYS.items():
                start = time.process_time()
                try:
                    found = error_mm(bone, find(bone))
                except SrrdError:
                    found = float("nan")
                seconds[way].append(time.process_time() - start)
                errors[way].append(found)
                print(f"{knee.key} {name:6} {way:20} {found:7.2f} mm {seconds[way][-1]:6.1f} s", flush=True)
    for way in WAYS:
        values = np.array(errors[way])
        print(
            f"{way:20} median {np.nanmedian(values):.2f} mm, below 1 mm {int((values < 1).sum())} of {len(values)}, "
            f"{np.mean(seconds[way]):.1f} CPU s a bone"
        )


if __name__ == "__main__":
    main()
