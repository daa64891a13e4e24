from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from srrd_ray.core.errors import ConfigError, TrainingError
from srrd_ray.core.learner import Shard
from srrd_ray.segmentation.config import SegmenterConfig
from srrd_ray.segmentation.losses import segmentation_loss
from srrd_ray.segmentation.network import AVERAGE, build_network, count_parameters
from srrd_ray.segmentation.step import NETWORK, SegmenterLearner
from tests.segmentation.planted import SPACING, simulated_map

SMALL = SegmenterConfig(
    widths=(4, 4, 8, 8, 8), patches=((32, 32, 32), (16, 32, 48)), spacing_mm=3.0, map_mm=SPACING, epochs=2, steps=2,
    knees=2, batch=2, precision="float32",
)  # fmt: skip
MAP = simulated_map()


def learner(seed: int = 3, config: SegmenterConfig = SMALL) -> SegmenterLearner:
    return SegmenterLearner(lambda _: MAP, config, seed)


def weights(trained: SegmenterLearner, name: str = NETWORK) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trained.modules()[name].parameters()])


def run(trained: SegmenterLearner, epochs: range) -> list[float]:
    return [trained.train_epoch(epoch, Shard(), trained.modules())["loss"] for epoch in epochs]


def test_the_same_seed_gives_the_same_weights_however_many_processes_draw() -> None:
    first = learner()
    run(first, range(1))
    torch.rand(7)
    second = learner(
        config=SegmenterConfig(**{f: getattr(SMALL, f) for f in SMALL.__slots__} | {"processes": 2})
    )
    run(second, range(1))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(learner(4)))


def test_the_average_follows_the_weights_and_stays_behind_them() -> None:
    trained = learner()
    assert torch.equal(weights(trained), weights(trained, AVERAGE))
    before = weights(trained).clone()
    run(trained, range(1))
    moved, mean = (weights(trained) - before).norm(), (weights(trained, AVERAGE) - before).norm()
    assert 0 < mean < moved


def test_ranks_draw_other_patches_of_the_same_shape() -> None:
    trained = learner()
    first, second = (list(trained._batches(0, Shard(rank=rank, world=2))) for rank in (0, 1))
    assert len(first) == len(second) == SMALL.steps
    for (a, _), (b, _) in zip(first, second, strict=True):
        assert a.shape == b.shape
        assert not torch.equal(a, b)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [learner()._rate(step) for step in range(4)]
    assert rates[0] > 0
    assert rates[-1] < SMALL.learning_rate / 2


@pytest.mark.training
def test_the_loss_falls_on_one_knee() -> None:
    config = SegmenterConfig(
        widths=(4, 8, 8, 8, 8), patches=((32, 32, 32),), spacing_mm=3.0, map_mm=SPACING, epochs=6, steps=8, knees=1,
        learning_rate=1e-2, precision="float32",
    )  # fmt: skip
    losses = run(learner(1, config), range(6))
    assert losses[-1] < 0.85 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    trained = learner()
    with torch.no_grad():
        next(trained.modules()[NETWORK].parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError) as caught:
        run(trained, range(1))
    assert caught.value.code == "loss-not-finite"


def test_what_is_not_known_does_not_count() -> None:
    share = torch.zeros(1, 6, 4, 4, 4)
    share[:, 2, :2] = 1
    logits = torch.randn(1, 6, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[..., 2:, :, :] = 9.0 * torch.randn(1, 6, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.isclose(segmentation_loss(logits, share), segmentation_loss(other, share))


def test_the_network_as_shipped_is_small_and_the_same_for_a_seed() -> None:
    first, second = (build_network(SegmenterConfig(), 7) for _ in range(2))
    assert 2.5e6 < count_parameters(first) < 3.5e6
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_patches_that_the_network_cannot_halve_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        SegmenterConfig(patches=((96, 96, 90),))
    assert "patches" in str(caught.value)


def test_a_step_without_a_finite_gradient_teaches_nothing() -> None:
    trained = learner()
    before = weights(trained).clone()
    image, eighths = next(iter(trained._batches(0, Shard())))
    share = eighths.float() / 8
    assert trained._step(torch.full_like(image, torch.nan), share, trained.modules()[NETWORK]) is None
    assert torch.equal(weights(trained), before)
    assert trained._step(image, share, trained.modules()[NETWORK]) is not None
    assert not torch.equal(weights(trained), before)


def test_thin_patches_are_learnt_in_single_precision_on_cpus() -> None:
    low, single = (learner(config=replace(SMALL, precision=one)) for one in ("bfloat16", "float32"))
    for trained in (low, single):
        run(trained, range(1))
    assert torch.equal(weights(low), weights(single))
