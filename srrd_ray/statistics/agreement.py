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
from srrd_ray.statistics.estimate import Estimate, paired

Form: TypeAlias = Literal["A,1", "C,1"]
RATERS = 2
NEGLIGIBLE = 1e-12
"""Share of the size of the values below which a sum or a spread of them is rounding."""


class _MeanSquares(NamedTuple):
    """Two-way analysis of variance of n subjects by two methods: mean squares of rows, columns and error."""

    rows: float
    columns: float
    error: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """Errors of a method against a reference, in the unit of both."""

    bias: float
    mae: float
    rmse: float


class Line(NamedTuple):
    """Pearson's r, and slope and intercept of the method on the reference.

    A slope below 1 is regression to the mean.
    """

    r: float
    slope: float
    intercept: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BlandAltman:
    """Bias and 95 % limits of agreement of method - reference, in their unit, with standard errors."""

    bias: float
    low: float
    high: float
    sd: float
    se_bias: float
    se_limit: float


def icc(a: ArrayLike, b: ArrayLike, form: Form = "A,1", level: float = 0.95) -> Estimate:
    """Return the intraclass correlation of single measurements by two methods, with its interval.

    With n subjects ICC(A,1) lies between -n / (n - 2) and 1 (-3 with three subjects), ICC(C,1) between -1 and
    1; the limits of the interval lie there too, and enclose the value.

    Parameters
    ----------
    a, b
        One value a subject by each method, at least three subjects: with two ICC(A,1) has no least value.
    form
        ``"A,1"``: absolute agreement, ICC(2,1) of Shrout and Fleiss; ``"C,1"``: consistency, ICC(3,1).
    level
        Confidence level of the F-based interval of McGraw and Wong (Psychol Methods 1996;1:30, table 7).

    Raises
    ------
    NotEstimableError
        `too-few`, `values-not-finite`, `pairs-differ`, or `no-variance` where neither method tells the
        subjects apart.
    ConfigError
        `icc-form` for another form.

    Examples
    --------
    >>> value, low, high = icc([9, 6, 8, 7, 10, 6], [8, 7, 8, 6, 9, 5])
    >>> print(f"{value:.3f} [{low:.3f}, {high:.3f}]")
    0.832 [0.292, 0.974]
    >>> icc([1, 2, 3], [3, 2, 1])
    Estimate(value=-3.0, low=-3.0, high=-3.0)
    """
    squares = _mean_squares(*paired(a, b, 3))
    low, high = _rows_at_limits(squares, form, level)
    return Estimate(*(_coefficient(rows, squares, form) for rows in (squares.rows, low, high)))


def icc_value(a: NDArray[np.float64], b: NDArray[np.float64], form: Form = "A,1") -> float:
    """Return `icc` without its interval, for resampling."""
    squares = _mean_squares(a, b)
    return _coefficient(squares.rows, squares, form)


def icc_values(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ICC(A,1) of many methods (…, subject, parameter) against one reference (subject, parameter), as
    `icc_value`, without a loop over them: for resampling.

    Raises
    ------
    NotEstimableError
        `no-variance`.
    """
    n = b.shape[0]
    total, difference = a + b, a - b
    shift = difference.mean(axis=-2)
    rows = total.var(axis=-2, ddof=1) / 2
    error = difference.var(axis=-2, ddof=1) / 2
    columns = n * shift**2 / 2
    if (rows + error <= NEGLIGIBLE**2 * (total**2 + difference**2).mean(axis=-2)).any():
        raise NotEstimableError("no-variance", "the subjects do not differ", got=f"{n} subjects")
    return np.asarray(n * (rows - error) / (RATERS * columns + (n - 2) * error + n * rows))


def _mean_squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> _MeanSquares:
    """Return the mean squares.

    For two methods those of rows and error are the variances of sum and difference.
    """
    n = a.size
    total, difference = a + b, a - b
    shift = float(difference.mean())
    centred, rest = total - total.mean(), difference - shift
    negligible = 1e-24 * float(total @ total + difference @ difference) / n
    squares = [float(centred @ centred) / (2 * n - 2), n * shift**2 / 2, float(rest @ rest) / (2 * n - 2)]
    rows, columns, error = (0.0 if square <= negligible else square for square in squares)
    if rows == error == 0:
        same = "the subjects do not differ" if columns > 0 else "all values are the same"
        raise NotEstimableError("no-variance", same, got=f"{n} pairs")
    return _MeanSquares(rows=rows, columns=columns, error=error, n=n)


def _coefficient(rows: float, squares: _MeanSquares, form: Form) -> float:
    """Return the coefficient for a mean square of `rows`; it grows with it.

    Its denominator is never negative, and zero only where rows, columns and error all are: n > 2.
    """
    _, msc, mse, n = squares
    match form:
        case "A,1":
            rest = RATERS * msc + (n - 2) * mse
        case "C,1":
            rest = n * mse
        case _:
            raise ConfigError(
                "icc-form", "unknown form of the ICC", got=repr(form)[:32], expected="'A,1' or 'C,1'"
            )
    return n * (rows - mse) / (rest + n * rows)


def _rows_at_limits(squares: _MeanSquares, form: Form, level: float) -> tuple[float, float]:
    """Return the mean squares of rows that give the limits.

    They are the found one times the tails of its F distribution.
    """
    msr, msc, mse, n = squares
    if msr == 0 or msc == mse == 0:
        return msr, msr
    freedom = _freedom(squares) if form == "A,1" else float(n - 1)
    tail = (1 - level) / 2
    low, high = (float(special.fdtri(freedom, n - 1, share)) for share in (tail, 1 - tail))
    # Below one degree of freedom (negative ICC) both tails of Satterthwaite's F may be on one side of it.
    return msr * min(low, 1.0), msr * max(high, 1.0)


def _freedom(squares: _MeanSquares) -> float:
    """Return Satterthwaite's degrees of freedom of a * columns + b * error.

    This sum equals rows at the ICC(A,1) found.
    """
    msr, msc, mse, n = squares
    a = (msr - mse) / (msc + (n - 1) * mse)
    b = 1 + (n - 1) * a
    return float(np.hypot(a * msc / msr, b * mse / msr / np.sqrt(n - 1)) ** -2)


def ccc(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Estimate:
    """Return Lin's concordance correlation coefficient with its Fisher-z interval.

    Source: Biometrics 1989;45:255 and 2000;56:324.

    Raises
    ------
    NotEstimableError
        As `icc`; also `no-variance` where one method gives a constant.
    """
    x, y = paired(a, b, 3)
    r = _correlation(x, y)
    sx, sy, shift = float(x.std()), float(y.std()), float(x.mean() - y.mean())
    accuracy = 2 * sx * sy / (sx**2 + sy**2 + shift**2)
    value = r * accuracy
    rest = 1 - value**2
    if rest <= 1e-12:
        return Estimate(value, value, value)
    shifted = accuracy * shift**2 / (sx * sy)
    variance = (
        (1 - r**2) * accuracy**2 / rest
        + 2 * value**2 * (1 - value) * shifted / rest**2
        - value**2 * shifted**2 / (2 * rest**2)
    ) / (x.size - 2)
    half = float(special.ndtri(1 - (1 - level) / 2)) * np.sqrt(max(variance, 0.0))
    centre = np.arctanh(value)
    return Estimate(
        value, min(value, float(np.tanh(centre - half))), max(value, float(np.tanh(centre + half)))
    )


def errors(method: ArrayLike, reference: ArrayLike) -> Errors:
    """Return bias, absolute and squared errors of `method` against `reference`.

    Raises
    ------
    NotEstimableError
        `too-few`, `values-not-finite` or `pairs-differ`.
    """
    x, y = paired(method, reference, 3)
    difference = x - y
    return Errors(
        bias=float(difference.mean()),
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt((difference**2).mean())),
    )


def bias_percent(method: ArrayLike, reference: ArrayLike) -> float:
    """Return the bias of `method` in percent of the mean of `reference`.

    Raises
    ------
    NotEstimableError
        As `errors`; `mean-zero` where the reference has a mean of zero.
    """
    x, y = paired(method, reference, 3)
    if abs(float(y.mean())) <= NEGLIGIBLE * float(np.abs(y).max()):
        raise NotEstimableError("mean-zero", "the reference has a mean of zero", got=f"{y.size} values")
    return 100 * float((x - y).mean() / y.mean())


def cv_percent(a: ArrayLike, b: ArrayLike) -> float:
    """Return the root-mean-square coefficient of variation of the pairs, in percent.

    A pair of zeros does not vary.

    Raises
    ------
    NotEstimableError
        As `errors`; `mean-zero` where the two values of a pair differ and have a mean of zero.
    """
    x, y = paired(a, b, 3)
    difference, total = x - y, x + y
    zero = np.abs(total) <= NEGLIGIBLE * (np.abs(x) + np.abs(y))
    if (zero & (difference != 0)).any():
        raise NotEstimableError(
            "mean-zero", "a pair has a mean of zero", got=f"{int(zero.sum())} of {x.size} pairs"
        )
    return 100 * float(np.sqrt(2 * np.mean((difference / np.where(zero, 1.0, total)) ** 2)))


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
        if float(values.std()) <= NEGLIGIBLE * float(np.abs(values).max()):
            raise NotEstimableError(
                "no-variance", "one method gives a constant", got=f"{values.size} equal values"
            )
    return float(np.corrcoef(x, y)[0, 1])


def bland_altman(method: ArrayLike, reference: ArrayLike, patients: ArrayLike | None = None) -> BlandAltman:
    """Return bias and limits of agreement of `method` - `reference`.

    With `patients` (one name a pair) the pairs of a patient count as repeated measurements: the variance is
    the sum of the components between and within patients (Bland and Altman, J Biopharm Stat 2007;17:571, true
    value varying).

    Raises
    ------
    NotEstimableError
        As `icc`; `too-few` also with fewer than three patients.
    """
    x, y = paired(method, reference, 3)
    names = np.arange(x.size) if patients is None else np.asarray(patients).ravel()
    if names.size != x.size:
        raise NotEstimableError(
            "pairs-differ", "patients and pairs differ in number", got=f"{names.size} and {x.size}"
        )
    bias, variance, units = _variance_components(x - y, np.unique(names, return_inverse=True)[1])
    sd = float(np.sqrt(variance))
    return BlandAltman(
        bias=bias,
        low=bias - 1.96 * sd,
        high=bias + 1.96 * sd,
        sd=sd,
        se_bias=sd / float(np.sqrt(units)),
        se_limit=sd * float(np.sqrt(3 / units)),
    )


def bias_slope(method: ArrayLike, reference: ArrayLike) -> float:
    """Return the slope of method - reference on the mean of the two.

    At 0 the bias does not depend on the size.

    Raises
    ------
    NotEstimableError
        As `errors`; `no-variance` where the means are all the same, as those of reversed values are.
    """
    x, y = paired(method, reference, 3)
    mean = (x + y) / 2
    centred = mean - mean.mean()
    if float(np.abs(centred).max()) <= NEGLIGIBLE * float(np.maximum(np.abs(x), np.abs(y)).max()):
        raise NotEstimableError(
            "no-variance", "the means of the pairs are all the same", got=f"{x.size} pairs"
        )
    return float(centred @ (x - y)) / float(centred @ centred)


def _variance_components(values: NDArray[np.float64], groups: NDArray[np.intp]) -> tuple[float, float, int]:
    """Return the mean, the variance of a single value (between + within groups) and the number of groups."""
    sizes = np.bincount(groups)
    count = sizes.size
    if count < 3:
        raise NotEstimableError("too-few", "too few patients", got=str(count), expected="at least 3")
    means = np.bincount(groups, weights=values) / sizes
    bias = float(values.mean())
    among = float((sizes * (means - bias) ** 2).sum()) / (count - 1)
    if values.size == count:
        return bias, among, count
    within = float(((values - means[groups]) ** 2).sum()) / (values.size - count)
    typical = (values.size - float((sizes**2).sum()) / values.size) / (count - 1)
    return bias, max((among - within) / typical, 0.0) + within, count
