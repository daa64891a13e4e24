"""Gradient boosting of small trees (Friedman, Ann Stat 2001;29:1189)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice, product
from typing import Final

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from srrd_ray.diagnosis.selection import Probability, Training, Values

TREES: Final = (5, 15, 50)
DEPTHS: Final = (1, 2)
"""The candidates: numbers of trees, and how deep each is."""
RATE: Final = 0.1
LEAST_KNEES: Final = 3
"""Knees in a leaf."""


def boosting(data: Training, seed: int) -> Sequence[Probability]:
    """Return one model a number of trees and depth, few and shallow trees first."""
    trees = [
        GradientBoostingClassifier(
            n_estimators=max(TREES),
            learning_rate=RATE,
            max_depth=depth,
            min_samples_leaf=LEAST_KNEES,
            random_state=seed % 2**32,
        ).fit(data.values, data.labels)
        for depth in DEPTHS
    ]
    return [partial(_probability, model, count) for count, model in product(TREES, trees)]


def _probability(model: GradientBoostingClassifier, count: int, knees: Training) -> Values:
    """Return what the first `count` trees say."""
    stages = model.staged_predict_proba(knees.values)
    return np.asarray(next(islice(stages, count - 1, None))[:, 1], dtype=np.float64)
