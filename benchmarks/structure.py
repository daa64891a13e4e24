"""What tells a right pose of a bone from one of another person's: the correlation of its inner structure.

``python benchmarks/structure.py RUN [--pairs 6]``, a run of a simulated cohort that has come to `register`: for each bone the correlation at the pose that was found, and by chance
(root mean square of twelve poses 4 mm off); then the same for CT of one knee and MR of the next of its side, registered as one knee with no look at their structure.
A minute of CPU for each pair.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.records import BoneTransform, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.registration.quality import measure_agreement, structure_by_chance
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.register import Scan, find_poses, read_hu
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume

BLIND = replace(RegistrationConfig(), minimum_texture=-1.0, sure_texture=-1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=6)
    arguments = parser.parse_args()
    layout = RunLayout(root=arguments.run)
    knees = [Knee.parse(folder.name) for folder in sorted((layout.root / "volumes").iterdir())]
    print(
        "| CT of | MR of | bone | accepted, were structure not looked at | correlation | by chance | times |\n|---|---|---|---|---|---|---|"
    )
    for knee in knees:
        found = [pose for bone in BONES if (pose := read_pose(layout, knee, bone)) is not None]
        say(knee, knee, scan_of(layout, knee, knee), found)
    for one, other in pairs(knees, arguments.pairs):
        scan = scan_of(layout, one, other)
        say(one, other, scan, find_poses(one, scan, BLIND, known={})[0])


def pairs(knees: Iterable[Knee], count: int) -> list[tuple[Knee, Knee]]:
    """Return knees of one side with the next of that side."""
    sided = [[knee for knee in knees if knee.side == side] for side in ("R", "L")]
    return [
        pair for group in sided for pair in pairwise(group) if pair[0].participant != pair[1].participant
    ][:count]


def scan_of(layout: RunLayout, ct: Knee, mr: Knee) -> Scan:
    """Return the CT of one knee with MR and synthetic CT of another."""
    labels = read_volume(layout.volume(ct, "ct_bones"))
    bones = Volume(array=labels.array.astype(np.uint8), geometry=labels.geometry)
    return Scan(
        ct=read_hu(ct, layout, "ct"),
        mr=read_hu(mr, layout, "mr"),
        sct=read_hu(mr, layout, "sct"),
        ct_bones=bones,
    )


def say(one: Knee, other: Knee, scan: Scan, found: Iterable[BoneTransform]) -> None:
    """Print a row for each bone that has a pose."""
    for pose, texture, chance in compared(scan, found):
        accepted = "yes" if pose.quality.accepted else pose.quality.reason.partition(":")[0]
        print(
            f"| {one.key} | {other.key} | {pose.bone} | {accepted} | {texture:.3f} | {chance:.3f} | {texture / chance:.1f} |",
            flush=True,
        )


def compared(scan: Scan, found: Iterable[BoneTransform]) -> Iterator[tuple[BoneTransform, float, float]]:
    """Yield the correlation of each bone's structure, at its pose and by chance."""
    for pose in found:
        bone = scan.ct_bones.array == BONE_LABELS[pose.bone]
        nothing = np.zeros(
            scan.sct.array.shape, np.bool_
        )  # of the bone in the synthetic CT only shape is told
        texture = measure_agreement(scan.ct, scan.sct, (bone, nothing), pose.matrix, BLIND).texture
        yield pose, texture, structure_by_chance(scan.ct, scan.sct, bone, pose.matrix, BLIND)


if __name__ == "__main__":
    sys.exit(main())
