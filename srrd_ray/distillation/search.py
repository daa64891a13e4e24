"""What one trial of the search does: train a student on some patients of a fold, score it on the others,
epoch by epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.devices import fastest_device
from srrd_ray.core.errors import NotEstimableError, TrainingError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Shard
from srrd_ray.distillation.config import Candidate, DistillationConfig
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.inference import TeacherOutputs, predict
from srrd_ray.distillation.networks import PatchRegressor
from srrd_ray.distillation.step import StudentLearner
from srrd_ray.statistics.agreement import icc_value
from srrd_ray.statistics.estimate import paired


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrialInputs:
    """The cubes of the training patients of one fold, the teacher's outputs on them, and the network that
    students begin at (null: a ridge regression).
    """

    data: DistillationData
    outputs: TeacherOutputs
    start: PatchRegressor | None = None


def trial(inputs: TrialInputs, chosen: Candidate, config: DistillationConfig, seed: int) -> Iterator[float]:
    """Yield the mean ICC(A,1) of the four parameters after each epoch, on inner validation patients.

    The student never sees these patients;
    the fold's teacher did, so that scores of guided trials may be a little high.
    The patients of the outer fold take no part.

    Raises
    ------
    TrainingError
        `loss-not-finite` or `prediction-not-finite`: the trial has failed, the others go on.
    """
    held = validation_rows(inputs.data.patients, config.search.inner_folds, seed)
    settings = replace(config.choosing(chosen), student_epochs=config.search.epochs)
    data, outputs = inputs.data.rows(~held), inputs.outputs.rows(~held)
    student = StudentLearner("trial", data, settings, seed, outputs, start=inputs.start)
    rest, device = inputs.data.rows(held), fastest_device()
    modules = {name: module.to(device) for name, module in student.modules().items()}
    for epoch in range(config.search.epochs):
        student.train_epoch(epoch, Shard(), modules)
        yield agreement(predict(student.network, rest.ct, rest.ct_mask)[0], rest)


def validation_rows(patients: NDArray[np.str_], inner_folds: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows belong to inner validation patients: one patient in `inner_folds`, at least one."""
    order = sorted({str(p) for p in patients}, key=lambda patient: seed_from(seed, "inner", patient))
    return np.isin(patients, order[: max(len(order) // inner_folds, 1)])


def agreement(predicted: NDArray[np.float32], data: DistillationData) -> float:
    """Return the mean over parameters of ICC(A,1) between predicted and
    measured means of each patient's regions.

    A parameter without a value (fewer than three regions, or neither side tells them apart) counts as 0.
    Few regions give scores far below -1.

    Raises
    ------
    TrainingError
        `prediction-not-finite`: 0 would be better than the score of a
        student whose predictions are merely bad.
    """
    if not np.isfinite(predicted).all():
        raise TrainingError(
            "prediction-not-finite",
            "a trial predicts values that are not finite",
            got=f"{int(np.count_nonzero(~np.isfinite(predicted)))} of {predicted.size}",
            todo="Lower the learning rate or the loss weights.",
        )
    predicted_means, measured_means = (region_means(values, data) for values in (predicted, data.targets))
    return float(
        np.mean([_icc_or_zero(a, b) for a, b in zip(predicted_means.T, measured_means.T, strict=True)])
    )


def _icc_or_zero(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    try:
        return icc_value(*paired(a, b, 3))
    except NotEstimableError:
        return 0.0


def region_means(values: NDArray[np.float32], data: DistillationData) -> NDArray[np.float64]:
    """Return the means of `values` (n, parameter) over the cubes of each patient's region, sorted."""
    keys = np.array([f"{p}/{r}" for p, r in zip(data.patients, data.regions, strict=True)])
    _, group = np.unique(keys, return_inverse=True)
    sums = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(sums, group, values.astype(np.float64))
    return sums / np.bincount(group)[:, None]
