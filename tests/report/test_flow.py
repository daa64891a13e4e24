from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.records import Fault, Knee, Outcome
from srrd_ray.report.flow import count_bones, count_steps, flow_diagram
from srrd_ray.report.page import Page, Section, render

STAGES = ("ingest", "synthesize", "register", "patches", "measure")
CODES = ("surface-far", "dice-low", "patches-none")


def a_run(seed: int, knees: int = 40) -> tuple[list[Outcome], pd.DataFrame, pd.DataFrame]:
    """The outcomes of a run that loses knees and bones by chance, its readings, and its table of knees."""
    rng = np.random.default_rng(seed)
    remaining = [Knee(participant=f"{n // 2:03d}", side="LR"[n % 2]) for n in range(knees)]  # type: ignore[arg-type]
    rows = [(k.participant, k.side, (0, 1, None)[rng.integers(3)]) for k in remaining]
    outcomes = []
    for stage in STAGES:
        for knee in remaining:
            done = Outcome(knee=knee, stage=stage, status="done", seconds=1.0)
            fault = Fault(code=str(rng.choice(CODES)), message="m")
            failed = replace(done, status="failed", error=fault)
            outcomes.append(failed if rng.random() < 0.1 else done)
            if stage == "register":
                outcomes += [replace(failed, bone=bone) for bone in BONES if rng.random() < 0.2]
        gone = {outcome.lost_knee for outcome in outcomes}
        remaining = [knee for knee in remaining if knee not in gone]
    read = [(k.participant, k.side) for k in remaining if rng.random() < 0.8]
    return (
        outcomes,
        pd.DataFrame(read, columns=["participant", "side"]),
        pd.DataFrame(rows, columns=["participant", "side", "oa"]),
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_numbers_add_up(seed: int) -> None:
    outcomes, read, knees = a_run(seed)
    steps = count_steps(outcomes, read, knees)
    came = len({outcome.knee for outcome in outcomes})
    for step in steps:
        assert step.came == came
        assert step.left == step.came - sum(step.lost.values())
        came = step.left
    assert steps[-2].left == len(read)
    bones = count_bones(outcomes)
    assert bones is not None
    assert bones.left == bones.came - sum(bones.lost.values()) >= 0


def test_a_knee_that_failed_twice_is_lost_once() -> None:
    lost = Outcome(
        knee=Knee(participant="1", side="L"), stage="ingest", status="failed", seconds=0.0,
        error=Fault(code="a", message="m"),
    )  # fmt: skip
    (step,) = count_steps([lost, replace(lost, stage="register")], None, None)
    assert (step.name, step.came, step.left, step.lost) == ("ingest", 1, 0, {"a": 1})


def test_all_numbers_are_in_the_drawing_and_in_its_words() -> None:
    outcomes, read, knees = a_run(3)
    flow = flow_diagram(outcomes, read, knees)
    lines = " ".join(line for box in flow.boxes for line in box.lines)
    for step in count_steps(outcomes, read, knees):
        assert f"{step.left} {step.unit}" in lines
        assert f"{step.left} of {step.came} {step.unit}" in flow.words


def test_no_box_lies_on_another_or_beyond_the_drawing() -> None:
    flow = flow_diagram(*a_run(5))
    for one in flow.boxes:
        assert one.x + one.width <= flow.width
        assert one.y + one.height <= flow.height
        for other in flow.boxes:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert one is other or apart


def test_a_code_from_outside_is_escaped_in_the_drawing() -> None:
    outcomes, read, knees = a_run(1)
    evil = [replace(o, error=replace(o.error, code="<script>")) if o.error else o for o in outcomes]
    block = flow_diagram(evil, read, knees)
    page = Page(
        title="t", subtitle="", cards=(), footer="",
        sections=(Section(anchor="s", title="s", intro="", blocks=(block,)),),
    )  # fmt: skip
    assert "<script>" not in render(page)
    assert "&lt;script&gt;" in render(page)
