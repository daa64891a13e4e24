"""How well any synthetic CT could do on a simulated cohort: noise, density and scanner of a CT are in no MR.

``OMP_NUM_THREADS=1 python benchmarks/synthesis_limits.py COHORT RUN --knees 24 --seed 424 --profile joint``: the figures of stage `compare-synthesis`, of the knees that
the synthesis of the run did not see, for two CTs that no network made. Both are drawn in the place of the MR from the simulator's own scene: the knee's own
CT without its noise, and the CT that a synthesis of the school learns to draw (another scanner, average density and marrow).
The cohort is that of ``srrd simulate`` with the same numbers; the run has come to `align` at least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.registration.grids import working_grid
from srrd_ray.simulation import ct, paired_scans
from srrd_ray.simulation.cohort import VIEWS, pose_knee, sample_acquisition
from srrd_ray.simulation.patients import Profile, SimulatedKnee, simulate_cohort_plan
from srrd_ray.stages.compare_synthesis import compare_knee
from srrd_ray.stages.shared.first_round import first_bones_path
from srrd_ray.stages.shared.synthesis_card import read_card
from srrd_ray.stages.shared.truth import read_poses
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_volume

SPACING_MM = 0.6
FIGURES = (
    "field mae_hu", "body mae_hu", "bone mae_hu", "soft mae_hu", "field psnr_db", "body psnr_db", "field ssim", "body ssim",
    "femur dice", "tibia dice",
)  # fmt: skip
MEAN = ct.CtSession(mineral_density=1.0, marrow_hu=ct.MARROW_HU, noise_factor=0.0, seed=0)
Made = dict[str, dict[str, float]]


def main() -> None:
    """Print the figures of each knee, and their means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--knees", type=int, default=24)
    parser.add_argument("--seed", type=int, default=424)
    parser.add_argument("--profile", choices=tuple(VIEWS), default="joint")
    asked = parser.parse_args()
    found = list(judged(asked.cohort, RunLayout(root=asked.run), asked.knees, asked.seed, asked.profile))
    for name in found[0]:
        say(f"mean of {len(found)} knees, {name}", mean([one[name] for one in found]))


def judged(cohort: Path, layout: RunLayout, knees: int, seed: int, profile: Profile) -> Iterator[Made]:
    """Yield the figures of each knee that was held out, by kind of CT."""
    held_out = read_card(layout.model("synthesis")).held_out
    for plan in simulate_cohort_plan(knees, seed, profile):
        if plan.knee.participant in held_out:
            figures = dict(compared(cohort, layout, plan, profile))
            for name, one in figures.items():
                say(f"{plan.knee.key}, {name}", one)
            yield figures


def compared(
    cohort: Path, layout: RunLayout, plan: SimulatedKnee, profile: Profile
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of one knee's CT without noise, and of what a school teaches to draw."""
    knee: Knee = plan.knee
    posed, scans = pose_knee(plan, VIEWS[profile].extent), sample_acquisition(plan)
    in_mr = posed.sessions["mr"].bone_from_world()
    real, labels = read_volume(layout.volume(knee, "ct")), read_volume(first_bones_path(layout, knee))
    found = labels.array.astype(np.uint8)
    two = np.where(found > 2, 0, found).astype(np.uint8)  # femur and tibia
    bones = Volume(array=two, geometry=labels.geometry)
    poses = {bone: pose.matrix for bone, pose in read_poses(cohort, knee).items()}
    grid = working_grid(read_volume(layout.volume(knee, "mr")).geometry, SPACING_MM)
    kinds = {
        "its own CT without noise": (scans.ct_protocol, scans.ct_session),
        "what the school draws": (paired_scans.CT, MEAN),
    }
    for name, (protocol, session) in kinds.items():
        table = ct.hu_table(protocol, session)
        hu = ct.acquire_noiseless(posed.scene, in_mr, grid, protocol, table)
        rows = compare_knee(real, Volume(array=hu, geometry=grid), bones, poses, BoneConfig())
        yield name, {f"{part} {figure}": value for part, figure, value in rows}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def say(what: str, figures: dict[str, float]) -> None:
    """Print some figures on a line."""
    print(f"{what}:", ", ".join(f"{key} {figures[key]:.2f}" for key in FIGURES if key in figures), flush=True)


if __name__ == "__main__":
    main()
