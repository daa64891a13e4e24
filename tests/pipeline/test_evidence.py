from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.distillation.config import HyperParameters
from srrd_ray.pipeline.configuration import RunConfig
from srrd_ray.pipeline.evidence import CONTROLS, SHOWN, evidence_table
from srrd_ray.storage.tables import write_table

ERRORS = {"teacher": 0.1, "school": 0.4, "distilled": 0.2, "baseline": 2.0}
"""SD of what a model adds to the truth, in SDs of the truth."""


def planted(out: Path, patients: int = 30) -> Path:
    """The tables of every control: models that are off by known amounts."""
    rng = np.random.default_rng(0)
    truth = pd.DataFrame({"store": "shard-00000", "row": range(patients), "coverage": 1.0})
    for name, middle in zip(PARAMETERS, (0.2, 0.25, 0.7, 0.8), strict=True):
        truth[name] = middle * (1 + 0.1 * rng.standard_normal(patients))
    for control in CONTROLS:
        models = []
        for model, error in ERRORS.items():
            rows = truth[["store", "row"]].assign(
                participant=[f"p{n}" for n in range(patients)], side="R", bone="femur", compartment="medial",
                model=model, fold=0,
            )  # fmt: skip
            for name, about in PARAMETER_OF.items():
                off = error * truth[name].std() * rng.standard_normal(patients)
                rows[name], rows[about.predictive_sd] = truth[name] + off, 0.01
            models.append(rows)
        write_table(out / control / "predictions.parquet", pd.concat(models, ignore_index=True))
        write_table(out / control / "truth.parquet", truth)
    return out


def test_every_way_to_learn_stands_in_the_table_with_its_gain_over_ct_alone(tmp_path: Path) -> None:
    rows = evidence_table(planted(tmp_path), seed=1).splitlines()[2:]
    assert len(rows) == len(SHOWN)
    baseline = next(row for row in rows if ": baseline" in row)
    assert baseline.endswith("|  |")
    gains = [float(row.split("|")[4].split("[")[1].split(",")[0]) for row in rows if ": distilled" in row]
    assert len(gains) == 4
    assert min(gains) > 0.3
    assert sum("| MR |" in row for row in rows) == 2


def test_controls_differ_in_learning_alone() -> None:
    usual = RunConfig()
    for control in CONTROLS.values():
        config = control.config(usual, "/readers")
        assert (config.synthesis, config.registration, config.patches) == (
            usual.synthesis, usual.registration, usual.patches,
        )  # fmt: skip
        assert config.distillation.labels == control.labels
    alone = CONTROLS["reader-values"].config(usual, "/readers")
    assert alone.distillation.hyper == HyperParameters().without_teacher()
    assert alone.tune.trials == 1


def test_what_cannot_be_estimated_says_why(tmp_path: Path) -> None:
    table = evidence_table(planted(tmp_path, patients=2), seed=1)
    assert "not estimable: too-few" in table
