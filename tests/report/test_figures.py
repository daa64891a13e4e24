from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.report import charts, figures
from srrd_ray.report.style import styled, svg_uri
from srrd_ray.statistics.pairs import REFERENCE

RNG = np.random.default_rng(0)
N = 24
COLUMNS: dict[str, object] = {
    "participant": [f"{n:02d}" for n in range(N)],
    "side": "L",
    "bone": "femur",
    "compartment": "medial",
    "kl_grade": np.arange(N) % 5,
    "oa": (np.arange(N) % 5 >= 2).astype(int),
    "age": RNG.uniform(40, 80, N),
    "sex": "F",
    "label": (np.arange(N) % 5 >= 2).astype(int),
    "probability": RNG.uniform(size=N),
}
COLUMNS |= {name + suffix: RNG.uniform(0.2, 0.4, N) for name in PARAMETERS for suffix in ("", REFERENCE)}
KNEES = pd.DataFrame(COLUMNS)
TUNE = pd.DataFrame(
    [
        {
            "fold": 0,
            "trial": f"t{t}",
            "epoch": e,
            "icc": 0.1 * e,
            "temperature": 1.0 + t,
            "status": "winner" if t else "stopped",
        }
        for t in range(2)
        for e in range(3)
    ]
)
BONES = pd.DataFrame(
    {
        "bone": ["femur", "tibia"] * 5,
        "accepted": [True] * 9 + [False],
        "error_mm": 0.3,
        "surface_mm": 0.4,
        "dice": 0.9,
    }
)
DRAWN: dict[str, Callable[[], Figure]] = {
    "cohort": lambda: figures.cohort(KNEES),
    "cohort without labels": lambda: figures.cohort(KNEES.assign(oa=pd.NA, kl_grade=pd.NA)),
    "target errors": lambda: figures.target_errors(BONES),
    "quality": lambda: figures.registration_quality(BONES),
    "agreement": lambda: figures.agreement({"distilled": KNEES}, "MR"),
    "agreement of two patients": lambda: figures.agreement({"distilled": KNEES.head(2)}, "MR"),
    "differences": lambda: figures.differences({"baseline": KNEES}, "MR"),
    "differences of two patients": lambda: figures.differences({"baseline": KNEES.head(2)}, "MR"),
    "forest": lambda: figures.forest({"MR": {"teacher": {"BV/TV": (0.5, 0.2, 0.7)}}}),
    "roc": lambda: charts.roc({"distilled": KNEES}, {"distilled": "AUC"}, seed=0),
    "probabilities": lambda: charts.probabilities({"distilled": KNEES}),
    "calibration": lambda: charts.calibration({"distilled": KNEES}),
    "search": lambda: charts.search(TUNE),
    "times": lambda: charts.times([("ingest", 3.0), ("register", 300.0)]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_is_labelled_and_the_bytes_repeat(name: str) -> None:
    with styled():
        figure = DRAWN[name]()
        assert all(axes.get_xlabel() for axes in figure.axes)
        assert any(axes.get_ylabel() for axes in figure.axes) or name == "forest" or name == "times"
        assert svg_uri(figure).startswith("data:image/svg+xml;base64,")
        if name in ("roc", "target errors"):
            assert svg_uri(DRAWN[name]()) == svg_uri(DRAWN[name]())


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("agreement", "Tb.Th (mm)"),
        ("target errors", "error (mm)"),
        ("cohort", "age (years)"),
        ("times", "(s)"),
    ],
)
def test_lengths_and_times_carry_their_units(name: str, unit: str) -> None:
    with styled():
        assert any(unit in axes.get_xlabel() for axes in DRAWN[name]().axes)


def test_predicted_values_and_differences_carry_their_units() -> None:
    with styled():
        labels = {
            name: [axes.get_ylabel() for axes in DRAWN[name]().axes] for name in ("agreement", "differences")
        }
    assert labels["agreement"][1:] == ["Tb.Th (mm)", "Tb.Sp (mm)", "Tb.N (1/mm)"]
    assert labels["differences"][1:] == ["difference (mm)", "difference (mm)", "difference (1/mm)"]


LOW = {"MR": {"teacher": {"BV/TV": (-3.0, -3.0, -3.0), "Tb.Th": (-0.4, -2.9, 0.9), "Tb.N": (0.5, 0.2, 0.7)}}}


def test_an_icc_below_minus_one_is_an_arrow_with_its_number_and_leaves_the_axis_readable() -> None:
    with styled():
        [axes] = figures.forest(LOW).axes
    arrows = [line for line in axes.lines if line.get_marker() == "<"]
    dots = [
        x
        for line in axes.lines
        if line.get_marker() == "o"
        for x in np.asarray(line.get_xdata(), dtype=float)
    ]
    assert [text.get_text() for text in axes.texts] == ["-3.00"]
    assert len(arrows) == 2
    assert sorted(dots) == [-0.4, 0.5]
    left, right = axes.get_xlim()
    assert -1.1 < left < -1
    drawn = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    assert ((left <= drawn) & (drawn <= right)).all()


def test_the_axis_of_ordinary_iccs_is_not_stretched() -> None:
    with styled():
        [axes] = DRAWN["forest"]().axes
    assert axes.get_xlim()[0] == pytest.approx(-0.52)


def test_too_few_patients_are_said_in_the_figure() -> None:
    with styled():
        titles = [axes.get_title() for axes in DRAWN["agreement of two patients"]().axes]
    assert titles == ["ICC not estimable"] * 4


def test_a_bone_without_a_pose_is_counted_and_not_drawn_at_zero() -> None:
    nowhere = BONES.assign(accepted=False, dice=0.0, surface_mm=0.0).head(1)
    figure = figures.registration_quality(pd.concat([BONES, nowhere], ignore_index=True))
    drawn = sum(np.shape(points.get_offsets())[0] for points in figure.axes[0].collections)
    assert drawn == len(BONES)
