"""The second round as a learner: MR to CT on slices that registration has aligned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from math import cos, pi
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Shard
from srrd_ray.core.optimizing import descend, follow, set_rate
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.losses import Criteria
from srrd_ray.synthesis.networks import Generator, build_networks
from srrd_ray.synthesis.pairs import AlignedPair, Floats
from srrd_ray.synthesis.slices import HU_CENTRE, HU_SCALE

NETWORK, AVERAGE, DISCRIMINATOR = "mr_to_ct", "average", "discriminator_ct"
FLOOR_HU, CEILING_HU = -1000.0, 2200.0
LONGEST = 5.0
"""Norm of the gradient of a step."""
WARM_UP = 100
"""Steps, at most a tenth of all, over which the rate rises where weights are those of the seed: without
normalisation, full steps from there end far off.
"""
Pairs = Callable[[int], AlignedPair]
"""Returns the aligned slices of a knee by its number."""


class AlignedLearner:
    """Learns MR to CT from aligned slices (`srrd_ray.core.learner.Learner`).

    All randomness comes from (seed, epoch, step, place in the batch). A knee is asked for when a block of it
    is drawn; what stays in memory is up to `pairs`.

    Parameters
    ----------
    pairs, knees
        The knees by number, and how many there are.
    start
        Weights of the generator of the first round, which `config` describes; null: weights of the seed.
    features
        A frozen network and the distance of what it sees; null where `feature_weight` is 0.
    """

    def __init__(
        self,
        pairs: Pairs,
        knees: int,
        start: Mapping[str, Tensor] | None,
        config: CycleGanConfig,
        aligned: AlignedConfig,
        *,
        seed: int,
        features: nn.Module | None = None,
    ) -> None:
        if knees == 0:
            raise InputError("pairs-none", "no aligned slices to learn from")
        networks = build_networks(aligned_networks(config, aligned), seed_from(seed, "aligned", "weights"))
        generator = networks[NETWORK]
        if start is not None:
            _start_from(generator, start, config)
        self._modules = {
            NETWORK: generator,
            AVERAGE: deepcopy(generator),
            DISCRIMINATOR: networks[DISCRIMINATOR],
        }
        self._pairs, self._knees = pairs, knees
        self._config, self._aligned, self._seed = config, aligned, seed
        self._criteria, self._features = Criteria(config), features
        self._most = aligned.start_rate if config.start == "school" else aligned.learning_rate
        self._warm_up = min(WARM_UP, aligned.epochs * aligned.steps // 10) if start is None else 0
        self._optimizers = {
            name: Adam(self._modules[name].parameters(), lr=self._most, betas=(0.5, 0.99))
            for name in (NETWORK, DISCRIMINATOR)
        }

    @property
    def name(self) -> str:
        """``aligned``."""
        return "aligned"

    @property
    def epochs(self) -> int:
        """Epochs of the configuration."""
        return self._aligned.epochs

    def modules(self) -> Mapping[str, nn.Module]:
        """The generator, the moving average of its weights, which is what is used, and the discriminator."""
        return self._modules

    def optimizers(self) -> Mapping[str, Optimizer]:
        """One for the generator, one for the discriminator."""
        return self._optimizers

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch and return mean losses.

        They are ``l1_hu`` and, where they count, ``features``, ``adversarial`` and ``discriminator``.
        """
        device = next(wrapped[NETWORK].parameters()).device
        if self._features is not None:
            self._features.to(device)
        sums: dict[str, float] = {}
        for step in range(self._aligned.steps):
            done = epoch * self._aligned.steps + step
            set_rate(self._optimizers.values(), self._rate(done))
            batch = [self._draw(epoch, step, place) for place in self._places(shard)]
            mr, target, weight = (
                torch.from_numpy(np.stack(images)).to(device) for images in zip(*batch, strict=True)
            )
            for name, value in self._step(mr, target, weight, wrapped).items():
                sums[name] = sums.get(name, 0.0) + value / self._aligned.steps
            follow(self._modules[AVERAGE], self._modules[NETWORK], self._aligned.average, done)
        return sums

    def _places(self, shard: Shard) -> range:
        per_rank = max(self._aligned.blocks // shard.world, 1)
        return range(shard.rank * per_rank, (shard.rank + 1) * per_rank)

    def _rate(self, done: int) -> float:
        part = done / (self._aligned.epochs * self._aligned.steps)
        rising = min((done + 1) / (self._warm_up + 1), 1.0)
        return self._most * rising * (0.51 + 0.49 * cos(pi * part))

    def _draw(self, epoch: int, step: int, place: int) -> tuple[Floats, Floats, Floats]:
        """Return MR, target and weight of a block (slice, row, column), in the networks' units."""
        rng = np.random.default_rng(seed_from(self._seed, "block", epoch, step, place))
        pair = self._pairs(int(rng.integers(self._knees)))
        shape = (self._aligned.slices, *self._config.tile)
        start = [
            int(rng.integers(max(have - want, 0) + 1))
            for have, want in zip(pair.mr.shape, shape, strict=True)
        ]
        gain = np.float32(rng.normal(1.0, self._aligned.gain_jitter))
        mr, hu = (_cut(image, start, shape, "edge") for image in (pair.mr, pair.hu))
        weight = _cut(pair.weight, start, shape, "constant")
        step_order = -1 if rng.random() < 0.5 else 1  # the other side's knee
        target = (np.clip(hu, FLOOR_HU, CEILING_HU) - HU_CENTRE) / HU_SCALE
        seen = (mr + 1.0) * gain - 1.0
        if self._aligned.curve_jitter > 0:
            seen = _curved(seen, rng.normal(0.0, self._aligned.curve_jitter))
        images = (seen, target, weight)
        mr, target, weight = (np.ascontiguousarray(image[::step_order], dtype=np.float32) for image in images)
        return mr, target, weight

    def _step(
        self, mr: Tensor, target: Tensor, weight: Tensor, wrapped: Mapping[str, nn.Module]
    ) -> dict[str, float]:
        """Return the losses of one step; images are (block, slice, row, column)."""
        aligned = self._aligned
        made: Tensor = wrapped[NETWORK](mr.flatten(0, 1)[:, None]).view_as(mr)
        l1 = (weight * (made - target).abs()).sum() / weight.sum().clamp(min=1.0)
        losses = {"l1_hu": l1 * HU_SCALE}
        total = aligned.l1_weight * l1
        # where the CT says nothing both images are the same, and nothing is learnt
        real = target + (1.0 - weight) * (made.detach() - target)
        if self._features is not None and aligned.feature_weight > 0:
            losses["features"] = self._features(_units(made), _units(real))
            total = total + aligned.feature_weight * losses["features"]
        if aligned.adversarial_weight > 0:
            scores = self._scores(made, wrapped, learns=False)
            losses["adversarial"] = self._criteria.generator_loss(scores)
            total = total + aligned.adversarial_weight * losses["adversarial"]
        self._update(NETWORK, total)
        if aligned.adversarial_weight > 0:
            scores = self._scores(torch.cat([real, made.detach()]), wrapped, learns=True)
            half = len(scores) // 2
            losses["discriminator"] = self._criteria.discriminators(scores[:half], scores[half:])
            self._update(DISCRIMINATOR, losses["discriminator"])
        return {name: float(value.detach()) for name, value in losses.items()}

    def _scores(self, images: Tensor, wrapped: Mapping[str, nn.Module], *, learns: bool) -> Tensor:
        wrapped[DISCRIMINATOR].requires_grad_(learns)
        scores: Tensor = wrapped[DISCRIMINATOR](images.flatten(0, 1)[:, None])[-1]
        return scores

    def _update(self, name: str, loss: Tensor) -> None:
        todo = "Lower synthesis_aligned.learning_rate, or look for damaged images."
        descend(loss, self._optimizers[name], longest=LONGEST, where=f"aligned, {name}", todo=todo)


def aligned_networks(config: CycleGanConfig, aligned: AlignedConfig) -> CycleGanConfig:
    """Return the networks of round two, given those of round one: the school's stay as they are."""
    return config if config.start == "school" else replace(config, norm=aligned.norm)


def _start_from(generator: nn.Module, start: Mapping[str, Tensor], config: CycleGanConfig) -> None:
    """Give a generator the weights of one that differs in its normalisation alone, which has none."""
    first = Generator(config)
    first.load_state_dict(dict(start))
    with torch.no_grad():
        for mine, theirs in zip(generator.parameters(), first.parameters(), strict=True):
            mine.copy_(theirs)


def _curved(mr: Floats, log_exponent: float) -> Floats:
    """Return scaled MR through a power curve that leaves darkest and brightest (-1, 2) where they are."""
    bent: Floats = 3.0 * (np.clip(mr + 1.0, 0.0, None) / 3.0) ** np.float32(np.exp(log_exponent)) - 1.0
    return bent


def _units(scaled: Tensor) -> Tensor:
    """Return HU of blocks as (block, 1, row, column, slice): the order (z, y, x) of volumes."""
    return (scaled * HU_SCALE + HU_CENTRE).permute(0, 2, 3, 1)[:, None]


def _cut(
    image: Floats, start: list[int], shape: tuple[int, ...], beyond: Literal["edge", "constant"]
) -> Floats:
    window = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    part = image[window]
    short = [(0, want - have) for want, have in zip(shape, part.shape, strict=True)]
    return np.pad(part, short, mode=beyond)
