from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from srrd_ray.statistics.pairs import (
    REFERENCE,
    common,
    patient_pairs,
    patient_pairs_of,
    region_pairs,
    with_reference,
)

ROWS = pd.DataFrame(
    {
        "participant": ["a", "a", "a", "b", "b"],
        "side": ["L", "L", "R", "L", "L"],
        "bone": ["femur", "femur", "femur", "tibia", "tibia"],
        "compartment": ["medial"] * 5,
        "store": ["s"] * 5,
        "row": [0, 1, 2, 3, 4],
        "Tb.N": [1.0, 3.0, 5.0, 7.0, np.nan],
    }
)


def table() -> pd.DataFrame:
    return with_reference(ROWS, ROWS.assign(**{"Tb.N": [1.0, 1.0, 1.0, 2.0, 2.0]}), ("Tb.N",))


def test_regions_are_means_of_patches_and_patients_means_of_regions() -> None:
    assert region_pairs(table(), "Tb.N").method.tolist() == [2, 5, 7]
    found = patient_pairs(table(), "Tb.N")
    assert found.method.tolist() == pytest.approx([3.5, 7])
    assert found.reference.tolist() == [1, 2]
    assert found.patients.tolist() == ["a", "b"]


def test_patches_are_matched_by_store_and_row_whatever_their_order() -> None:
    shuffled = with_reference(ROWS.iloc[::-1], ROWS, ("Tb.N",)).dropna()
    assert (shuffled["Tb.N"] == shuffled["Tb.N" + REFERENCE]).all()


def test_a_patch_of_another_store_has_no_reference() -> None:
    assert with_reference(ROWS, ROWS.assign(store="other"), ("Tb.N",)).empty


def test_two_models_are_compared_on_the_patches_of_both() -> None:
    a, b = common(table(), table().iloc[1:3], ("Tb.N",))
    assert a["row"].tolist() == b["row"].tolist() == [1, 2]


def test_all_parameters_keep_the_same_patients() -> None:
    values = table().assign(other=[1.0, np.nan, np.nan, np.nan, 1.0], **{"other" + REFERENCE: 1.0})
    found = patient_pairs_of(values, ("Tb.N", "other"))
    assert [pairs.patients.tolist() for pairs in found] == [["a"], ["a"]]
