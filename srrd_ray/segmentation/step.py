"""The segmenter as a learner: patches drawn on the fly, a moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import cos, pi
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset

from srrd_ray.core.errors import TrainingError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Shard
from srrd_ray.core.optimizing import follow, set_rate
from srrd_ray.segmentation.config import LEVELS_FACTOR, SegmenterConfig
from srrd_ray.segmentation.contrast import Example, draw
from srrd_ray.segmentation.losses import segmentation_loss
from srrd_ray.segmentation.network import AVERAGE, build_network

LabelMaps = Callable[[int], NDArray[np.uint8]]
"""Returns the label map of a simulated knee by its number; may be called in several processes."""
Batch: TypeAlias = tuple[Tensor, Tensor]
NETWORK = "network"
MOST_SKIPPED = 0.1
"""Share of the steps of an epoch whose gradient may be no number, as half precision gives it now and then."""
THICK = 3 * LEVELS_FACTOR
"""Voxels of a patch below which CPUs learn in single precision: torch 2.13 leaves memory as it was in the
place of the bfloat16 gradient of a kernel of 3 over a level that is 2 thin: any number, even infinite.
"""


class SegmenterLearner:
    """Learns bones from drawn patches (`srrd_ray.core.learner.Learner`).

    All randomness comes from (seed, epoch, step, place in the batch).
    """

    def __init__(
        self, maps: LabelMaps, config: SegmenterConfig, seed: int, start: nn.Module | None = None
    ) -> None:
        self._maps, self._config, self._seed = maps, config, seed
        network = build_network(config, seed_from(seed, "segmenter", "weights"))
        if start is not None:
            network.load_state_dict(start.state_dict())
        self._modules = {NETWORK: network, AVERAGE: deepcopy(network)}
        self._drawn: tuple[int, Iterator[Batch]] | None = None
        self._optimizer = AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    @property
    def name(self) -> str:
        """``segmenter``."""
        return "segmenter"

    @property
    def epochs(self) -> int:
        """Epochs of the configuration."""
        return self._config.epochs

    def modules(self) -> Mapping[str, nn.Module]:
        """The network, and the moving average of its weights, which is what is used."""
        return self._modules

    def optimizers(self) -> Mapping[str, Optimizer]:
        """The one optimizer."""
        return {NETWORK: self._optimizer}

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch and return its mean ``loss`` and how many steps were ``skipped``.

        Raises
        ------
        TrainingError
            `loss-not-finite` where more than `MOST_SKIPPED` of the steps had no finite gradient.
        """
        device = next(wrapped[NETWORK].parameters()).device
        wrapped[NETWORK].train()
        losses: list[float] = []
        for step, (image, eighths) in enumerate(self._batches(epoch, shard)):
            done = epoch * self._config.steps + step
            set_rate([self._optimizer], self._rate(done))
            image = image.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last_3d)
            share = eighths.to(device, non_blocking=True).float() / 8
            loss = self._step(image, share, wrapped[NETWORK])
            if loss is not None:
                follow(self._modules[AVERAGE], self._modules[NETWORK], self._config.average, done)
                losses.append(loss)
        skipped = self._config.steps - len(losses)
        if skipped > MOST_SKIPPED * self._config.steps:
            raise TrainingError(
                "loss-not-finite", "the loss of the segmenter is not finite", where="segmenter",
                got=f"{skipped} of {self._config.steps} steps of an epoch", todo="Lower the learning rate.",
            )  # fmt: skip
        return {"loss": sum(losses) / len(losses), "skipped": skipped}

    def _batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        """Yield this rank's batch of every step of an epoch; those of later steps are drawn meanwhile."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self._from(epoch, shard))
        _, batches = self._drawn
        for _ in range(self._config.steps):
            yield next(batches)
        self._drawn = (epoch + 1, batches)

    def _from(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        """Return an iterator over the batches of this epoch and of all later ones."""
        patches = _Patches(maps=self._maps, config=self._config, seed=self._seed)
        per_rank = max(self._config.batch // shard.world, 1)
        steps = range(epoch * self._config.steps, self._config.epochs * self._config.steps)
        places = range(shard.rank * per_rank, (shard.rank + 1) * per_rank)
        return iter(
            DataLoader(
                patches,
                batch_sampler=[[(step, place) for place in places] for step in steps],
                num_workers=self._config.processes,
                collate_fn=_stacked,
                pin_memory=torch.cuda.is_available(),
            )
        )

    def _step(self, image: Tensor, share: Tensor, network: nn.Module) -> float | None:
        """Return the loss of one step; null where its gradient is not finite, and nothing was learnt.

        The gradient is the same in all workers, so that they agree on it.
        """
        thin = image.device.type == "cpu" and min(image.shape[2:]) < THICK
        low = self._config.precision == "bfloat16" and not thin
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=low):
            logits: Tensor = network(image)
        loss = segmentation_loss(logits.float(), share)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        if not torch.isfinite(norm):
            return None
        self._optimizer.step()
        return float(loss.detach())

    def _rate(self, done: int) -> float:
        """Return the learning rate of a step."""
        part = done / (self._config.epochs * self._config.steps)
        rising = min(1.0, (part + 1e-3) / max(self._config.warm_up, 1e-3))
        return self._config.learning_rate * rising * (0.5 + 0.5 * cos(pi * part))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Patches(Dataset[Example]):
    """Patches by (step, place in the batch); all of a step have one shape."""

    maps: LabelMaps
    config: SegmenterConfig
    seed: int

    def __getitem__(self, at: tuple[int, int]) -> Example:
        config, (step, place) = self.config, at
        epoch, step = divmod(step, config.steps)
        shapes = np.random.default_rng(seed_from(self.seed, "patch", epoch, step))
        shape = config.patches[int(shapes.integers(len(config.patches)))]
        rng = np.random.default_rng(seed_from(self.seed, "example", epoch, step, place))
        labels = self.maps(int(rng.integers(config.knees)))
        return draw(rng, labels, config.map_mm, shape, config.spacing_mm)


def _stacked(examples: list[Example]) -> Batch:
    """Return images (n, 1, z, y, x) and eighths of voxels (n, classes, z, y, x) of a batch."""
    image = torch.from_numpy(np.stack([example.image for example in examples])[:, None])
    return image, torch.from_numpy(np.stack([example.eighths for example in examples]))
