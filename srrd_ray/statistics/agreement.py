"""How well two methods agree on the same subjects: ICC, CCC, errors, Bland-Altman.

Subjects are rows that are independent of each other: average the patches of a patient first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from srrd_ray.core.errors import ConfigError, NotEstimableError
from srrd_ray.statistics.estimate import Estimate, finite, paired

Form: TypeAlias = Literal["A,1", "C,1"]
RATERS = 2


class _MeanSquares(NamedTuple):
    """Two-way analysis of variance of n subjects by two methods: mean squares of rows, columns and error."""

    rows: float
    columns: float
    error: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """Errors of a method against a reference, in the unit of both.

    `bias_percent` is relative to the mean of the reference; `cv_percent` is the root-mean-square coefficient of variation
    of the pairs.
    """

    bias: float
    bias_percent: float
    mae: float
    rmse: float
    cv_percent: float


class Line(NamedTuple):
    """Pearson's r, and slope and intercept of the method on the reference (slope below 1: regression to the mean)."""

    r: float
    slope: float
    intercept: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BlandAltman:
    """Bias and 95 % limits of agreement of method - reference, in the unit of both, with their standard errors.

    `slope` is that of the difference on the mean of the two (0: the bias does not depend on the size).
    """

    bias: float
    low: float
    high: float
    sd: float
    se_bias: float
    se_limit: float
    slope: float


def icc(a: ArrayLike, b: ArrayLike, form: Form = "A,1", level: float = 0.95) -> Estimate:
    """Return the intraclass correlation of single measurements by two methods, with its interval.

    Parameters
    ----------
    a, b
        One value a subject by each method, at least three subjects.
    form
        ``"A,1"``: absolute agreement, ICC(2,1) of Shrout and Fleiss; ``"C,1"``: consistency, ICC(3,1).
    level
        Confidence level of the F-based interval of McGraw and Wong (Psychol Methods 1996;1:30, table 7).

    Raises
    ------
    NotEstimableError
        `too-few`, `values-not-finite`, `pairs-differ`, or `no-variance` where all values are the same.
    ConfigError
        `icc-form` for another form.
    """
    squares = _mean_squares(*paired(a, b, 3))
    value = _value(squares, form)
    if value >= 1.0:
        return Estimate(1.0, 1.0, 1.0)
    low, high = _interval_absolute(squares, value, level) if form == "A,1" else _interval_consistency(squares, level)
    return Estimate(value, max(low, -1.0), min(high, 1.0))


def icc_value(a: NDArray[np.float64], b: NDArray[np.float64], form: Form = "A,1") -> float:
    """Return `icc` without its interval, for resampling."""
    return _value(_mean_squares(a, b), form)


def _mean_squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> _MeanSquares:
    """Return the mean squares; for two methods those of rows and error are the variances of sum and difference."""
    n = a.size
    total, difference = a + b, a - b
    shift = float(difference.mean())
    centred, rest = total - total.mean(), difference - shift
    negligible = 1e-24 * float(total @ total + difference @ difference) / n
    squares = [float(centred @ centred) / (2 * n - 2), n * shift**2 / 2, float(rest @ rest) / (2 * n - 2)]
    rows, columns, error = (0.0 if square <= negligible else square for square in squares)
    if rows == columns == error == 0:
        raise NotEstimableError("no-variance", "all values are the same", got=f"{n} pairs")
    return _MeanSquares(rows=rows, columns=columns, error=error, n=n)


def _value(squares: _MeanSquares, form: Form) -> float:
    msr, msc, mse, n = squares
    match form:
        case "A,1":
            return (msr - mse) / (msr + mse + RATERS / n * (msc - mse))
        case "C,1":
            if msr + mse == 0:
                raise NotEstimableError("no-variance", "the subjects do not differ", got=f"{n} pairs")
            return (msr - mse) / (msr + mse)
        case _:
            raise ConfigError("icc-form", "unknown form of the ICC", got=repr(form)[:32], expected="'A,1' or 'C,1'")


def _interval_absolute(squares: _MeanSquares, rho: float, level: float) -> tuple[float, float]:
    msr, msc, mse, n = squares
    k = RATERS
    a, b = k * rho * msc, (n * (1 - rho) + k * rho * (n - 1)) * mse
    weight = a**2 / (k - 1) + b**2 / ((n - 1) * (k - 1))
    freedom = max((a + b) ** 2 / weight if weight > 0 else 1.0, float(k - 1))
    tail = 1 - (1 - level) / 2
    lower = float(special.fdtri(n - 1, freedom, tail))
    upper = float(special.fdtri(freedom, n - 1, tail))
    spread = k * msc + (k * n - k - n) * mse
    return n * (msr - lower * mse) / (lower * spread + n * msr), n * (upper * msr - mse) / (spread + n * upper * msr)


def _interval_consistency(squares: _MeanSquares, level: float) -> tuple[float, float]:
    ratio = squares.rows / squares.error
    tail = float(special.fdtri(squares.n - 1, squares.n - 1, 1 - (1 - level) / 2))
    low, high = ratio / tail, ratio * tail
    return (low - 1) / (low + RATERS - 1), (high - 1) / (high + RATERS - 1)


def ccc(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Estimate:
    """Return Lin's concordance correlation coefficient with its Fisher-z interval (Biometrics 1989;45:255, 2000;56:324).

    Raises
    ------
    NotEstimableError
        As `icc`; also `no-variance` where one method gives a constant.
    """
    x, y = paired(a, b, 4)
    r = _correlation(x, y)
    sx, sy, shift = float(x.std()), float(y.std()), float(x.mean() - y.mean())
    value = 2 * r * sx * sy / (sx**2 + sy**2 + shift**2)
    if abs(value) >= 1 - 1e-12 or abs(r) < 1e-12:
        return Estimate(value, value, value) if abs(r) >= 1e-12 else Estimate(0.0, -1.0, 1.0)
    u2 = shift**2 / (sx * sy)
    rest = 1 - value**2
    variance = (
        (1 - r**2) * value**2 / (rest * r**2)
        + 2 * value**3 * (1 - value) * u2 / (r * rest**2)
        - value**4 * u2**2 / (2 * r**2 * rest**2)
    ) / (x.size - 2)
    half = float(special.ndtri(1 - (1 - level) / 2)) * np.sqrt(max(variance, 0.0))
    centre = np.arctanh(value)
    return Estimate(value, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def errors(method: ArrayLike, reference: ArrayLike) -> Errors:
    """Return bias, absolute and squared errors and RMS-CV of `method` against `reference`.

    Raises
    ------
    NotEstimableError
        `too-few`, `values-not-finite` or `pairs-differ`.
    """
    x, y = paired(method, reference, 3)
    difference, mean = x - y, (x + y) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(mean == 0, 0.0, difference**2 / 2 / mean**2)
    return Errors(
        bias=float(difference.mean()),
        bias_percent=100 * float(difference.mean() / y.mean()) if y.mean() else 0.0,
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt((difference**2).mean())),
        cv_percent=100 * float(np.sqrt(squared.mean())),
    )


def line(method: ArrayLike, reference: ArrayLike) -> Line:
    """Return correlation and least-squares line of `method` on `reference`.

    Raises
    ------
    NotEstimableError
        As `errors`; `no-variance` where one of them is constant.
    """
    x, y = paired(method, reference, 3)
    r = _correlation(x, y)
    slope = r * float(x.std() / y.std())
    return Line(r, slope, float(x.mean()) - slope * float(y.mean()))


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    for values in (x, y):
        if float(values.std()) <= 1e-12 * max(float(np.abs(values).max()), 1e-300):
            raise NotEstimableError("no-variance", "one method gives a constant", got=f"{values.size} equal values")
    return float(np.corrcoef(x, y)[0, 1])


def bland_altman(method: ArrayLike, reference: ArrayLike, patients: ArrayLike | None = None) -> BlandAltman:
    """Return bias and limits of agreement of `method` - `reference`.

    With `patients` (one name a pair) the pairs of a patient count as repeated measurements: the variance is the sum of
    the components between and within patients (Bland and Altman, J Biopharm Stat 2007;17:571, true value varying).

    Raises
    ------
    NotEstimableError
        As `icc`; `too-few` also with fewer than three patients.
    """
    x, y = paired(method, reference, 3)
    difference, mean = x - y, (x + y) / 2
    groups = np.arange(x.size) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    bias, variance, units = _variance_components(difference, groups)
    sd = float(np.sqrt(variance))
    spread = float(((mean - mean.mean()) ** 2).sum())
    slope = float((mean - mean.mean()) @ difference) / spread if spread > 0 else 0.0
    return BlandAltman(
        bias=bias,
        low=bias - 1.96 * sd,
        high=bias + 1.96 * sd,
        sd=sd,
        se_bias=sd / float(np.sqrt(units)),
        se_limit=sd * float(np.sqrt(3 / units)),
        slope=slope,
    )


def _variance_components(values: NDArray[np.float64], groups: NDArray[np.intp]) -> tuple[float, float, int]:
    """Return the mean, the variance of a single value (between + within groups) and the number of groups."""
    sizes = np.bincount(groups)
    count = sizes.size
    if count < 3:
        raise NotEstimableError("too-few", "too few patients", got=str(count), expected="at least 3")
    means = np.bincount(groups, weights=values) / sizes
    bias = float(finite(values).mean())
    among = float((sizes * (means - bias) ** 2).sum()) / (count - 1)
    if values.size == count:
        return bias, among, count
    within = float(((values - means[groups]) ** 2).sum()) / (values.size - count)
    typical = (values.size - float((sizes**2).sum()) / values.size) / (count - 1)
    return bias, max((among - within) / typical, 0.0) + within, count
