"""The CycleGAN as a learner: one epoch of alternating generator and discriminator steps,
the same on one worker or many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from srrd_ray.core.devices import place
from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Shard, batches
from srrd_ray.core.optimizing import descend, set_rate
from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.losses import LOSS_TERMS, Criteria, LossTerm, Translations, cycle_distance
from srrd_ray.synthesis.networks import build_networks

__all__ = ["CycleGanConfig", "CycleGanLearner"]

GENERATORS = ("mr_to_ct", "ct_to_mr")
DISCRIMINATORS = ("discriminator_ct", "discriminator_mr")
LONGEST = 5.0
"""Norm of the gradient of a step."""
Slices = NDArray[np.float32]


class CycleGanLearner:
    """Learns MR -> CT and back from unpaired slices (`srrd_ray.core.learner.Learner`).

    No order, position or patient links the two sets of slices.
    All randomness comes from (seed, epoch, step), so there is no pool of past images as in the paper:
    it would be a state besides the weights.

    Parameters
    ----------
    mr, ct
        Scaled slices (n, height, width) from `slices_from_mr` and `slices_from_ct`.
    seed
        Seed of weights, order and jitter.
    start
        Weights that the generator of CT begins at; null: those of the seed.
    terms
        The loss of the generators; each counts where its weight in `config` is above 0.
    """

    def __init__(
        self,
        mr: Slices,
        ct: Slices,
        config: CycleGanConfig,
        seed: int,
        *,
        start: Mapping[str, Tensor] | None = None,
        terms: tuple[LossTerm, ...] = LOSS_TERMS,
    ) -> None:
        for name, slices in (("MR", mr), ("CT", ct)):
            if slices.ndim != 3 or len(slices) == 0 or slices.shape[1:] != tuple(config.tile):
                raise InputError(
                    "slices-invalid",
                    f"no {name} slices to learn from",
                    got=str(slices.shape),
                    expected=str(config.tile),
                )
        self._mr, self._ct = torch.from_numpy(mr)[:, None], torch.from_numpy(ct)[:, None]
        self._config, self._seed = config, seed
        self._modules = build_networks(config, seed_from(seed, "cyclegan", "weights"))
        self._top_rate = config.learning_rate if start is None else config.start_rate
        if start is not None:
            self._modules["mr_to_ct"].load_state_dict(dict(start))
        self._criteria = Criteria(config)
        self._terms = tuple(term for term in terms if term.weight(config) > 0)
        self._optimizers = {
            "generators": self._adam(GENERATORS),
            "discriminators": self._adam(DISCRIMINATORS),
        }

    def _adam(self, names: tuple[str, ...]) -> Optimizer:
        parameters = [p for name in names for p in self._modules[name].parameters()]
        return Adam(parameters, lr=self._top_rate, betas=(0.5, 0.99))

    @property
    def name(self) -> str:
        """``cyclegan``."""
        return "cyclegan"

    @property
    def epochs(self) -> int:
        """Epochs of the configuration."""
        return self._config.epochs

    def modules(self) -> Mapping[str, nn.Module]:
        """Both generators and both discriminators."""
        return self._modules

    def optimizers(self) -> Mapping[str, Optimizer]:
        """One for the generators, one for the discriminators."""
        return self._optimizers

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch and return mean losses: ``generators``, ``discriminators``, ``cycle``."""
        device = next(wrapped["mr_to_ct"].parameters()).device
        self._criteria.to(device)
        self._mr, self._ct = place((self._mr, self._ct), device)
        sums: dict[str, float] = {}
        for step, (mr, ct) in enumerate(self._pairs(epoch, shard, device)):
            set_rate(self._optimizers.values(), self._rate(epoch, step))
            losses = self._step(mr, ct, wrapped)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value / self._config.steps
        return sums

    def _pairs(self, epoch: int, shard: Shard, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this rank's slices of every step: the two modalities in independent orders."""
        orders = [
            self._rows(len(slices), seed_from(self._seed, "cyclegan", name), epoch, shard)
            for name, slices in (("mr", self._mr), ("ct", self._ct))
        ]
        noise = np.random.default_rng(seed_from(self._seed, "gain", epoch, shard.rank))
        for rows in zip(*orders, strict=True):
            mr, ct = (
                slices[torch.from_numpy(at).to(slices.device)].to(device)
                for slices, at in zip((self._mr, self._ct), rows, strict=True)
            )
            gain = noise.normal(1.0, self._config.gain_jitter, (len(mr), 1, 1, 1)).astype(np.float32)
            yield (mr + 1.0) * torch.from_numpy(gain).to(device) - 1.0, ct

    def _rows(self, count: int, seed: int, epoch: int, shard: Shard) -> list[NDArray[np.intp]]:
        """Return rows for `steps` batches, walking through the slices again where they are few."""
        rows: list[NDArray[np.intp]] = []
        lap = 0
        while len(rows) < self._config.steps:
            rows.extend(
                batches(count, self._config.batch, seed=seed_from(seed, lap), epoch=epoch, shard=shard)
            )
            lap += 1
        return rows[: self._config.steps]

    def _rate(self, epoch: int, step: int) -> float:
        """Return the learning rate: constant, then falling to zero over the second half."""
        done = (epoch + step / self._config.steps) / self._config.epochs
        return self._top_rate * min(1.0, 2.0 * (1.0 - done) + 0.02)

    def _step(self, mr: Tensor, ct: Tensor, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        for name in DISCRIMINATORS:
            wrapped[name].requires_grad_(False)
        with _low_precision(mr.device):
            seen = self._translate(mr, ct, wrapped)
        loss = torch.stack([term.weight(self._config) * term.value(seen) for term in self._terms]).sum()
        self._update("generators", loss)
        for name in DISCRIMINATORS:
            wrapped[name].requires_grad_(True)
        discriminator_loss = self._discriminator_loss(
            wrapped["discriminator_ct"], ct, seen.fake_ct
        ) + self._discriminator_loss(wrapped["discriminator_mr"], mr, seen.fake_mr)
        self._update("discriminators", discriminator_loss)
        values = torch.stack([loss, discriminator_loss, cycle_distance(seen)]).detach().tolist()
        return dict(zip(("generators", "discriminators", "cycle"), values, strict=True))

    def _translate(self, mr: Tensor, ct: Tensor, wrapped: Mapping[str, nn.Module]) -> Translations:
        """Return both translations and the way back, with the scores of the discriminators."""
        fake_ct: Tensor = wrapped["mr_to_ct"](mr)
        fake_mr: Tensor = wrapped["ct_to_mr"](ct)
        return Translations(
            mr=mr,
            ct=ct,
            fake_ct=fake_ct.float(),
            fake_mr=fake_mr.float(),
            cycled_mr=wrapped["ct_to_mr"](fake_ct).float(),
            cycled_ct=wrapped["mr_to_ct"](fake_mr).float(),
            scores_ct=wrapped["discriminator_ct"](fake_ct)[-1].float(),
            scores_mr=wrapped["discriminator_mr"](fake_mr)[-1].float(),
            criteria=self._criteria,
        )

    def _discriminator_loss(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        with _low_precision(real.device):
            scores = discriminator(torch.cat([real, fake.detach()]))[-1].float()
        return self._criteria.discriminators(scores[: len(real)], scores[len(real) :])

    def _update(self, name: str, loss: Tensor) -> None:
        todo = "Lower synthesis.learning_rate, or look for damaged images."
        descend(loss, self._optimizers[name], longest=LONGEST, where=f"cyclegan, {name}", todo=todo)


def _low_precision(device: torch.device) -> torch.autocast:
    """Return a context in which a GPU convolves in bfloat16; losses, weights and CPUs stay single."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
