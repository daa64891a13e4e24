from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srrd_ray.core.errors import InputError, TrainingError
from srrd_ray.core.learner import Shard
from srrd_ray.synthesis.aligned import AVERAGE, DISCRIMINATOR, NETWORK, AlignedLearner, _curved
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.networks import Generator, build_networks
from srrd_ray.synthesis.pairs import AlignedPair

CONFIG = CycleGanConfig(start="random", epochs=1, tile=(16, 16), width=4, blocks=1, discriminator_width=4)
ALIGNED = AlignedConfig(epochs=2, steps=3, blocks=2, slices=4, learning_rate=5e-3)


class Means(nn.Module):
    """The distance of mean HU: features that a test can follow."""

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        return (made.mean() - real.mean()).abs() / 100


def pair(number: int, weight: float = 1.0) -> AlignedPair:
    rng = np.random.default_rng(number)
    mr = rng.uniform(-1, 1, (6, 20, 18)).astype(np.float32)
    hu = (300.0 - 200.0 * mr).astype(np.float32)
    return AlignedPair(mr=mr, hu=hu, weight=np.full_like(mr, weight), bone=mr > 0)


def start() -> dict[str, Tensor]:
    return {k: v.clone() for k, v in build_networks(CONFIG, 3)[NETWORK].state_dict().items()}


def learner(config: AlignedConfig = ALIGNED, **options: float) -> AlignedLearner:
    return AlignedLearner(
        lambda n: pair(n, **options), 3, start(), CONFIG, config, seed=5, features=Means()
    )  # fmt: skip


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def run(trained: AlignedLearner, epochs: range) -> list[dict[str, float]]:
    return [trained.train_epoch(epoch, Shard(), trained.modules()) for epoch in epochs]


def test_it_starts_from_the_weights_of_round_one() -> None:
    made = learner().modules()
    first = Generator(CONFIG)
    first.load_state_dict(start())
    assert torch.equal(flat(made[NETWORK]), flat(first))
    assert torch.equal(flat(made[AVERAGE]), flat(first))


def test_without_a_start_it_begins_at_the_weights_of_its_seed_alone() -> None:
    one, again, other = (
        AlignedLearner(pair, 3, None, CONFIG, replace(ALIGNED, feature_weight=0.0), seed=seed).modules()[
            NETWORK
        ]
        for seed in (5, 5, 6)
    )
    assert torch.equal(flat(one), flat(again))
    assert not torch.equal(flat(one), flat(other))


def test_grey_values_go_through_a_curve_that_keeps_dark_bright_and_their_order() -> None:
    trained = learner(replace(ALIGNED, curve_jitter=0.5, gain_jitter=0.0))
    plain = learner(replace(ALIGNED, gain_jitter=0.0))
    curved, straight = (one._draw(0, 0, 0) for one in (trained, plain))
    assert not np.allclose(curved[0], straight[0])
    np.testing.assert_array_equal(curved[1], straight[1])
    order = np.argsort(straight[0], axis=None)
    assert (np.diff(curved[0].ravel()[order]) >= 0).all()
    assert _curved(np.array([-1.0, 2.0], np.float32), 0.7).tolist() == [-1.0, 2.0]


def test_it_learns_what_lies_under_each_pixel() -> None:
    trained = learner(replace(ALIGNED, epochs=12, steps=10, adversarial_weight=0.0))
    losses = [one["l1_hu"] for one in run(trained, range(12))]
    assert losses[-1] < 0.5 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_a_resumed_epoch_is_the_same_epoch() -> None:
    first, second = learner(), learner()
    run(first, range(2))
    run(second, range(1))
    state = {name: module.state_dict() for name, module in second.modules().items()}
    third = learner()
    for name, module in third.modules().items():
        module.load_state_dict(state[name])
    for name, optimizer in third.optimizers().items():
        optimizer.load_state_dict(second.optimizers()[name].state_dict())
    run(third, range(1, 2))
    for name in (NETWORK, AVERAGE, DISCRIMINATOR):
        assert torch.equal(flat(first.modules()[name]), flat(third.modules()[name])), name


def test_pixels_that_are_not_believed_teach_nothing() -> None:
    trained = learner(weight=0.0)
    (losses,) = run(trained, range(1))
    assert losses["l1_hu"] == 0.0
    assert losses["features"] == 0.0


def test_terms_that_are_switched_off_are_not_computed() -> None:
    trained = learner(replace(ALIGNED, feature_weight=0.0, adversarial_weight=0.0))
    before = flat(trained.modules()[DISCRIMINATOR]).clone()
    (losses,) = run(trained, range(1))
    assert set(losses) == {"l1_hu"}
    assert torch.equal(before, flat(trained.modules()[DISCRIMINATOR]))


def test_every_rank_draws_blocks_of_its_own() -> None:
    trained = learner()
    places = [trained._places(Shard(rank=rank, world=2)) for rank in (0, 1)]
    first, second = (trained._draw(0, 0, place[0]) for place in places)
    assert len(places[0]) == len(places[1]) == 1
    assert not np.array_equal(first[0], second[0])


def test_no_knee_is_refused_and_a_loss_that_is_not_finite_stops_the_training() -> None:
    with pytest.raises(InputError, match="pairs-none"):
        AlignedLearner(pair, 0, start(), CONFIG, ALIGNED, seed=5)
    with pytest.raises(TrainingError, match="loss-not-finite"):
        run(learner(weight=float("nan")), range(1))
