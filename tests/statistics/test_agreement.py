from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from numpy.typing import NDArray

from srrd_ray.core.errors import ConfigError, NotEstimableError
from srrd_ray.statistics import bias_percent, bias_slope, bland_altman, ccc, cv_percent, errors, icc, line
from srrd_ray.statistics.agreement import Form, icc_value, icc_values

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
FORMS: tuple[Form, Form] = ("A,1", "C,1")


def pair(seed: int, n: int = 30, bias: float = 0.3, noise: float = 0.6) -> Pair:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    return truth + rng.normal(scale=noise, size=n) + bias, truth + rng.normal(scale=noise / 2, size=n)


def oracle(a: NDArray[np.float64], b: NDArray[np.float64], form: Form) -> tuple[float, float, float]:
    n = a.size
    long = pd.DataFrame({"s": np.tile(np.arange(n), 2), "m": np.repeat(["a", "b"], n), "v": np.r_[a, b]})
    table = pingouin.intraclass_corr(long, targets="s", raters="m", ratings="v").set_index("Type")
    row = table.loc[f"ICC({form})"]
    interval = next(row[name] for name in row.index if str(name).startswith("CI95"))
    return float(row["ICC"]), float(interval[0]), float(interval[1])


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(5))
def test_icc_and_interval_are_those_of_pingouin(form: Form, seed: int) -> None:
    a, b = pair(seed, n=8 + 7 * seed, bias=0.2 * seed)
    value, low, high = icc(a, b, form)
    expected, expected_low, expected_high = oracle(a, b, form)
    assert value == pytest.approx(expected, abs=1e-9)
    assert (low, high) == pytest.approx((expected_low, expected_high), abs=0.006)


def test_icc_of_shrout_and_fleiss_by_hand() -> None:
    a, b = np.array([9.0, 6.0, 8.0, 7.0, 10.0, 6.0]), np.array([2.0, 1.0, 4.0, 1.0, 5.0, 2.0])
    subjects, methods = np.var((a + b) / 2, ddof=1) * 2, 6 * ((a.mean() - b.mean()) / 2) ** 2 * 2
    rest = np.var(a - b, ddof=1) / 2
    assert icc(a, b).value == pytest.approx((subjects - rest) / (subjects + rest + 2 / 6 * (methods - rest)))
    assert icc(a, b, "C,1").value == pytest.approx((subjects - rest) / (subjects + rest))


def test_a_constant_shift_lowers_agreement_but_not_consistency() -> None:
    truth = np.arange(10.0)
    n, shift, variance = 10, 2.0, np.var(truth, ddof=1)
    absolute, consistent = icc(truth + shift, truth), icc(truth + shift, truth, "C,1")
    assert absolute.value == pytest.approx(2 * variance / (2 * variance + 2 / n * n * shift**2 / 2))
    assert tuple(consistent) == (1.0, 1.0, 1.0)
    assert absolute.low < absolute.value < absolute.high


@pytest.mark.parametrize("form", FORMS)
def test_identical_values_agree_perfectly(form: Form) -> None:
    assert tuple(icc([1, 2, 3, 4], [1, 2, 3, 4], form)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("form", FORMS)
def test_icc_is_symmetric_and_free_of_unit(form: Form) -> None:
    a, b = pair(3)
    assert tuple(icc(a, b, form)) == pytest.approx(tuple(icc(b, a, form)))
    assert tuple(icc(a, b, form)) == pytest.approx(tuple(icc(1000 * a, 1000 * b, form)))


@pytest.mark.parametrize("n", [3, 4, 5, 30])
def test_reversed_values_have_the_least_icc_that_the_definition_allows(n: int) -> None:
    assert tuple(icc(np.arange(n), -np.arange(n) + n - 1)) == pytest.approx([-n / (n - 2)] * 3)
    assert tuple(icc(np.arange(n), -np.arange(n), "C,1")) == (-1.0, -1.0, -1.0)


def test_icc_interval_covers_the_population_value() -> None:
    rho, hits = 0.7, 0
    rng = np.random.default_rng(0)
    for _ in range(400):
        truth = rng.normal(scale=np.sqrt(rho), size=16)
        a, b = truth + rng.normal(scale=np.sqrt(1 - rho), size=(2, 16))
        estimate = icc(a, b, "C,1")
        hits += estimate.low <= rho <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        ([1, 2], [1, 2], "too-few"),
        ([], [], "too-few"),
        ([1, 2, 3], [1, 2], "pairs-differ"),
        ([1, 2, float("nan")], [1, 2, 3], "values-not-finite"),
        ([1, 2, float("inf")], [1, 2, 3], "values-not-finite"),
        ([5, 5, 5], [5, 5, 5], "no-variance"),
        ([0.1 + 0.2] * 3, [0.3] * 3, "no-variance"),
    ],
)
def test_icc_without_a_value_says_why(a: list[float], b: list[float], code: str) -> None:
    with pytest.raises(NotEstimableError) as caught:
        icc(a, b)
    assert caught.value.code == code
    assert "nan" not in str(caught.value).lower()


@pytest.mark.parametrize("form", FORMS)
def test_two_constants_tell_no_subjects_apart(form: Form) -> None:
    with pytest.raises(NotEstimableError, match="do not differ"):
        icc([1, 1, 1], [2, 2, 2], form)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"A,1"):
        icc([1, 2, 3], [1, 2, 4], "ICC3")  # type: ignore[arg-type]


def test_a_constant_prediction_has_an_icc_but_no_correlation() -> None:
    truth = np.arange(10.0)
    assert icc(np.full(10, truth.mean()), truth).value == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(NotEstimableError, match="constant"):
        line(np.full(10, 4.5), truth)


def test_ccc_is_lins_closed_form_and_its_interval_covers() -> None:
    a, b = pair(1)
    expected = 2 * np.cov(a, b, ddof=0)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert ccc(a, b).value == pytest.approx(expected)
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        truth = rng.normal(size=40)
        x, y = truth, truth * 0.8 + rng.normal(scale=0.6, size=40) + 0.5
        hits += ccc(x, y).low <= 2 * 0.8 / (1 + 1 + 0.25) <= ccc(x, y).high
    assert 0.91 <= hits / 400 <= 0.98


def test_ccc_of_identical_values_is_one() -> None:
    assert tuple(ccc([1, 2, 3, 4], [1, 2, 3, 4])) == pytest.approx((1, 1, 1))


def test_errors_of_a_line_are_those_of_the_line() -> None:
    truth = np.linspace(1, 2, 11)
    found = errors(0.5 * truth + 1, truth)
    assert tuple(line(0.5 * truth + 1, truth)) == pytest.approx((1, 0.5, 1))
    assert bias_percent(0.5 * truth + 1, truth) == pytest.approx(100 * 0.25 / 1.5)
    assert found.bias == pytest.approx(0.25)
    assert found.mae == pytest.approx(0.25)
    assert found.rmse == pytest.approx(np.sqrt(((1 - 0.5 * truth) ** 2).mean()))


def test_rms_cv_of_a_fixed_ratio_is_closed_form() -> None:
    truth = np.array([1.0, 2.0, 4.0, 8.0])
    assert cv_percent(1.1 * truth, truth) == pytest.approx(100 * 0.1 / np.sqrt(2) / 1.05)


def test_bland_altman_without_repeats_is_mean_and_standard_deviation() -> None:
    a, b = pair(5)
    found = bland_altman(a, b)
    assert found.bias == pytest.approx((a - b).mean())
    assert found.high - found.bias == pytest.approx(1.96 * (a - b).std(ddof=1))
    assert found.se_limit == pytest.approx((a - b).std(ddof=1) * np.sqrt(3 / 30))


def test_bland_altman_finds_both_components_of_variance() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(2000), 4)
    difference = np.repeat(rng.normal(scale=2.0, size=2000), 4) + rng.normal(scale=1.0, size=8000) + 3
    found = bland_altman(difference + 100, np.full(8000, 100.0), patients)
    assert found.bias == pytest.approx(3, abs=0.15)
    assert found.sd == pytest.approx(np.sqrt(5), rel=0.03)
    assert found.se_bias == pytest.approx(np.sqrt(5 / 2000), rel=0.03)


def test_the_slope_of_the_difference_shows_a_bias_that_grows() -> None:
    truth = np.linspace(1, 2, 20)
    assert bias_slope(truth, truth + 1) == pytest.approx(0)
    assert bias_slope(0.5 * truth, truth) == pytest.approx(-0.5 / 0.75)


def test_bland_altman_needs_three_patients() -> None:
    with pytest.raises(NotEstimableError, match="patients"):
        bland_altman([1, 2, 3, 4], [1, 2, 3, 5], ["p", "p", "q", "q"])


def test_many_methods_at_once_have_the_values_of_each() -> None:
    rng = np.random.default_rng(4)
    reference = rng.standard_normal((12, 4))
    methods = reference + rng.standard_normal((3, 12, 4)) * 0.7 + rng.standard_normal((3, 1, 4))
    each = [[icc_value(one[:, p], reference[:, p]) for p in range(4)] for one in methods]
    np.testing.assert_allclose(icc_values(methods, reference), each, rtol=1e-12)
    with pytest.raises(NotEstimableError, match="no-variance"):
        icc_values(np.ones((1, 12, 4)), np.ones((12, 4)))
