"""How many bones of a new simulated cohort are registered, how well, and what that costs: the default settings, from the images to the poses.

``python benchmarks/registration.py FOLDER [--knees 24] [--profile paper] [--seed 424] [--cpus 2]``: `srrd simulate` and `srrd run --until register` into that
folder; the same command again goes on. The truth is read here alone. CPU seconds are those of a knee in `align` and `register`, as the run measured them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.geometry import transform_points
from srrd_ray.core.records import Knee
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.stages.shared.truth import read_poses
from srrd_ray.storage.layout import RunLayout

RIGHT_MM, WRONG_MM = 1.0, 1.5
STAGES = ("align", "register")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A bone: its median error at the landmarks (null where it has no pose at all), and whether it was accepted, or why not."""

    knee: Knee
    bone: BoneName
    error_mm: float | None
    accepted: bool
    reason: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--knees", type=int, default=24)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--seed", type=int, default=424)
    parser.add_argument("--cpus", type=int, default=2)
    asked = parser.parse_args()
    cohort, run = asked.folder / "cohort", asked.folder / "run"
    simulate = ["srrd", "simulate", cohort, "--knees", asked.knees, "--profile", asked.profile]
    call([*simulate, "--seed", asked.seed, "--cpus", asked.cpus], 0)
    settings = asked.folder / "settings.yaml"
    settings.write_text(f"cluster:\n  cpus: {asked.cpus}\n")
    call(["srrd", "run", "--cohort", cohort, "--out", run, "--until", "register", "--config", settings], 0, 1)
    facts = json.loads((run / "run.json").read_text())
    knees = [Knee.parse(folder.name) for folder in sorted((run / "volumes").iterdir())]
    say([one for knee in knees for one in bones(cohort, RunLayout(root=run), knee)])
    for stage in STAGES:
        seconds = [one["seconds"] for one in facts["outcomes"] if one["stage"] == stage and one["seconds"]]
        print(f"{stage}: {np.mean(seconds):.1f} s a knee")
    return 0


def call(words: list[object], *good: int) -> None:
    """Run a command; end where it ends otherwise than it may."""
    code = subprocess.run([str(word) for word in words], check=False).returncode
    if code not in good:
        sys.exit(f"{words[1]} ended with {code}")


def bones(cohort: Path, layout: RunLayout, knee: Knee) -> Iterator[Found]:
    """Yield both bones of a knee."""
    truth = read_poses(cohort, knee)
    for bone in BONES:
        pose, true = read_pose(layout, knee, bone), truth[bone]
        if pose is None:
            yield Found(knee=knee, bone=bone, error_mm=None, accepted=False, reason="no pose")
            continue
        off = transform_points(pose.matrix, true.landmarks) - transform_points(true.matrix, true.landmarks)
        yield Found(
            knee=knee,
            bone=bone,
            error_mm=float(np.median(np.linalg.norm(off, axis=1))),
            accepted=pose.quality.accepted,
            reason=pose.quality.reason or "",
        )


def say(found: list[Found]) -> None:
    """Print what was lost, and the figures."""
    for one in found:
        if not one.accepted or (one.error_mm is not None and one.error_mm > RIGHT_MM):
            error = "-" if one.error_mm is None else f"{one.error_mm:.2f} mm"
            print(
                f"{one.knee.key} {one.bone}: {'accepted' if one.accepted else 'refused'}, {error} {one.reason}"
            )
    kept = np.array([one.error_mm for one in found if one.accepted and one.error_mm is not None])
    right = sum(not one.accepted and one.error_mm is not None and one.error_mm < RIGHT_MM for one in found)
    print(
        f"{len(found)} bones: accepted within {RIGHT_MM:g} mm {np.sum(kept < RIGHT_MM) / len(found):.1%}, "
        f"accepted above {WRONG_MM:g} mm {np.sum(kept > WRONG_MM)}, refused that were right {right / len(found):.1%}; "
        f"TRE median {np.median(kept):.3f} mm, p95 {np.percentile(kept, 95):.3f} mm"
    )
    for bone in BONES:
        some = [one.error_mm for one in found if one.bone == bone and one.accepted]
        if some:
            print(
                f"{bone}: {len(some)} accepted, median {np.median(some):.3f} mm, p95 {np.percentile(some, 95):.3f} mm"
            )


if __name__ == "__main__":
    sys.exit(main())
