"""What MR and CT of a cube say together: the school's two readings of it, each as far as it can be trusted.

A reader of MR need not be the better one in everything: thick slices blur the distance of trabeculae, which
CT still shows. Labels are therefore of both images (privileged information: Lopez-Paz et al. 2016, arXiv
1511.03643), and how far each counts is learnt where the truth is known, on knees of the school that
neither reader learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.parameters import PARAMETERS, ParameterSymbol

Readings = NDArray[np.float32]
"""(n, parameter)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """The best estimate of a parameter: mr · reading of MR + ct · reading of CT + offset.

    Parameters
    ----------
    sd
        Root mean square of its error in a cube, in the parameter's unit.
    """

    mr: float
    ct: float
    offset: float
    sd: float


def fit_together(mr: Readings, ct: Readings, truth: Readings) -> dict[ParameterSymbol, Together]:
    """Return how the readings of cubes go together, by least squares against the truth."""
    return {
        name: _fit(mr[:, p].astype(np.float64), ct[:, p].astype(np.float64), truth[:, p].astype(np.float64))
        for p, name in enumerate(PARAMETERS)
    }


def _fit(mr: NDArray[np.float64], ct: NDArray[np.float64], truth: NDArray[np.float64]) -> Together:
    shown = np.stack([mr, ct, np.ones_like(mr)], axis=1)
    weights = np.linalg.lstsq(shown, truth, rcond=None)[0]
    error = shown @ weights - truth
    return Together(
        mr=float(weights[0]), ct=float(weights[1]), offset=float(weights[2]), sd=float(error.std())
    )


def read_together(fitted: Mapping[ParameterSymbol, Together], mr: Readings, ct: Readings) -> Readings:
    """Return the estimates (n, parameter) from readings of the same cubes."""
    ways = [fitted[name] for name in PARAMETERS]
    return np.stack(
        [way.mr * mr[:, p] + way.ct * ct[:, p] + way.offset for p, way in enumerate(ways)], axis=1
    ).astype(np.float32)
