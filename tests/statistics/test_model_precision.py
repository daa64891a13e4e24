from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.statistics.expected import ErrorToExpect
from srrd_ray.statistics.model_precision import (
    REPEATS,
    ModelPrecision,
    interval_coverage,
    repeat_errors,
)
from srrd_ray.statistics.precision import precision

RNG = np.random.default_rng(8)
REGIONS = list(product(BONES, COMPARTMENTS))
KNEES = 12


def scans() -> Iterator[dict[str, object]]:
    """Each knee's values lie 1 % apart in repeated scans of the femur, 3 % apart in those of the tibia."""
    for knee, (bone, compartment) in product(range(KNEES), REGIONS):
        value = RNG.normal(1.0, 0.1)
        for visit, sign in zip(("first", *REPEATS), (-1, 1, 1, 1), strict=True):
            size = value * (1 + sign * (0.01 if bone == "femur" else 0.03) / np.sqrt(2))
            row: dict[str, object] = {
                "participant": f"p{knee}",
                "visit": visit,
                "bone": bone,
                "compartment": compartment,
            }
            yield row | dict.fromkeys(PARAMETERS, size)


TABLE = pd.DataFrame(list(scans()))
FOUND = list(repeat_errors(TABLE))


def record_of() -> ModelPrecision:
    return ModelPrecision(
        weights={}, simulated=True, knees=KNEES, refused=0, errors=tuple(FOUND), coverage=()
    )


def test_each_region_has_the_precision_of_its_own_scans() -> None:
    record = record_of()
    assert len(FOUND) == len(REPEATS) * len(PARAMETERS) * 5
    for repeat, parameter in product(REPEATS, PARAMETERS):
        for bone, percent in (("femur", 1.0), ("tibia", 3.0)):
            error = record.error(repeat, parameter, (bone, "medial"))
            assert error is not None
            assert error.rms_cv_percent == pytest.approx(percent)
            assert error.subjects == KNEES


def test_that_of_a_knee_is_of_the_mean_of_its_regions() -> None:
    whole = record_of().error("another day", "Tb.Th", None)
    means = TABLE.groupby(["participant", "visit"])["Tb.Th"].mean().unstack()
    assert whole == precision(means[["first", "another day"]])


def test_a_region_that_one_scan_lacks_is_in_neither_mean() -> None:
    lost = (TABLE["participant"] == "p0") & (TABLE["visit"] == "repositioned") & (TABLE["bone"] == "tibia")
    values = TABLE.assign(
        **{name: TABLE[name].where(TABLE["participant"] != "p0", 1.0) for name in PARAMETERS}
    )
    values.loc[(values["participant"] == "p0") & (values["bone"] == "tibia"), list(PARAMETERS)] = 5.0
    errors = [e for e in repeat_errors(values[~lost]) if e.repeat == "repositioned"]
    counts = {(e.bone, e.compartment): e.error.subjects for e in errors}
    assert counts == {("femur", "medial"): 12, ("femur", "lateral"): 12, ("tibia", "medial"): 11,
                      ("tibia", "lateral"): 11, (None, None): 12}  # fmt: skip
    assert all(e.error.rms_cv_percent < 4 for e in errors)


def test_what_was_not_measured_is_null() -> None:
    assert record_of().covered("Tb.N") is None
    empty = ModelPrecision(weights={}, simulated=True, knees=3, refused=0, errors=(), coverage=())
    assert empty.error("repositioned", "Tb.N", None) is None


def test_the_coverage_is_counted_in_all_by_region_and_by_hospital() -> None:
    first = TABLE[TABLE["visit"] == "first"].assign(hospital=np.repeat(np.arange(KNEES) % 3, 4))
    off = np.where(first["bone"] == "femur", 0.05, 0.2)
    values = first.assign(**{f"{name}.reference": first[name] + off for name in PARAMETERS})
    errors = [
        ErrorToExpect(parameter=name, patients=9, bias=0.0, rmse=0.1, within_90=0.1)
        for name in PARAMETERS[:2]
    ] + [ErrorToExpect(parameter="Tb.N", patients=8, bias=0.0, rmse=0.1, within_90=None)]
    found = {(c.parameter, c.name): c for c in interval_coverage(values, errors)}
    assert len(found) == 3 * (1 + 4 + 3), "two parameters, and both together"
    assert (found[None, "all"].share, found[None, "all"].values) == (0.5, 96)
    assert found["BV/TV", "femur medial"].share == 1
    assert found["BV/TV", "tibia lateral"].share == 0
    assert (found["Tb.Th", "hospital 2"].patients, found["Tb.Th", "hospital 2"].values) == (4, 16)
