from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srrd_ray.core.errors import ConfigError, InputError, TrainingError
from srrd_ray.core.learner import Shard
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.step import CycleGanLearner

CONFIG = CycleGanConfig(tile=(16, 16), width=4, blocks=1, discriminator_width=4, steps=2, batch=4, epochs=2)


def slices(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.4, (count, 16, 16)).astype(np.float32)


def learner(seed: int = 3) -> CycleGanLearner:
    return CycleGanLearner(slices(6, 0), slices(5, 1), CONFIG, seed)


def weights(trained: CycleGanLearner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for m in trained.modules().values() for p in m.parameters()])


def run(trained: CycleGanLearner, epochs: range) -> None:
    for epoch in epochs:
        losses = trained.train_epoch(epoch, Shard(), trained.modules())
        assert set(losses) == {"generators", "discriminators", "cycle"}


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = learner()
    run(first, range(2))
    torch.rand(7)
    second = learner()
    run(second, range(2))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(learner(4)))


def test_training_moves_all_four_networks() -> None:
    trained = learner()
    before = {
        n: torch.cat([p.detach().flatten() for p in m.parameters()]).clone()
        for n, m in trained.modules().items()
    }
    run(trained, range(2))
    for name, module in trained.modules().items():
        assert not torch.equal(before[name], torch.cat([p.detach().flatten() for p in module.parameters()]))


def test_every_rank_takes_the_same_number_of_steps_on_slices_of_its_own() -> None:
    trained = learner()
    first, second = (
        list(trained._pairs(0, Shard(rank=rank, world=2), torch.device("cpu"))) for rank in (0, 1)
    )
    assert len(first) == len(second) == CONFIG.steps
    assert all(len(mr) == 2 for mr, _ in first + second)
    assert not torch.equal(first[0][1], second[0][1])


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    broken = CycleGanLearner(np.full((4, 16, 16), np.nan, dtype=np.float32), slices(4, 1), CONFIG, 3)
    with pytest.raises(TrainingError) as caught:
        broken.train_epoch(0, Shard(), broken.modules())
    assert caught.value.code == "loss-not-finite"


def test_no_slices_and_tiles_that_do_not_halve_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        CycleGanLearner(slices(0, 0), slices(4, 1), CONFIG, 3)
    assert caught.value.code == "slices-invalid"
    with pytest.raises(ConfigError) as refused:
        CycleGanConfig(tile=(15, 16))
    assert "tile: [15, 16], expected multiples of 4" in str(refused.value)
