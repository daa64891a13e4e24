"""A page tells how far its values repeat, or that nobody measured it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.report.infer_page import render_inference
from srrd_ray.report.infer_precision import held_in, least_change, precision_blocks
from srrd_ray.report.page import Grid, Note
from srrd_ray.statistics.model_precision import REPEATS, IntervalCoverage, ModelPrecision, RepeatError
from srrd_ray.statistics.precision import Precision
from tests.report.test_infer_page import EXPECTED, inference, words_of


def error(size: float) -> Precision:
    return Precision(
        subjects=28, degrees_of_freedom=28, rms_sd=size, rms_sd_ci=(size, size), rms_cv_percent=100 * size,
        rms_cv_percent_ci=(50 * size, 200 * size), least_significant_change=2.77 * size,
    )  # fmt: skip


RECORD = ModelPrecision(
    weights={}, simulated=True, knees=28, refused=2,
    errors=tuple(
        RepeatError(repeat=repeat, parameter="Tb.Th", error=error(0.01 * n), bone=bone, compartment=compartment)
        for n, repeat in enumerate(REPEATS, start=1)
        for bone, compartment in product(BONES, COMPARTMENTS)
    ),
    coverage=tuple(
        IntervalCoverage(parameter=parameter, group="all", name="all", patients=28, values=112, share=0.9, ci=(0.82, 0.95))
        for parameter in ("Tb.Th", None)
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return words_of(render_inference(replace(inference(), expected=EXPECTED, precision=RECORD)))


def test_each_value_has_the_change_on_another_day_that_is_more_than_noise(page: str) -> None:
    assert least_change(RECORD, "Tb.Th", ("femur", "medial")) == "0.055"
    assert page.count("0.245 to 0.355 0.055") == 4, "Tb.Th of each region"
    assert "a smaller difference of this value is noise" in page


def test_a_page_tells_how_each_repeat_differs_and_how_often_intervals_hold(page: str) -> None:
    for words in ("1.0 % (0.5 to 2.0); 0.028", "3.0 % (1.5 to 6.0); 0.083", "another scanner femur medial"):
        assert words in page, words
    assert "they held in 90 % (82 to 95) of the values of 28 other simulated knees" in page
    assert "2 scans were refused" in page


def test_a_parameter_that_was_not_measured_says_so(page: str) -> None:
    assert least_change(RECORD, "Tb.N", ("femur", "medial")) == "not measured"
    grid = precision_blocks(RECORD, outside=False)[0]
    assert isinstance(grid, Grid)
    assert {row[2] for row in grid.rows} == {"not measured"}, "BV/TV"


def test_a_model_without_figures_says_that_it_was_not_measured() -> None:
    text = words_of(render_inference(inference()))
    assert "A difference between two scans cannot be told from noise" in text
    assert text.count("not measured") >= 16, "every value of every region"
    assert held_in(None) == "; how often they hold was not measured"
    assert [type(block) for block in precision_blocks(None, outside=False)] == [Note]


def test_a_scan_outside_the_training_has_no_such_change_and_is_told_so() -> None:
    text = words_of(render_inference(replace(inference(in_distribution=False), precision=RECORD)))
    assert "0.055" not in text.split("Precision How far")[0]
    assert "do not hold for it" in text
    assert "do not hold for it" not in words_of(render_inference(replace(inference(), precision=RECORD)))
