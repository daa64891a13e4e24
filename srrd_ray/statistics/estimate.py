"""A value with its interval, and the one place where numbers enter a statistic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.core.errors import NotEstimableError


class Estimate(NamedTuple):
    """A value and its confidence interval; unpacks as ``value, low, high``."""

    value: float
    low: float
    high: float


def paired(a: ArrayLike, b: ArrayLike, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two flat float64 arrays of one length.

    Raises
    ------
    NotEstimableError
        `pairs-differ`, `values-not-finite` or, with fewer than `least` pairs, `too-few`.
    """
    x, y = finite(a), finite(b)
    if x.size != y.size:
        raise NotEstimableError(
            "pairs-differ", "paired values differ in number", got=f"{x.size} and {y.size}"
        )
    if x.size < least:
        raise NotEstimableError("too-few", "too few pairs", got=str(x.size), expected=f"at least {least}")
    return x, y


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as a flat float64 array without NaN or infinity (`values-not-finite` otherwise)."""
    array = np.asarray(values, dtype=np.float64).ravel()
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise NotEstimableError(
            "values-not-finite",
            "a value is not a finite number",
            got=f"{bad} of {array.size}",
            todo="Exclude what was not measured, and count it.",
        )
    return array
