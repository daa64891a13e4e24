"""The settings that a search tries: temperature and loss weights, drawn over the ranges of generalised distillation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from srrd_ray.distillation.step import HyperParameters

TEMPERATURE = (1.0, 8.0)
KD_WEIGHT = (0.1, 0.9)
FEATURE_WEIGHT = (0.03, 3.0)
RELATION_WEIGHT = (0.01, 10.0)


def settings(count: int, base: HyperParameters, seed: int) -> tuple[HyperParameters, ...]:
    """Return `count` settings: the student without MR, then `base`, then random ones (all weights log-uniform but λ).

    The first two are always tried, so that a search can find that the teacher does not help, or that nothing beats the
    defaults. Ranges after Lopez-Paz et al., arXiv 1511.03643 (λ, T), on normalised feature terms.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        replace(
            base,
            temperature=_log_uniform(rng, TEMPERATURE),
            kd_weight=float(rng.uniform(*KD_WEIGHT)),
            feature_weight=_log_uniform(rng, FEATURE_WEIGHT),
            relation_weight=_log_uniform(rng, RELATION_WEIGHT),
        )
        for _ in range(max(count - 2, 0))
    ]
    return tuple([base.without_teacher(), base, *drawn][:count])


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
