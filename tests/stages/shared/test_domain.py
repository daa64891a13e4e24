from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from srrd_ray.distillation.fingerprint import Distance
from srrd_ray.imaging.source import Note
from srrd_ray.patches import SubchondralPoint
from srrd_ray.stages.shared.domain import DomainCheck, check_domain
from srrd_ray.stages.shared.reading import KneeReading, NotMeasured

POINT = SubchondralPoint(bone="tibia", compartment="medial", center_lps_mm=(0.0, 0.0, 0.0), depth_mm=5.0)
INSIDE = KneeReading(
    points=(POINT,) * 40, table=pd.DataFrame(), distance=Distance(largest=1.0, flagged=False, reasons=()),
    outside_volume=20, outside_bone=2,
)  # fmt: skip


def outside(reading: KneeReading, *notes: Note) -> dict[str, str]:
    checks = check_domain(reading, {}, notes)
    return {check.aspect: check.finding for check in checks if check.verdict == "outside"}


def test_a_scan_like_those_of_the_training_is_inside_in_every_aspect() -> None:
    assert outside(INSIDE) == {}


@pytest.mark.parametrize(
    ("feature", "aspect"),
    [
        ("log_voxel_si", "voxel size"),
        ("log_sd", "noise and sharpness"),
        ("log_variogram_ap_1", "noise and sharpness"),
        ("mean_hu", "density"),
    ],
)
def test_a_far_feature_is_told_as_what_it_means(feature: str, aspect: str) -> None:
    far = Distance(largest=9.0, flagged=True, reasons=("too far",), features=(feature,))
    assert outside(replace(INSIDE, distance=far)) == {aspect: "too far"}


def test_every_reason_is_told_not_only_the_largest() -> None:
    far = Distance(
        largest=9.0,
        flagged=True,
        reasons=("a", "b", "c"),
        features=("log_voxel_si", "log_voxel_ap", "log_sd"),
    )
    cut = NotMeasured(bone="femur", compartment="lateral", cause="volume", reason="")
    reading = replace(INSIDE, distance=far, unlike=30, not_measured=(cut,))
    found = outside(reading, Note(severity="FLAG", code="ct-metal", message="a screw"))
    assert found["voxel size"] == "a; b"
    assert found["noise and sharpness"] == "c"
    assert found["metal"] == "a screw"
    assert "30 of 40" in found["lesions"]
    assert "femur lateral" in found["field of view"]


def test_a_region_that_leaves_the_bone_is_no_matter_of_the_field_of_view() -> None:
    lost = NotMeasured(bone="femur", compartment="lateral", cause="bone", reason="")
    assert outside(replace(INSIDE, not_measured=(lost,))) == {}


def test_the_header_is_told_and_never_judged() -> None:
    told = {check.aspect: check for check in check_domain(INSIDE, {"ConvolutionKernel": "B70f"}, ())}
    assert told["kernel"].verdict == told["tube voltage"].verdict == "unknown"
    assert "B70f" in told["kernel"].finding
    assert "not told" in told["tube voltage"].finding
    assert isinstance(told["metal"], DomainCheck)
