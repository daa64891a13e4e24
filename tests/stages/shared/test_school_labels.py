from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.fingerprint import fit_mr_fingerprint
from srrd_ray.stages.shared.school_labels import label_table, like_the_school
from tests.distillation.toys import toy

SCHOOL = toy(64, seed=3)
FINGERPRINT = fit_mr_fingerprint(SCHOOL.mr, SCHOOL.mr_mask)


def noisy(data: DistillationData, patients: set[str]) -> DistillationData:
    """Noise that no scanner of the school has, in the MR of some patients."""
    rng = np.random.default_rng(0)
    added = rng.normal(0, 0.6, data.mr.shape) * np.isin(data.patients, sorted(patients))[:, None, None, None]
    return replace(data, mr=(data.mr + added).astype(np.float16))


def test_mr_that_the_school_never_saw_is_not_learnt_from_and_says_why() -> None:
    data = noisy(toy(32, seed=4), {"p1"})
    kept = like_the_school(data, FINGERPRINT)
    assert set(kept.patients) == {"p0", "p2", "p3"}
    table = label_table(data, FINGERPRINT).set_index("participant")
    assert list(table["learnt_from"]) == [True, False, True, True]
    assert table.loc["p1", "mr_distance"] > 4
    assert "variogram" in table.loc["p1", "reasons"]
    assert table.loc["p0", "reasons"] == ""
    assert set(table["cubes"]) == {8}


def test_a_cohort_wholly_outside_the_school_is_refused_with_what_to_do() -> None:
    data = noisy(toy(16, seed=4), {"p0", "p1"})
    with pytest.raises(InputError, match=r"\[mr-outside-school\].*labels: measured"):
        like_the_school(data, FINGERPRINT)
    with pytest.raises(InputError, match=r"\[mr-outside-school\]"):
        label_table(data, FINGERPRINT)  # the first stage that learns stops already
