from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.geometry import matrix4
from srrd_ray.core.json_tree import Json
from srrd_ray.core.records import BoneTransform, Knee, RegistrationQuality
from srrd_ray.core.volume import Volume
from srrd_ray.registration.bones import BoneConfig
from srrd_ray.report.page import Grid, Note
from srrd_ray.report.run import Run
from srrd_ray.report.synthesis_section import synthesis_section
from srrd_ray.stages.compare_synthesis import TABLE, write_figures
from srrd_ray.stages.evaluate import evaluate
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.stages.shared.synthesis_card import CARD, GENERATOR, SynthesisCard
from srrd_ray.storage import omezarr
from srrd_ray.storage.atomic import write_text
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.record_files import write_record
from srrd_ray.storage.tables import read_table
from srrd_ray.synthesis.config import CycleGanConfig
from tests.registration import phantoms
from tests.run_folder import make_run

KNEE = Knee(participant="001", side="R")
POSE = phantoms.rigid((7, 2, -3), (12, -5, 3))
RULES = BoneConfig(by="rules")
Figures = dict[tuple[str, str], float]


def hold_out(layout: RunLayout, *patients: str) -> None:
    """Write the card of a synthesis that never saw these patients."""
    write_text(layout.model("synthesis") / f"{GENERATOR}.safetensors", "")
    units = {"input": "MR over its marrow level", "output": "HU"}
    card = SynthesisCard(config=CycleGanConfig(), weights={}, units=units, held_out=patients)
    write_record(layout.model("synthesis") / CARD, card, "synthesis")


def accept(layout: RunLayout, pose: np.ndarray) -> None:
    quality = RegistrationQuality(accepted=True, reason="", dice=0.9, surface_mm=0.5, correlation=0.9)
    for bone in ("femur", "tibia"):
        write_pose(
            layout,
            BoneTransform(knee=KNEE, bone=bone, fixed="ct", moving="mr", matrix=matrix4(pose), quality=quality),
        )  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """A run with one phantom knee whose synthetic CT is the CT in another pose and 20 HU too dark."""
    made = RunLayout(root=tmp_path / "run")
    ct, labels = phantoms.knee()
    moved = phantoms.moved(ct, POSE, noise_hu=0.0)
    sct = Volume(array=(moved.array - 20.0).astype(np.float32), geometry=moved.geometry)
    omezarr.write_volume(made.volume(KNEE, "ct"), ct, knee=KNEE, image="ct", unit="HU")
    omezarr.write_volume(
        made.volume(KNEE, "sct"), sct, knee=KNEE, image="sct", unit="HU", synthetic_from="mr"
    )
    omezarr.write_volume(made.volume(KNEE, "ct_bones"), labels, knee=KNEE, image="ct_bones", unit="label")
    hold_out(made, "001")
    return made


def figures(layout: RunLayout, cohort: Path) -> Figures:
    table = read_table(write_figures(layout, KNEE, cohort, RULES))
    return {(part, figure): value for part, figure, value in table[["part", "figure", "value"]].to_numpy()}


def test_a_real_cohort_is_compared_by_the_poses_that_were_found(layout: RunLayout, tmp_path: Path) -> None:
    accept(layout, POSE)
    found = figures(layout, tmp_path / "cohort")
    assert set(read_table(layout.part(TABLE, KNEE))["aligned_by"]) == {"registration"}
    assert found["body", "me_hu"] == pytest.approx(-20, abs=3)
    assert found["bone", "mae_hu"] == pytest.approx(20, abs=12)
    assert found["femur", "dice"] > 0.9


def test_a_simulated_cohort_is_compared_by_the_truth_whatever_was_found(
    layout: RunLayout, tmp_path: Path
) -> None:
    accept(layout, phantoms.rigid((0, 0, 0), (12, -5, 8)))
    folder = tmp_path / "cohort" / "derivatives" / "truth" / "sub-001"
    truth = {
        "schema": "srrd-truth/1",
        "transforms": dict.fromkeys(("femur", "tibia"), POSE.tolist()),
        "landmarks_ct_lps": {"femur": [[0.0, 0.0, 0.0]], "tibia": [[0.0, 0.0, 0.0]]},
    }
    write_text(folder / f"{KNEE.key}_truth.json", json.dumps(truth))
    found = figures(layout, tmp_path / "cohort")
    assert set(read_table(layout.part(TABLE, KNEE))["aligned_by"]) == {"truth"}
    assert found["body", "me_hu"] == pytest.approx(-20, abs=3)


def test_a_knee_that_the_synthesis_saw_or_without_a_pose_has_no_figures(
    layout: RunLayout, tmp_path: Path
) -> None:
    assert figures(layout, tmp_path / "cohort") == {}
    accept(layout, POSE)
    hold_out(layout, "002")
    assert figures(layout, tmp_path / "cohort") == {}


def test_the_figures_of_held_out_knees_reach_the_metrics_and_the_page(
    layout: RunLayout, tmp_path: Path
) -> None:
    accept(layout, POSE)
    found = figures(layout, tmp_path / "cohort")
    made = make_run(tmp_path / "whole", patients=4, simulated=False, folds=2)
    knee = next(knee for knee in made.knees if knee.participant == "001")
    hold_out(made.layout, "001")
    part = read_table(layout.part(TABLE, KNEE)).assign(side=knee.side)
    made.layout.part(TABLE, knee).parent.mkdir(parents=True)
    part.to_parquet(made.layout.part(TABLE, knee))
    metrics = json.loads(evaluate(made.layout, made.cohort).read_text())
    held_out = metrics["synthesis"]["held_out"]
    assert (held_out["knees"], held_out["aligned_by"]) == (1, "registration")
    assert held_out["parts"]["body"]["mae_hu"] == pytest.approx(found["body", "mae_hu"])
    section = synthesis_section(
        Run(tables={}, metrics=metrics, manifest=None, outcomes=(), overlays={}, qc="", losses={}, software="1")
    )  # fmt: skip
    images = section.blocks[0]
    assert isinstance(images, Grid)
    assert ("body", f"{found['body', 'mae_hu']:.0f}") == images.rows[1][:2]


def test_a_run_in_which_nobody_was_held_out_says_so() -> None:
    metrics: Json = {"synthesis": {"held_out": {"knees": 0, "reason": "nobody was"}}}
    section = synthesis_section(
        Run(tables={}, metrics=metrics, manifest=None, outcomes=(), overlays={}, qc="", losses={}, software="1")
    )  # fmt: skip
    assert section.blocks == (Note(text="No figures: nobody was."),)
