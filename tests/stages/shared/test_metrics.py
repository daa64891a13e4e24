from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.stages.shared.metrics import comparison
from srrd_ray.statistics.pairs import REFERENCE

ERRORS = {"distilled": 0.3, "school": 0.6, "baseline": 2.0}
"""SD of what a model adds to the truth, in SDs of the truth."""


def tables(patients: int = 24) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((patients, len(PARAMETERS)))
    found = {}
    for model, error in ERRORS.items():
        read = truth + error * rng.standard_normal(truth.shape)
        table = pd.DataFrame(read, columns=list(PARAMETERS))
        for p, name in enumerate(PARAMETERS):
            table[name + REFERENCE] = truth[:, p]
        found[model] = table.assign(
            participant=[f"{n:03d}" for n in range(patients)], side="R", bone="femur", compartment="medial",
            store="shard-00000", row=range(patients),
        )  # fmt: skip
    return found


def test_the_student_is_compared_with_the_baseline_and_with_the_reader_that_it_began_at() -> None:
    found: Any = comparison(tables(), 0)
    means = {model: one["icc"] for model, one in found["mean_icc"].items()}
    assert means["distilled"] > means["school"] > means["baseline"]
    for key, other in (("delta_icc", "baseline"), ("delta_icc_school", "school")):
        assert found[key] == pytest.approx(means["distilled"] - means[other])
        low, high = found[f"{key}_ci"]
        assert 0 < low < found[key] < high


def test_without_a_school_there_is_no_gain_over_its_reader() -> None:
    alone = {model: table for model, table in tables().items() if model != "school"}
    assert "delta_icc_school" not in comparison(alone, 0)
