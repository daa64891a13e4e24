from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from srrd_ray.diagnosis import Training
from srrd_ray.diagnosis.set_transformer import EPOCHS, set_transformer
from srrd_ray.statistics import auc
from tests.diagnosis.toys import knees

pytestmark = pytest.mark.training


def without_values(n: int, effect: float, seed: int = 0) -> Training:
    data = knees(n, effect, seed)
    return replace(data, values=data.values[:, :0])


def test_it_learns_from_the_cubes_of_one_compartment() -> None:
    train, test = without_values(80, 3.0), without_values(80, 3.0, 1)
    assert auc(test.labels, set_transformer(train, 0)[-1](test)) > 0.9


def test_what_is_known_of_the_whole_knee_counts_too() -> None:
    train, test = knees(80, 0.0), knees(80, 0.0, 1)
    for data in (train, test):
        data.values[:, 0] += 4 * data.labels
    assert auc(test.labels, set_transformer(train, 0)[-1](test)) > 0.9


def test_the_order_of_the_cubes_does_not_matter() -> None:
    train, test = without_values(30, 2.0), without_values(20, 2.0, 1)
    model = set_transformer(train, 0)[-1]
    rng = np.random.default_rng(0)
    shuffled = replace(test, cubes=tuple(rng.permutation(cubes) for cubes in test.cubes))
    np.testing.assert_allclose(model(shuffled), model(test), atol=1e-6)


def test_cubes_of_other_knees_do_not_matter_however_many_they_are() -> None:
    train, test = without_values(30, 2.0), without_values(20, 2.0, 1)
    model = set_transformer(train, 0)[-1]
    alone = [float(model(test.take([n]))[0]) for n in range(20)]
    np.testing.assert_allclose(alone, model(test), atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_leaves_other_random_numbers_alone() -> None:
    train, test = without_values(30, 2.0), without_values(20, 2.0, 1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = (set_transformer(train, seed)[-1](test) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_starts_at_the_share_of_the_patients_and_moves_off_with_the_epochs() -> None:
    train = without_values(40, 2.0)
    train.labels[:] = np.arange(40) % 4 == 0
    models = set_transformer(train, 0)
    assert len(models) == len(EPOCHS)
    away = [float(np.abs(model(train) - 0.25).mean()) for model in models]
    assert away[0] < 0.1
    assert away[0] < away[-1]
