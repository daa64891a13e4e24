from __future__ import annotations

import numpy as np

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.together import fit_together, read_together


def readings(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MR that is good where CT is poor, parameter by parameter, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(4000, 4))
    noise = np.array([[0.2, 0.2, 1.0, 1.0], [1.0, 1.0, 0.2, 0.2]])
    mr, ct = (truth + rng.normal(size=truth.shape) * sd for sd in noise)
    return mr.astype(np.float32), ct.astype(np.float32), truth.astype(np.float32)


def test_each_reading_counts_as_far_as_it_can_be_trusted() -> None:
    mr, ct, truth = readings(0)
    ways = fit_together(mr, ct, truth)
    assert ways["BV/TV"].mr > 0.9
    assert ways["BV/TV"].ct < 0.1
    assert ways["Tb.N"].ct > 0.9
    expected = (1 / (1 + 1 / 0.2**2 + 1)) ** 0.5  # precisions of prior and both readings add up
    assert all(abs(ways[name].sd - expected) < 0.01 for name in PARAMETERS)


def test_both_together_are_better_than_either_in_cubes_that_they_were_not_fitted_on() -> None:
    ways = fit_together(*readings(1))
    mr, ct, truth = readings(2)
    errors = [((one - truth) ** 2).mean(axis=0) for one in (read_together(ways, mr, ct), mr, ct)]
    assert (errors[0] < np.minimum(errors[1], errors[2])).all()


def test_a_shifted_reading_is_put_right() -> None:
    mr, ct, truth = readings(3)
    ways = fit_together(mr + 5, ct, truth)
    np.testing.assert_allclose(read_together(ways, mr + 5, ct).mean(axis=0), truth.mean(axis=0), atol=1e-3)
