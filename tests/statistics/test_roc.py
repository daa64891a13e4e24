from __future__ import annotations

import numpy as np
import pytest
from MLstatkit import Delong_test
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from srrd_ray.core.errors import NotEstimableError
from srrd_ray.statistics import auc, auc_ci, delong_test, require_both_classes, roc_band, roc_points

Sample = tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.float64]]


def sample(seed: int, n: int = 40, decimals: int = 8) -> Sample:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 < 2).astype(int)
    latent = rng.normal(size=n) + labels
    return (
        labels,
        (latent + rng.normal(size=n)).round(decimals),
        (latent + 2 * rng.normal(size=n)).round(decimals),
    )


def brute_delong(
    labels: NDArray[np.int_], a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[float, float]:
    """Difference and its variance straight from the kernel psi of DeLong 1988."""
    v10, v01 = [], []
    for scores in (a, b):
        ones, zeros = scores[labels == 1], scores[labels == 0]
        psi = (ones[:, None] > zeros).astype(float) + 0.5 * (ones[:, None] == zeros)
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    return float(v10[0].mean() - v10[1].mean()), float(
        covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    )


@pytest.mark.parametrize("decimals", [8, 0])
def test_auc_counts_pairs_and_ties_as_scikit_learn(decimals: int) -> None:
    labels, scores, _ = sample(0, decimals=decimals)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("decimals", [8, 0])
@pytest.mark.parametrize("seed", range(4))
def test_delong_is_the_brute_force_of_its_definition(seed: int, decimals: int) -> None:
    labels, a, b = sample(seed, decimals=decimals)
    difference, variance = brute_delong(labels, a, b)
    found = delong_test(labels, a, b)
    assert found.auc_a - found.auc_b == pytest.approx(difference)
    assert found.z == pytest.approx(difference / np.sqrt(variance))


@pytest.mark.parametrize("seed", range(4))
def test_delong_is_that_of_mlstatkit(seed: int) -> None:
    labels, a, b = sample(seed)
    z, p, auc_a, auc_b = Delong_test(labels, a, b, return_ci=False, return_auc=True)[:4]
    found = delong_test(labels, a, b)
    assert (found.auc_a, found.auc_b) == pytest.approx((auc_a, auc_b))
    assert (found.z, found.p) == pytest.approx((-z, p))


def test_patients_with_one_knee_leave_delong_as_it_is() -> None:
    labels, a, b = sample(1)
    assert tuple(delong_test(labels, a, b, np.arange(40))) == pytest.approx(tuple(delong_test(labels, a, b)))
    assert tuple(auc_ci(labels, a, np.arange(40))) == pytest.approx(tuple(auc_ci(labels, a)))


def test_copying_every_knee_does_not_narrow_the_clustered_interval() -> None:
    labels, a, _ = sample(2, n=60)
    twice = [np.tile(values, 2) for values in (labels, a, np.arange(60))]
    once, copied, naive = auc_ci(labels, a), auc_ci(twice[0], twice[1], twice[2]), auc_ci(twice[0], twice[1])
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.03)
    assert naive.high - naive.low < 0.8 * (once.high - once.low)


def test_swapping_the_models_turns_the_sign_of_z() -> None:
    labels, a, b = sample(3)
    assert delong_test(labels, a, b).z == pytest.approx(-delong_test(labels, b, a).z)
    assert delong_test(labels, a, b).p == pytest.approx(delong_test(labels, b, a).p)


def test_the_same_scores_do_not_differ() -> None:
    labels, a, _ = sample(4)
    assert tuple(delong_test(labels, a, a))[2:] == (0.0, 1.0)


def test_perfect_against_reversed_has_no_variance() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(NotEstimableError) as caught:
        delong_test(labels, labels, 1 - labels)
    assert caught.value.code == "no-variance"


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ([0, 0, 0, 0], "one-class"),
        ([1, 1, 1, 1], "one-class"),
        ([1, 0, 0, 0], "too-few-positives"),
        ([0, 1, 1, 1], "too-few-negatives"),
        ([0, 1, 2, 1], "labels-invalid"),
        ([0, 1, 1], "pairs-differ"),
    ],
)
def test_delong_without_a_value_says_why(labels: list[int], code: str) -> None:
    with pytest.raises(NotEstimableError) as caught:
        delong_test(labels, [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    assert caught.value.code == code


def test_nan_scores_are_refused_in_words() -> None:
    with pytest.raises(NotEstimableError, match="not a finite number"):
        auc([0, 1, 1], [0.1, float("nan"), 0.3])


def test_fewer_than_ten_positives_are_named() -> None:
    with pytest.raises(NotEstimableError, match=r"9 positive, 20 negative, expected at least 10"):
        require_both_classes([1] * 9 + [0] * 20, positives=10)


def test_both_knees_of_one_patient_are_not_two_patients() -> None:
    with pytest.raises(NotEstimableError, match="one patient"):
        delong_test([1, 1, 0, 0], [0.9, 0.2, 0.4, 0.1], [0.3, 0.8, 0.2, 0.6], ["a", "a", "b", "c"])


def test_auc_interval_lies_inside_and_covers() -> None:
    rng, hits, truth = np.random.default_rng(0), 0, 0.7602
    labels = np.repeat([0, 1], 20)
    for _ in range(300):
        value, low, high = auc_ci(labels, rng.normal(size=40) + labels)
        assert 0 <= low <= value <= high <= 1
        hits += low <= truth <= high
    assert 0.91 <= hits / 300 <= 0.985


@pytest.mark.parametrize(("sign", "bound"), [(1, 1.0), (-1, 0.0)])
def test_a_perfect_auc_keeps_an_interval_that_narrows_with_n(sign: int, bound: float) -> None:
    widths = []
    for n in (6, 12, 48):
        labels = np.repeat([0, 1], n)
        value, low, high = auc_ci(labels, sign * labels)
        assert value == bound
        assert bound in (low, high)
        widths.append(high - low)
    assert 0 < widths[2] < widths[1] < widths[0] < 0.5


def test_roc_points_are_those_of_scikit_learn_and_enclose_the_auc() -> None:
    labels, scores, _ = sample(5, decimals=1)
    fpr, tpr = roc_points(labels, scores)
    expected = roc_curve(labels, scores, drop_intermediate=False)
    assert fpr == pytest.approx(expected[0])
    assert tpr == pytest.approx(expected[1])
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(labels, scores))


def test_roc_band_holds_the_curve_and_repeats_by_seed() -> None:
    labels, scores, _ = sample(6)
    grid = np.linspace(0, 1, 11)
    low, high = roc_band(labels, scores, np.arange(40), grid=grid, seed=1)
    curve = np.interp(grid, *roc_points(labels, scores))
    assert ((low <= curve + 1e-9) & (curve <= high + 1e-9)).all()
    assert np.array_equal(low, roc_band(labels, scores, np.arange(40), grid=grid, seed=1)[0])


def test_without_a_label_no_class_is_said_to_be_there() -> None:
    with pytest.raises(NotEstimableError, match="no label is known"):
        require_both_classes([])
    with pytest.raises(NotEstimableError, match="only one class is present"):
        require_both_classes([1, 1])
