from __future__ import annotations

import numpy as np
import pytest

from srrd_ray.diagnosis import DiagnosisConfig, LabelledKnees, patient_folds
from srrd_ray.diagnosis.variants import INPUTS, compare
from srrd_ray.statistics import auc
from tests.diagnosis.toys import knees

CONFIG = DiagnosisConfig(inverse_penalties=(0.1, 1.0), inner_folds=2)

pytestmark = pytest.mark.training


def test_every_classifier_says_something_of_every_knee_by_all_inputs_that_it_can_read() -> None:
    toy = knees(36, 2.5)
    shape = np.random.default_rng(1).normal(size=(36, 2))
    shape[5, 0] = np.nan
    data = LabelledKnees(
        readings=toy.values, cubes=toy.cubes, shape=shape, labels=toy.labels, patients=toy.patients
    )
    folds = patient_folds(toy.patients, toy.labels.tolist(), 2, seed=0)
    found = [variant for inputs in INPUTS for variant in compare(data, inputs, folds, CONFIG, seed=0)]
    assert [(one.inputs, one.classifier) for one in found] == [
        ("readings", "logistic"),
        ("readings", "boosting"),
        ("readings", "set-transformer"),
        ("shape", "logistic"),
        ("shape", "boosting"),
        ("both", "logistic"),
        ("both", "boosting"),
        ("both", "set-transformer"),
    ]
    assert all(((one.probability > 0) & (one.probability < 1)).all() for one in found)
    areas = {(one.inputs, one.classifier): auc(toy.labels, one.probability) for one in found}
    assert min(area for (inputs, _), area in areas.items() if inputs != "shape") > 0.75
    assert max(area for (inputs, _), area in areas.items() if inputs == "shape") < 0.75, "shape is noise here"
