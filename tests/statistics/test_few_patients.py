"""What the definitions promise for any values, three and four patients first: bounds, intervals, symmetries, oracles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.linear_model import LogisticRegression

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import (
    Estimate,
    auc,
    auc_ci,
    bca,
    bias_percent,
    bias_slope,
    bland_altman,
    brier,
    calibration,
    ccc,
    cv_percent,
    delong_test,
    ece,
    errors,
    icc,
    line,
    logistic,
    roc_band,
    roc_points,
)
from srrd_ray.statistics.agreement import Form
from srrd_ray.statistics.regression import Pairs, mean_icc, pooled_icc

Values = NDArray[np.float64]
TwoValues = tuple[Values, Values]
FORMS: tuple[Form, Form] = ("A,1", "C,1")
QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def array_of(n: int) -> st.SearchStrategy[Values]:
    """Coarse values have ties, constants and reversals; fine ones have none."""
    coarse = st.integers(-3, 3).map(float)
    fine = st.floats(-100, 100).map(lambda x: round(x, 6))
    return st.one_of(*(st.lists(one, min_size=n, max_size=n) for one in (coarse, fine))).map(np.array)


@st.composite
def pairs(draw: st.DrawFn, least: int = 3, most: int = 6) -> TwoValues:
    n = draw(st.integers(least, most))
    return draw(array_of(n)), draw(array_of(n))


@st.composite
def graded(draw: st.DrawFn, positives: int = 2) -> tuple[NDArray[np.int_], Values, Values]:
    """Labels with both classes, and two scores."""
    ones, zeros = draw(st.integers(positives, 5)), draw(st.integers(positives, 5))
    return np.repeat([1, 0], [ones, zeros]), draw(array_of(ones + zeros)), draw(array_of(ones + zeros))


def or_none(compute: Callable[[], Estimate]) -> Estimate | None:
    """Return what is computed, warnings being errors; None where it is not estimable, and the reason has words."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return compute()
        except NotEstimableError as error:
            reason = str(error).lower()
    assert "nan" not in reason
    return None


def code_of(compute: Callable[[], object]) -> str:
    """Return the code of the reason why something is not estimable; nothing where it is."""
    try:
        compute()
    except NotEstimableError as error:
        return error.code
    return ""


def require_inside(found: Estimate, least: float, most: float) -> None:
    assert np.isfinite(found).all()
    assert least - 1e-12 <= found.low <= found.value <= found.high <= most


# ---------------------------------------------------------------- ICC


@QUICK
@given(pairs())
def test_icc_and_its_limits_lie_where_the_definition_puts_them(given_pair: TwoValues) -> None:
    a, b = given_pair
    for form in FORMS:
        least = -a.size / (a.size - 2) if form == "A,1" else -1.0
        found = or_none(partial(icc, a, b, form))
        if found is None:
            assert np.ptp(a) == np.ptp(b) == 0
        else:
            require_inside(found, least, 1.0)


@QUICK
@given(pairs(), st.floats(0.1, 50), st.floats(-20, 20))
def test_icc_knows_no_order_no_unit_and_no_origin(given_pair: TwoValues, unit: float, origin: float) -> None:
    a, b = given_pair
    assume(np.ptp(a) > 1e-3 or np.ptp(b) > 1e-3)
    turned = np.random.default_rng(0).permutation(a.size)
    for form in FORMS:
        found = tuple(icc(a, b, form))
        assert tuple(icc(b, a, form)) == pytest.approx(found, abs=1e-6)
        assert tuple(icc(a[turned], b[turned], form)) == pytest.approx(found, abs=1e-6)
        assert tuple(icc(unit * a + origin, unit * b + origin, form)) == pytest.approx(found, abs=1e-6)


def anova(a: Values, b: Values) -> tuple[float, float, float]:
    """Mean squares of rows, columns and error by the sums of squares of a table."""
    table = np.stack([a, b], axis=1)
    rows, columns, all_ = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True), table.mean()
    return (
        float(2 * ((rows - all_) ** 2).sum() / (a.size - 1)),
        float(a.size * ((columns - all_) ** 2).sum()),
        float(((table - rows - columns + all_) ** 2).sum() / (a.size - 1)),
    )


def of_mcgraw_and_wong(a: Values, b: Values, form: Form) -> tuple[float, float, float]:
    """Value and limits as table 4 and table 7 of the paper write them, k = 2."""
    (msr, msc, mse), n, k = anova(a, b), a.size, 2
    if form == "C,1":
        f, tail = msr / mse, stats.f.ppf(0.975, n - 1, n - 1)
        return (msr - mse) / (msr + mse), (f / tail - 1) / (f / tail + 1), (f * tail - 1) / (f * tail + 1)
    rho = (msr - mse) / (msr + (k - 1) * mse + k / n * (msc - mse))
    x, y = k * rho / (n * (1 - rho)), 1 + k * rho * (n - 1) / (n * (1 - rho))
    v = (x * msc + y * mse) ** 2 / ((x * msc) ** 2 / (k - 1) + (y * mse) ** 2 / ((n - 1) * (k - 1)))
    lower, upper = stats.f.ppf(0.975, n - 1, v), stats.f.ppf(0.975, v, n - 1)
    rest = k * msc + (k * n - k - n) * mse
    return (
        rho,
        n * (msr - lower * mse) / (lower * rest + n * msr),
        n * (upper * msr - mse) / (rest + n * upper * msr),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_icc_of_few_subjects_is_the_formula_of_the_paper(form: Form, n: int) -> None:
    rng, below = np.random.default_rng(n), 0
    for _ in range(200):
        a, b = rng.normal(size=(2, n)) + rng.uniform(-1, 1) * np.arange(n) * [[1], [-1]]
        found = icc(a, b, form)
        with np.errstate(invalid="ignore"):
            expected = of_mcgraw_and_wong(a, b, form)
        assert found.value == pytest.approx(expected[0])
        if expected[1] <= expected[0] <= expected[2]:
            assert tuple(found) == pytest.approx(expected, rel=1e-6, abs=1e-6)
        below += found.value < -1
    assert (below > 0) == (form == "A,1")


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("n", [3, 4, 6])
def test_icc_of_few_subjects_is_that_of_pingouin(n: int) -> None:
    rng, compared = np.random.default_rng(n), 0
    for _ in range(12):
        a, b = rng.normal(size=(2, n))
        long = pd.DataFrame({"s": np.tile(np.arange(n), 2), "m": np.repeat(["a", "b"], n), "v": np.r_[a, b]})
        table = pingouin.intraclass_corr(long, targets="s", raters="m", ratings="v").set_index("Type")
        for form in FORMS:
            row = table.loc[f"ICC({form})"]
            value, (low, high) = (
                row["ICC"],
                next(row[name] for name in row.index if str(name).startswith("CI95")),
            )
            found = icc(a, b, form)
            assert found.value == pytest.approx(value, abs=1e-9)
            if low <= value <= high:
                assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
                compared += 1
    assert compared > 12


@pytest.mark.parametrize("n", [3, 4])
def test_the_interval_of_few_subjects_covers_the_population_value(n: int) -> None:
    rng, rho, hits = np.random.default_rng(n), 0.5, 0
    for _ in range(1000):
        truth = rng.normal(scale=np.sqrt(rho), size=n)
        a, b = truth + rng.normal(scale=np.sqrt(1 - rho), size=(2, n))
        found = icc(a, b)
        hits += found.low <= rho <= found.high
    assert hits / 1000 > 0.93


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_subjects_have_no_icc(form: Form, n: int) -> None:
    with pytest.raises(NotEstimableError) as caught:
        icc(np.arange(n), np.arange(n)[::-1], form)
    assert caught.value.code == "too-few"


# ---------------------------------------------------------------- CCC, lines, errors, Bland-Altman


@QUICK
@given(pairs())
def test_ccc_lies_between_minus_one_and_one_and_below_r(given_pair: TwoValues) -> None:
    a, b = given_pair
    found = or_none(lambda: ccc(a, b))
    if found is None:
        assert np.ptp(a) == 0 or np.ptp(b) == 0
        return
    require_inside(found, -1.0, 1.0)
    moments = 2 * np.cov(a, b, ddof=0)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert found.value == pytest.approx(moments, abs=1e-9)
    assert abs(found.value) <= abs(line(a, b).r) + 1e-9
    assert tuple(ccc(b, a)) == pytest.approx(tuple(found), abs=1e-6)
    assert tuple(ccc(-a, -b)) == pytest.approx(tuple(found), abs=1e-6)


def test_the_interval_of_ccc_does_not_jump_where_the_correlation_vanishes() -> None:
    a, b = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    at, beside = ccc(a, b), ccc(a, b + np.array([0, 1e-7, 0, 0]))
    assert tuple(at) == pytest.approx(tuple(beside), abs=1e-5)
    assert at.high == pytest.approx(np.tanh(special.ndtri(0.975) / np.sqrt(2)))


@QUICK
@given(pairs())
def test_a_line_is_that_of_numpy(given_pair: TwoValues) -> None:
    a, b = given_pair
    if code_of(lambda: line(a, b)):
        assert np.ptp(a) == 0 or np.ptp(b) == 0
        return
    found = line(a, b)
    assume(np.ptp(b) > 1e-3 and np.ptp(a) > 1e-3)
    slope, intercept = np.polynomial.Polynomial.fit(b, a, 1).convert(domain=[-1, 1]).coef[::-1]
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), rel=1e-6, abs=1e-6)
    assert -1 <= found.r <= 1
    assert line(b, a).slope * found.slope == pytest.approx(found.r**2, abs=1e-9)


@QUICK
@given(pairs())
def test_errors_are_ordered_and_their_squares_add_up(given_pair: TwoValues) -> None:
    a, b = given_pair
    found = errors(a, b)
    assert abs(found.bias) <= found.mae + 1e-12
    assert found.mae <= found.rmse + 1e-12
    assert found.rmse**2 == pytest.approx(found.bias**2 + (a - b).var(), abs=1e-9)


@QUICK
@given(pairs())
def test_what_is_relative_to_a_mean_of_zero_is_not_estimable(given_pair: TwoValues) -> None:
    a, b = given_pair
    if abs(b.sum()) > 1e-9:
        assert bias_percent(a, b) == pytest.approx(100 * (a - b).mean() / b.mean())
    if (np.abs(a + b) > 1e-9).all():
        each = [np.std([x, y], ddof=1) / np.mean([x, y]) for x, y in zip(a, b, strict=True)]
        assert cv_percent(a, b) == pytest.approx(100 * np.sqrt(np.mean(np.square(each))))


@pytest.mark.parametrize("measure", [bias_percent, cv_percent])
def test_a_mean_of_zero_is_said(measure: Callable[[Values, Values], float]) -> None:
    with pytest.raises(NotEstimableError) as caught:
        measure(np.array([0.1, 0.2, -0.3]), np.array([-0.1, 0.3, -0.2]))
    assert caught.value.code == "mean-zero"


def test_zeros_that_agree_do_not_vary() -> None:
    assert cv_percent([0, 1, 2], [0, 1, 2]) == 0


def test_reversed_values_have_limits_of_agreement_and_no_slope_of_the_difference() -> None:
    a, b = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.2, 0.1])
    assert bland_altman(a, b).high == pytest.approx(1.96 * 0.2)
    with pytest.raises(NotEstimableError) as caught:
        bias_slope(a, b)
    assert caught.value.code == "no-variance"


@QUICK
@given(pairs())
def test_limits_of_agreement_enclose_the_bias_and_turn_with_the_methods(given_pair: TwoValues) -> None:
    a, b = given_pair
    one, other = bland_altman(a, b), bland_altman(b, a)
    assert one.low <= one.bias <= one.high
    assert one.high - one.bias == pytest.approx(1.96 * (a - b).std(ddof=1))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_limits_of_agreement_need_a_patient_for_each_pair() -> None:
    with pytest.raises(NotEstimableError) as caught:
        bland_altman([1, 2, 3], [1, 2, 4], ["p", "q"])
    assert caught.value.code == "pairs-differ"


# ---------------------------------------------------------------- bootstrap


@settings(QUICK, max_examples=25)
@given(pairs(5, 7))
def test_a_bootstrap_interval_encloses_its_value(given_pair: TwoValues) -> None:
    a, b = given_pair
    found = or_none(lambda: pooled_icc(_pairs(a, b), seed=0, resamples=60))
    if found is not None:
        require_inside(found, -a.size / (a.size - 2), 1.0)


def test_a_bootstrap_of_a_maximum_reaches_it() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    found = bca(lambda rows: float(values[rows].max()), np.arange(5), seed=0, resamples=200)
    assert found.low <= found.value == found.high == 100


def test_a_strong_acceleration_keeps_the_limits_in_order() -> None:
    values = np.r_[np.zeros(30), 1e6]
    for seed in range(5):
        found = bca(
            lambda rows: float(np.exp(values[rows].mean() / 1e4)), np.arange(31), seed=seed, resamples=200
        )
        assert found.low <= found.value <= found.high


def test_values_that_are_not_numbers_are_refused_before_they_are_resampled() -> None:
    for estimate in (pooled_icc, lambda one, **how: mean_icc([one], **how)):
        with pytest.raises(NotEstimableError) as caught:
            estimate(_pairs(np.array([1.0, 2, 3, 4, np.nan]), np.arange(5.0)), seed=0, resamples=20)
        assert caught.value.code == "values-not-finite"


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_patients_have_no_bootstrap_interval(n: int) -> None:
    with pytest.raises(NotEstimableError) as caught:
        pooled_icc(_pairs(np.arange(float(n)), np.arange(float(n))), seed=0, resamples=20)
    assert caught.value.code == "too-few"


def _pairs(a: Values, b: Values) -> Pairs:
    return Pairs(method=a, reference=b, patients=np.array([f"p{i}" for i in range(a.size)]))


# ---------------------------------------------------------------- ROC


@QUICK
@given(graded(1))
def test_an_auc_counts_pairs_and_turns_with_the_scores(
    sample: tuple[NDArray[np.int_], Values, Values],
) -> None:
    labels, scores, _ = sample
    ones, zeros = scores[labels == 1], scores[labels == 0]
    counted = ((ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)).mean()
    assert auc(labels, scores) == pytest.approx(counted)
    assert auc(labels, -scores) == pytest.approx(1 - counted)
    assert auc(1 - labels, scores) == pytest.approx(1 - counted)
    fpr, tpr = roc_points(labels, scores)
    assert np.trapezoid(tpr, fpr) == pytest.approx(counted)


@QUICK
@given(graded())
def test_an_auc_interval_encloses_its_value_and_turns_with_the_scores(
    sample: tuple[NDArray[np.int_], Values, Values],
) -> None:
    labels, scores, _ = sample
    found, turned = or_none(lambda: auc_ci(labels, scores)), or_none(lambda: auc_ci(labels, -scores))
    assert found is not None
    assert turned is not None
    require_inside(found, 0.0, 1.0)
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-6)


@QUICK
@given(graded())
def test_delong_has_the_sign_of_the_difference_and_a_p_between_zero_and_one(
    sample: tuple[NDArray[np.int_], Values, Values],
) -> None:
    labels, a, b = sample
    code = code_of(lambda: delong_test(labels, a, b))
    if code:
        assert code == "no-variance"
        assert auc(labels, a) != auc(labels, b)
        return
    found = delong_test(labels, a, b)
    assert 0 <= found.p <= 1
    assert np.sign(round(found.z, 9)) == np.sign(round(found.auc_a - found.auc_b, 12))
    assert found.p == pytest.approx(2 * special.ndtr(-abs(found.z)))
    turned = delong_test(labels, -a, -b)
    assert (turned.z, turned.p) == pytest.approx((-found.z, found.p), abs=1e-6)


def test_constant_scores_have_an_auc_of_one_half_that_is_not_certain() -> None:
    found = auc_ci([0, 0, 1, 1], [3, 3, 3, 3])
    assert found.value == 0.5
    assert found.low < 0.3 < 0.7 < found.high


def test_a_band_of_which_no_resample_has_both_classes_is_not_estimable() -> None:
    with pytest.raises(NotEstimableError) as caught:
        roc_band([0, 1], [0.1, 0.9], ["p", "q"], grid=[0.5], seed=0, resamples=1)
    assert caught.value.code == "resamples-lost"


# ---------------------------------------------------------------- calibration and logistic regression


@QUICK
@given(graded(1), st.integers(1, 12))
def test_brier_and_ece_lie_between_zero_and_one(
    sample: tuple[NDArray[np.int_], Values, Values], bins: int
) -> None:
    labels, scores, _ = sample
    probability = special.expit(scores / 10)
    assert 0 <= brier(labels, probability) <= 1
    assert 0 <= ece(labels, probability, bins) <= 1
    assert ece(labels, probability, 1) == pytest.approx(abs(labels.mean() - probability.mean()))


@QUICK
@given(graded(1))
def test_a_calibration_is_where_the_gradient_vanishes_or_says_why_there_is_none(
    sample: tuple[NDArray[np.int_], Values, Values],
) -> None:
    labels, scores, _ = sample
    logit = scores / 20
    code = code_of(lambda: calibration(labels, special.expit(logit)))
    if code:
        ones, zeros = logit[labels == 1], logit[labels == 0]
        split = ones.min() >= zeros.max() - 1e-9 or zeros.min() >= ones.max() - 1e-9
        assert split or np.ptp(logit) < 1e-9, code
        return
    found = calibration(labels, special.expit(logit))
    rest = labels - special.expit(found.intercept + found.slope * logit)
    assert (rest.sum(), (rest * logit).sum()) == pytest.approx((0, 0), abs=1e-6)


def test_probabilities_in_a_narrow_band_have_the_steep_slope_that_they_have() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    labels = (rng.uniform(size=200) < special.expit(x)).astype(int)
    wide, narrow = calibration(labels, special.expit(x)), calibration(labels, special.expit(x / 1000 + 0.2))
    assert narrow.slope == pytest.approx(1000 * wide.slope, rel=1e-6)
    assert narrow.slope > 500


def test_classes_that_share_only_the_score_at_their_border_have_no_finite_slope() -> None:
    with pytest.raises(NotEstimableError) as caught:
        calibration([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.5, 0.5, 0.8, 0.9])
    assert caught.value.code == "separated"


@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e5])
def test_a_ridge_of_any_unit_is_that_of_scikit_learn(unit: float) -> None:
    rng = np.random.default_rng(1)
    design = unit * (rng.normal(size=(20, 2)) + 30)
    truth = (rng.normal(size=20) > 0).astype(np.float64)
    penalty = unit**2
    intercept, coefficients = logistic(design, truth, penalty)
    oracle = LogisticRegression(C=1.0, tol=1e-12, max_iter=100000, solver="newton-cg").fit(
        design / unit, truth
    )
    assert coefficients * unit == pytest.approx(oracle.coef_[0], abs=1e-4)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_one_class_has_no_finite_intercept(penalty: float) -> None:
    with pytest.raises(NotEstimableError) as caught:
        logistic(np.arange(4.0)[:, None], np.ones(4), penalty)
    assert caught.value.code == "one-class"
