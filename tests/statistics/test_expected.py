from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.statistics.expected import FEWEST, bound_of_new, errors_to_expect, reference_ranges

RNG = np.random.default_rng(3)


def patches(patients: int) -> pd.DataFrame:
    """One patch a patient; all parameters are his number."""
    names = [f"p{n:03d}" for n in range(patients)]
    table = pd.DataFrame({"participant": names, "side": "L", "bone": "femur", "compartment": "medial"})
    return table.assign(**dict.fromkeys(PARAMETERS, np.arange(patients, dtype=np.float64)))


def people(patients: int) -> pd.DataFrame:
    """Patients of whom every second is a woman, 40 to 79 years old."""
    rows = [
        {"participant": f"p{n:03d}", "side": "L", "age": 40.0 + 40 * n / patients, "sex": "FM"[n % 2]}
        for n in range(patients)
    ]
    return pd.DataFrame(rows)


def test_the_bound_covers_nine_in_ten_new_patients() -> None:
    covered = []
    for _ in range(400):
        errors = np.abs(RNG.normal(size=41)) * 3
        bound = bound_of_new(errors[:40], np.arange(40).astype(str))
        assert bound is not None
        covered.append(errors[40] <= bound)
    assert np.mean(covered) == pytest.approx(37 / 41, abs=0.04)


def test_a_patient_with_many_regions_counts_as_one() -> None:
    few = bound_of_new(np.arange(1.0, 21.0), np.arange(20).astype(str))
    errors = np.r_[np.arange(1.0, 21.0), np.full(200, 1.0)]
    many = bound_of_new(errors, np.r_[np.arange(20), np.zeros(200, dtype=int)].astype(str))
    assert few == many == 19.0


def test_eight_patients_say_nothing_of_nine_in_ten() -> None:
    assert bound_of_new(np.ones(8), np.arange(8).astype(str)) is None


def test_errors_are_those_of_the_predictions() -> None:
    table = patches(12)
    reference = {f"{name}.reference": table[name] - 2.0 for name in PARAMETERS}
    found = list(errors_to_expect(table.assign(**reference)))
    assert [one.parameter for one in found] == list(PARAMETERS)
    assert all((one.bias, one.rmse, one.within_90, one.patients) == (2.0, 2.0, 2.0, 12) for one in found)


def test_a_range_has_enough_patients_of_its_sex_and_age_alone() -> None:
    found = list(reference_ranges(patches(100), people(100)))
    assert min(one.patients for one in found) >= FEWEST
    whole = next(one for one in found if (one.sex, one.ages) == ("all", (None, None)))
    assert (whole.p5, whole.p50, whole.p95) == pytest.approx((4.95, 49.5, 94.05))
    young = next(one for one in found if (one.sex, one.ages) == ("all", (None, 50.0)))
    assert (young.patients, young.p50) == (25, 12.0)
    women = next(one for one in found if (one.sex, one.ages) == ("F", (None, 50.0)))
    assert (women.patients, women.p50) == (13, 12.0)


def test_few_patients_have_no_range() -> None:
    assert list(reference_ranges(patches(FEWEST - 1), people(FEWEST - 1))) == []


def test_two_knees_of_a_patient_are_one_value() -> None:
    table, knees = patches(FEWEST), people(FEWEST)
    other = table.assign(side="R", **dict.fromkeys(PARAMETERS, 100.0))
    found = next(reference_ranges(pd.concat([table, other]), pd.concat([knees, knees.assign(side="R")])))
    assert found.patients == FEWEST
    assert found.p50 == pytest.approx(np.median((np.arange(FEWEST) + 100) / 2))
