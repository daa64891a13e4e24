from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.json_tree import Json
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.core.volume import Volume
from srrd_ray.report.infer_page import Inference, ModelFacts, render_inference
from srrd_ray.statistics.expected import ErrorToExpect, Expected, ModelExpectations, ReferenceRange, Sex
from tests.report.test_overlays import knee

RECORD: dict[str, Json] = {
    "side": "R", "in_distribution": True, "distance": 1.2, "flags": [], "cubes": 40, "cubes_outside_volume": 2,
    "cubes_outside_bone": 3, "probability": 0.4137, "model_sha256": {"fold-0": "ab" * 32}, "ct_sha256": "cd" * 32,
    "technique": {"ConvolutionKernel": "BONE", "KVP": "120"},
}  # fmt: skip
REAL = ModelFacts(name="distilled", sha256="ef" * 32, networks=3, patients=(57, 61), simulated=False)
CHECKS: list[Json] = [
    {"aspect": "voxel size", "verdict": "outside", "finding": "voxel si: 3 mm <b>"},
    {"aspect": "metal", "verdict": "outside", "finding": "0.40 cm3"},
    {"aspect": "kernel", "verdict": "unknown", "finding": "not told by the file"},
]
GROUPS: tuple[tuple[Sex, tuple[float | None, float | None]], ...] = (
    ("all", (None, None)),
    ("F", (60.0, 70.0)),
)
EXPECTED = Expected(
    simulated=False, patients=90, knees=104, women=50, men=40, with_oa=44, ages=(41.0, 83.0),
    models={
        "distilled": ModelExpectations(
            errors=(ErrorToExpect(parameter="Tb.Th", patients=90, bias=0.01, rmse=0.04, within_90=0.055),),
            ranges=tuple(
                ReferenceRange(
                    bone="femur", compartment="medial", parameter="Tb.Th", sex=sex, ages=ages, patients=30,
                    p5=0.211, p50=0.311, p95=0.411,
                )
                for sex, ages in GROUPS
            ),
        )
    },
)  # fmt: skip


def inference(*, value: float = 0.3, model: ModelFacts = REAL, lost: int = 0, **changes: Json) -> Inference:
    images = knee()
    values = np.where(images.bones.array > 0, value, np.nan).astype(np.float32)
    rows = [
        {
            "bone": b,
            "compartment": c,
            "cubes": 10,
            **dict.fromkeys(PARAMETERS, 0.3),
            **{p.cubes_sd: 0.02 for p in PARAMETER_OF.values()},
        }
        for b in BONES
        for c in COMPARTMENTS
    ]
    maps = dict.fromkeys(PARAMETERS, Volume(array=values, geometry=images.ct.geometry))
    return Inference(
        ct=images.ct, bones=images.bones, maps=maps, regions=pd.DataFrame(rows[lost:]), record=RECORD | changes,
        model=model, name="sub-1_side-R_ct.nii.gz",
    )  # fmt: skip


def words_of(page: str) -> str:
    """The text of a page, tags and styles left out."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())


@pytest.fixture(scope="module")
def trusted() -> str:
    return words_of(render_inference(replace(inference(), expected=EXPECTED)))


@pytest.fixture(scope="module")
def outside() -> str:
    return render_inference(
        inference(in_distribution=False, flags=["voxel z 3.0 (training 0.8 ± 0.1) <b>"], checks=CHECKS)
    )


def test_a_page_holds_values_and_probability(trusted: str) -> None:
    assert len(re.findall("0.300 ± 0.020", trusted)) == 12
    assert "0.41" in trusted
    assert "right knee" in trusted
    assert "outside the images" not in trusted


def test_a_value_has_the_interval_that_the_models_own_errors_give(trusted: str) -> None:
    assert len(re.findall("0.245 to 0.355", trusted)) == 4, "Tb.Th of each region"
    assert trusted.count("not known") >= 12, "the other parameters have none"


def test_usual_values_are_told_by_sex_and_age(trusted: str) -> None:
    assert trusted.count("0.311 (0.211 to 0.411)") == 3
    assert "women 60 to 69" in trusted
    assert "Not a healthy reference" in trusted


def test_a_page_says_which_ct_and_which_model(trusted: str) -> None:
    for words in (
        "sub-1_side-R_ct.nii.gz", "cd" * 32, "BONE", "120", "ef" * 32, "57 to 61 patients a network, of 90 in all",
        "50 / 40", "41 to 83", "not told by the file",
    ):  # fmt: skip
        assert words in trusted, words


def test_a_model_of_simulated_knees_is_called_so_first_of_all() -> None:
    page = words_of(render_inference(inference(model=replace(REAL, simulated=True))))
    said = page.index("SIMULATED TRAINING")
    assert said < page.index("Scan against training images")
    assert "SIMULATED knees" in page
    assert "57 to 61 simulated patients a network" in page
    assert "SIMULATED" not in words_of(render_inference(inference()))


def test_labels_that_simulated_knees_taught_are_called_so_too() -> None:
    page = words_of(render_inference(inference(model=replace(REAL, taught=True))))
    assert page.index("SIMULATED TEACHER") < page.index("Scan against training images")


def test_a_scan_outside_the_training_set_is_flagged_at_the_top_with_its_reasons(outside: str) -> None:
    words = words_of(outside)
    assert words.index("extrapolations") < words.index(
        "Values Mean of" if "Values Mean of" in words else "Region"
    )
    assert "voxel size, metal" in words
    for reason in ("voxel z 3.0 (training 0.8 ± 0.1) &lt;b&gt;", "voxel si: 3 mm &lt;b&gt;", "0.40 cm3"):
        assert reason in outside


def test_a_scan_outside_the_training_has_no_probability_and_grey_values(outside: str) -> None:
    assert "0.41" not in words_of(outside)
    assert "not given" in outside
    assert 'class="numeric faded' in outside
    assert "unknown outside the training" in outside
    assert 'class="numeric faded' not in render_inference(inference())


def test_a_region_without_value_is_named_with_the_reason() -> None:
    lost: list[Json] = [
        {"bone": "femur", "compartment": "medial", "cause": "volume", "reason": "no cube fits: 12 places"}
    ]
    page = words_of(render_inference(inference(lost=2, not_measured=lost)))
    assert "Not measured: femur medial. No cube fits: 12 places." in page
    assert "Not measured: femur lateral." in page
    assert "All regions were measured" in words_of(render_inference(inference()))


def test_nothing_measured_is_said_in_words() -> None:
    page = render_inference(inference(value=float("nan"), probability=None))
    assert "No map can be drawn" in page
    assert "not estimable" in page
