"""Assignment of patients to test folds: all data of a patient are in one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import seed_from


def patient_folds(
    patients: Sequence[str], labels: Sequence[int | None], folds: int, seed: int
) -> dict[str, int]:
    """Return the test fold of every patient.

    Patients are shuffled within their class and dealt out in turn, so that folds differ by at most one
    patient, in all and in every class (scikit-learn's StratifiedGroupKFold only approaches this).
    The result depends on the names, their labels and the seed, not on the order of the rows.

    Parameters
    ----------
    patients
        The patient of each row (knee or patch); names may repeat.
    labels
        The class of each row, None where unknown; a patient with any positive row counts as positive.

    Raises
    ------
    ConfigError
        `folds-invalid` for fewer than two folds or more folds than patients.
    """
    strata: dict[str, int] = {}
    for patient, label in zip(patients, labels, strict=True):
        strata[patient] = max(strata.get(patient, -1), -1 if label is None else int(label))
    if not 2 <= folds <= len(strata):
        raise ConfigError(
            "folds-invalid",
            "folds have to be two at least and no more than patients",
            got=f"{folds} folds, {len(strata)} patients",
            todo="Change the number of folds in the configuration, or bring more patients.",
        )
    ordered = sorted(strata, key=lambda patient: (-strata[patient], seed_from(seed, "fold", patient)))
    return {patient: index % folds for index, patient in sorted(enumerate(ordered), key=lambda pair: pair[1])}


def rows_of_fold(patients: Sequence[str], folds: Mapping[str, int], fold: int) -> tuple[list[int], list[int]]:
    """Return the rows to train on and the rows to test on in `fold`."""
    index = np.array([folds[patient] for patient in patients], dtype=np.intp)
    return np.flatnonzero(index != fold).tolist(), np.flatnonzero(index == fold).tolist()
