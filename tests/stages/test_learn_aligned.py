from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from srrd_ray.core.records import Knee
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import CohortInputs, Work
from srrd_ray.execution.training import Training
from srrd_ray.execution.work import WorkItem
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.align import AlignSettings, align
from srrd_ray.stages.learn_aligned import LearnAlignedSettings, learn_aligned
from srrd_ray.stages.register import register_knee
from srrd_ray.stages.shared.aligned_model import read_pair
from srrd_ray.stages.shared.first_round import (
    chosen_model,
    pair_path,
    read_choice,
    read_first_poses,
)
from srrd_ray.stages.shared.judging import LOST, choose
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.stages.shared.synthesis_model import load_model, save_generators, synthesize_knee
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.networks import build_networks
from tests.registration import phantoms
from tests.stages.small_run import drive

POSE = phantoms.rigid((7, 2, -3), (12, -5, 3))
CONFIG = CycleGanConfig(
    start="random", epochs=1, width=4, blocks=1, discriminator_width=4, slice_mm=1.5, bone_share=(0.0, 1.0)
)
ALIGNED = AlignedConfig(epochs=1, steps=2, blocks=1, slices=4)
REGISTRATION = RegistrationConfig(
    bones=BoneConfig(by="rules"),
    flexions_deg=(0.0,),
    twists_deg=(0.0,),
    candidates=1,
    minimum_texture=-1.0,
    sure_texture=-1.0,
    refine_on_mr=False,
)
KNEES = tuple(Knee(participant=name, side="R") for name in ("001", "002"))


@dataclass(frozen=True)
class LoopTrainer:
    """Trains in a plain loop."""

    def fit(self, training: Training, log: Callable[[str], None]) -> Path:
        drive(training.learners(), training.weights)
        log("trained")
        return training.weights

    def search(self, *_: object) -> None:
        raise AssertionError("nothing is searched here")


def work(layout: RunLayout, settings: object, knee: Knee | None = None) -> Work:  # type: ignore[type-arg]
    name = knee.key if knee else "cohort"
    return Work(
        item=WorkItem(name=name, input_hash="ab" * 32, knees=(knee,) if knee else ()),
        layout=layout,
        settings=settings,
        cohort=CohortInputs(remaining=KNEES),
        trainer=LoopTrainer(),  # type: ignore[arg-type]  # it never searches
    )


def settings(aligned: AlignedConfig) -> AlignSettings:
    return AlignSettings(synthesis=CONFIG, synthesis_aligned=aligned, registration=REGISTRATION)


def learn(layout: RunLayout, aligned: AlignedConfig = ALIGNED) -> None:
    asked = LearnAlignedSettings(
        synthesis_aligned=aligned, registration=REGISTRATION, seed=1, training_workers=1
    )
    learn_aligned(work(layout, asked))


def write_run(root: Path, held_out: tuple[str, ...]) -> RunLayout:
    """Write two phantom knees and a synthesis that draws bone by physics alone."""
    made = RunLayout(root=root)
    ct, _ = phantoms.knee()
    moved = phantoms.moved(ct, POSE)
    inside = ndimage.binary_erosion(moved.array > 150, iterations=2, border_value=1)  # the cortex is dark
    signal = np.clip(1.0 - (moved.array + 50.0) / 1600.0, 0.0, None) * inside * 80.0
    mr = Volume(array=signal.astype(np.float32), geometry=moved.geometry)
    for knee in KNEES:
        omezarr.write_volume(made.volume(knee, "ct"), ct, knee=knee, image="ct", unit="HU")
        omezarr.write_volume(made.volume(knee, "mr"), mr, knee=knee, image="mr", unit="au")
    networks = build_networks(CONFIG, 1)
    kept = {name: networks[name].state_dict() for name in ("mr_to_ct", "ct_to_mr")}
    save_generators(kept, made.model("synthesis"), CONFIG, held_out)
    return made


def test_where_it_is_switched_off_nothing_is_aligned_and_round_one_is_used(tmp_path: Path) -> None:
    layout = write_run(tmp_path, ("002",))
    off = replace(ALIGNED, epochs=0)
    stale = layout.first(KNEES[0]) / "transform_femur.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    assert align(work(layout, settings(off), KNEES[0])).paths == ()
    assert not stale.exists(), "what other settings left would be taken for a pose"
    learn(layout, off)
    assert read_choice(layout).reason == "round two is switched off"
    assert chosen_model(layout) == layout.model("synthesis")


def test_a_knee_that_cannot_be_aligned_is_no_failure_and_leaves_nothing(tmp_path: Path) -> None:
    layout = write_run(tmp_path, ("002",))
    flat = Volume(array=np.full(phantoms.GRID.shape, 40, dtype=np.float32), geometry=phantoms.GRID)
    omezarr.write_volume(layout.volume(KNEES[0], "ct"), flat, knee=KNEES[0], image="ct", unit="HU")
    assert align(work(layout, settings(ALIGNED), KNEES[0])).paths == ()
    assert read_first_poses(layout, KNEES[0]) == ()
    learn(layout)
    assert "no bone was aligned in a knee to learn from" in read_choice(layout).reason


def test_round_two_is_used_where_bodies_are_nearer_and_bones_no_worse() -> None:
    one, better = {"mae_hu": 150.0, "dice": 0.80}, {"mae_hu": 120.0, "dice": 0.85}
    blurred = {"mae_hu": 120.0, "dice": 0.60}
    assert choose(one, better, learnt_from=5, judged_by=2).used
    assert not choose(one, blurred, learnt_from=5, judged_by=2).used
    assert not choose(better, one, learnt_from=5, judged_by=2).used
    lost = choose(one, LOST, learnt_from=5, judged_by=2)
    assert not lost.used
    assert lost.aligned_mae_hu is None
    assert (
        "120 HU (round one 150), the Dice of the bones 0.85 (0.80)"
        in choose(one, better, learnt_from=5, judged_by=2).reason
    )


@pytest.mark.slow
def test_from_alignment_to_the_final_poses(tmp_path: Path) -> None:
    layout = write_run(tmp_path, ("002",))
    for knee in KNEES:
        paths = align(work(layout, settings(ALIGNED), knee)).paths
        assert pair_path(layout, knee) in paths
        assert all(one.quality.accepted for one in read_first_poses(layout, knee))
    pair = read_pair(pair_path(layout, KNEES[0]))
    assert np.corrcoef(pair.mr[pair.bone], pair.hu[pair.bone])[0, 1] < -0.3
    learn(layout)
    choice = read_choice(layout)
    assert (choice.learnt_from, choice.judged_by) == (1, 1)
    assert choice.first_mae_hu is not None
    assert choice.aligned_mae_hu is not None
    assert load_model(layout.model("synthesis-aligned"))[1].norm == ALIGNED.norm
    for knee in KNEES:
        synthesize_knee(knee, layout, chosen_model(layout), CONFIG)
        register_knee(knee, layout, REGISTRATION)
        first = {one.bone: one for one in read_first_poses(layout, knee)}
        assert {bone: read_pose(layout, knee, bone) for bone in first} == first
        assert omezarr.read_stored(layout.volume(knee, "ct_bones")).image == "ct_bones"
