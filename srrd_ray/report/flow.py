"""The flow of knees and bones through a run, counted from its outcomes and drawn as CONSORT asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from srrd_ray.core.bones import BONES
from srrd_ray.core.records import Knee, Outcome
from srrd_ray.report.page import Box, Flow

LINE, PAD, GAP = 17.0, 16.0, 26.0
MAIN, ASIDE = (10.0, 300.0), (370.0, 380.0)
"""Left edge and width of the boxes of those that go on, and of those that are lost."""
WIDTH = 760.0
Arrow: TypeAlias = tuple[float, float, float, float]
MOST_REASONS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What became of all that came to a stage: `lost` counts by code, `left` went on."""

    name: str
    unit: str
    came: int
    lost: Mapping[str, int]
    left: int


def count_steps(
    outcomes: Sequence[Outcome], predictions: pd.DataFrame | None, knees: pd.DataFrame | None
) -> tuple[Step, ...]:
    """Return the steps at which knees or bones were lost, in order; what comes to one is what the last left.

    A knee is lost at the first stage that failed for it. At the end of a run with predictions stand the knees
    that were read out of fold, and of them those with a known diagnosis.
    """
    steps = list(_stages(outcomes))
    remaining = _all_knees(outcomes) - {outcome.lost_knee for outcome in outcomes}
    if predictions is not None:
        read = remaining & _knees_of(predictions)
        steps.append(_narrowed("read from CT, out of fold", remaining, read, "no reading"))
        if knees is not None:
            known = read & _knees_of(knees[knees["oa"].notna()])
            steps.append(_narrowed("with a known diagnosis", read, known, "diagnosis unknown"))
    return tuple(steps)


def count_bones(outcomes: Sequence[Outcome]) -> Step | None:
    """Return what became of the bones of the knees that registration kept; null before registration."""
    of_stage = [outcome for outcome in outcomes if outcome.stage == "register" and outcome.knee is not None]
    if not of_stage:
        return None
    lost_knees = {outcome.lost_knee for outcome in of_stage}
    there = {outcome.knee for outcome in of_stage} - lost_knees
    lost: dict[tuple[Knee | None, str | None], str] = {}
    for outcome in of_stage:
        if outcome.lost_bone and outcome.knee in there and outcome.error is not None:
            lost.setdefault((outcome.knee, outcome.bone), outcome.error.code)
    came = len(BONES) * len(there)
    return Step(
        name="registered and accepted", unit="bones", came=came, lost=_ordered(Counter(lost.values())),
        left=came - len(lost),
    )  # fmt: skip


def _stages(outcomes: Sequence[Outcome]) -> list[Step]:
    remaining = len(_all_knees(outcomes))
    steps, gone = [], set[Knee]()
    for stage in dict.fromkeys(outcome.stage for outcome in outcomes):
        lost: dict[Knee, str] = {}
        for outcome in outcomes:
            knee = outcome.lost_knee
            if outcome.stage == stage and knee is not None and knee not in gone and outcome.error is not None:
                lost.setdefault(knee, outcome.error.code)
        gone |= set(lost)
        if lost:
            came, remaining = remaining, remaining - len(lost)
            steps.append(
                Step(
                    name=stage, unit="knees", came=came, lost=_ordered(Counter(lost.values())), left=remaining
                )
            )
    return steps


def _all_knees(outcomes: Sequence[Outcome]) -> set[Knee | None]:
    return {outcome.knee for outcome in outcomes} - {None}


def _knees_of(table: pd.DataFrame) -> set[Knee | None]:
    pairs = table[["participant", "side"]].drop_duplicates().itertuples(index=False)
    return {Knee(participant=str(one.participant), side="L" if one.side == "L" else "R") for one in pairs}


def _narrowed(name: str, came: set[Knee | None], left: set[Knee | None], reason: str) -> Step:
    lost = len(came) - len(left)
    return Step(name=name, unit="knees", came=len(came), lost={reason: lost} if lost else {}, left=len(left))


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def flow_diagram(
    outcomes: Sequence[Outcome], predictions: pd.DataFrame | None, knees: pd.DataFrame | None
) -> Flow:
    """Return the drawing: those that go on below each other, those that are lost beside, with the reasons."""
    steps, bones = count_steps(outcomes, predictions, knees), count_bones(outcomes)
    everyone = _all_knees(outcomes)
    patients = len({knee.participant for knee in everyone if knee is not None})
    first = (f"Knees of the cohort: {len(everyone)}", f"of {patients} patients")
    boxes: list[Box] = [_box(MAIN, 10.0, first)]
    arrows: list[Arrow] = []
    for step in steps:
        boxes, arrows = _add(boxes, arrows, step)
    if bones is not None:
        below = max(box.y + box.height for box in boxes) + GAP
        boxes.append(_box(MAIN, below, (f"Bones of registered knees: {bones.came}",)))
        boxes, arrows = _add(boxes, arrows, bones)
    bottom = max(box.y + box.height for box in boxes) + 10.0
    return Flow(
        title="Flow of knees and bones", words=_words(len(everyone), patients, steps, bones), width=WIDTH,
        height=bottom, boxes=tuple(boxes), arrows=tuple(arrows),
    )  # fmt: skip


def _add(boxes: list[Box], arrows: list[Arrow], step: Step) -> tuple[list[Box], list[Arrow]]:
    """Return the drawing with one more step below its last box of those that go on."""
    last = boxes[-1]
    foot, middle = last.y + last.height, MAIN[0] + MAIN[1] / 2
    aside = _box(ASIDE, foot + GAP / 2, _lost_lines(step)) if step.lost else None
    top = (aside.y + aside.height if aside else foot) + GAP
    kept = _box(MAIN, top, (f"{step.name[0].upper()}{step.name[1:]}: {step.left} {step.unit}",))
    added: list[Arrow] = [(middle, foot, middle, top)]
    if aside is not None:
        level = aside.y + aside.height / 2
        added.append((middle, level, ASIDE[0], level))
    return [*boxes, *([aside] if aside else []), kept], [*arrows, *added]


def _lost_lines(step: Step) -> tuple[str, ...]:
    shown = list(step.lost.items())
    rest = sum(count for _, count in shown[MOST_REASONS:])
    lines = [f"{code[:44]}: {count}" for code, count in shown[:MOST_REASONS]]
    return (
        f"Lost {step.unit}: {sum(step.lost.values())}",
        *lines,
        *([f"other reasons: {rest}"] if rest else []),
    )


def _box(place: tuple[float, float], y: float, lines: tuple[str, ...]) -> Box:
    return Box(x=place[0], y=y, width=place[1], height=LINE * len(lines) + PAD, lines=lines)


def _words(knees: int, patients: int, steps: Sequence[Step], bones: Step | None) -> str:
    told = [f"{knees} knees of {patients} patients came in"]
    for step in (*steps, *((bones,) if bones else ())):
        reasons = ", ".join(f"{code} {count}" for code, count in step.lost.items())
        lost = f", {sum(step.lost.values())} lost ({reasons})" if step.lost else ", none lost"
        told.append(f"{step.name}: {step.left} of {step.came} {step.unit}{lost}")
    return "; ".join(told) + "."
