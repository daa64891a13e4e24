from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srrd_ray.core.errors import ConfigError
from srrd_ray.diagnosis import patient_folds
from srrd_ray.diagnosis.splits import rows_of_fold


@given(
    labels=st.lists(st.sampled_from([0, 1, None]), min_size=6, max_size=60),
    folds=st.integers(2, 6),
    seed=st.integers(0, 2**31),
)
def test_folds_differ_by_at_most_one_patient_in_all_and_in_every_class(
    labels: list[int | None], folds: int, seed: int
) -> None:
    patients = [f"p{n}" for n in range(len(labels))]
    found = patient_folds(patients, labels, folds, seed)
    assert sorted(found) == sorted(patients)
    for kept in (None, 0, 1):
        counts = np.bincount(
            [found[p] for p, label in zip(patients, labels, strict=True) if label == kept], minlength=folds
        )
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(list(found.values()), minlength=folds)) <= 1


def test_both_knees_of_a_patient_lie_in_one_fold_and_count_as_positive_if_one_is() -> None:
    patients = ["a", "a", "b", "c", "d"]
    found = patient_folds(patients, [0, 1, 0, 1, 0], 2, seed=0)
    assert len(found) == 4
    assert found["a"] != found["c"]


def test_the_order_of_rows_does_not_matter_but_the_seed_does() -> None:
    patients, labels = [f"p{n:02d}" for n in range(20)], [n % 2 for n in range(20)]
    found = patient_folds(patients, labels, 3, seed=1)
    assert list(found.items()) == list(patient_folds(patients[::-1], labels[::-1], 3, seed=1).items())
    assert found != patient_folds(patients, labels, 3, seed=2)


@pytest.mark.parametrize("folds", [0, 1, 4])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    with pytest.raises(ConfigError, match="3 patients"):
        patient_folds(["a", "b", "c"], [0, 1, 0], folds, seed=0)


def test_rows_of_a_fold_part_the_patients() -> None:
    train, test = rows_of_fold(["a", "b", "a", "c"], {"a": 0, "b": 1, "c": 1}, 0)
    assert (train, test) == ([1, 3], [0, 2])
