"""The precision of a model lies in its folder, and is of its own weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.stages.shared.models import read_card
from srrd_ray.stages.shared.precision import precision_figures, read_precision, write_precision
from srrd_ray.stages.shared.school_files import SHIPPED
from srrd_ray.statistics.model_precision import IntervalCoverage, ModelPrecision, RepeatError
from srrd_ray.statistics.precision import precision


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "reader").mkdir()
    for path in (SHIPPED / "ct").glob("[fm]*"):
        shutil.copy(path, tmp_path / "reader")
    return tmp_path / "reader"


def record_of(model: Path) -> ModelPrecision:
    error = precision([[0.2, 0.21], [0.25, 0.25], [0.3, 0.29]])
    held = IntervalCoverage(
        parameter="Tb.Th", group="all", name="all", patients=3, values=12, share=0.75, ci=(0.4, 0.95)
    )
    return ModelPrecision(
        weights=read_card(model).weights, simulated=True, knees=3, refused=0,
        errors=(
            RepeatError(repeat="another day", parameter="Tb.Th", error=error),
            RepeatError(repeat="another day", parameter="Tb.Th", error=error, bone="tibia", compartment="medial"),
            RepeatError(repeat="repositioned", parameter="BV/TV", error=error, bone="tibia", compartment="medial"),
        ),
        coverage=(held,),
    )  # fmt: skip


def test_what_was_written_is_read_back(model: Path) -> None:
    assert read_precision(model) is None
    record = record_of(model)
    write_precision(model, record)
    assert read_precision(model) == record


def test_the_precision_of_other_weights_is_refused(model: Path) -> None:
    other = replace(record_of(model), weights={"fold-0.safetensors": "0" * 64})
    with pytest.raises(StoreError, match=r"model-altered.*other weights"):
        write_precision(model, other)
    write_precision(model, record_of(model))
    text = (model / "precision.json").read_text()
    (model / "precision.json").write_text(
        text.replace(record_of(model).weights["fold-0.safetensors"], "0" * 64)
    )
    with pytest.raises(StoreError, match=r"model-altered.*measure again"):
        read_precision(model)


def test_a_card_has_the_regions_on_one_day_and_the_knee_on_another(model: Path) -> None:
    told = {figure.name: figure.text() for figure in precision_figures(record_of(model))}
    assert list(told) == [
        "Tb.Th: RMS-CV (%), 3 simulated knees another day, mean of the regions",
        "Tb.Th: least significant change (mm), 3 simulated knees another day, mean of the regions",
        "BV/TV: RMS-CV (%), 3 simulated knees repositioned, tibia medial",
        "Tb.Th: coverage of the 90 % interval, 3 simulated knees",
    ]
    assert told["Tb.Th: coverage of the 90 % interval, 3 simulated knees"] == "0.75 [0.40, 0.95]"
    assert (
        told["Tb.Th: least significant change (mm), 3 simulated knees another day, mean of the regions"]
        == "0.016"
    )
