"""The segmenter as a learner: patches drawn on the fly, a moving average of the weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from srrd_ray.core.errors import TrainingError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.learner import Shard
from srrd_ray.segmentation.config import LEVELS_FACTOR, SegmenterConfig
from srrd_ray.segmentation.contrast import Example, draw
from srrd_ray.segmentation.losses import segmentation_loss
from srrd_ray.segmentation.network import AVERAGE, build_network

LabelMaps = Callable[[int], NDArray[np.uint8]]
"""Returns the label map of a simulated knee by its number; may be called by several threads."""
NETWORK = "network"
MOST_SKIPPED = 0.1
"""Share of the steps of an epoch whose gradient may be no number, as half precision gives it now and then."""
THICK = 3 * LEVELS_FACTOR
"""Voxels of a patch below which CPUs learn in single precision: torch 2.13 leaves memory as it was in the
place of the bfloat16 gradient of a kernel of 3 over a level that is 2 thin: any number, even infinite.
"""


class SegmenterLearner:
    """Learns bones from drawn patches (`srrd_ray.core.learner.Learner`).

    All randomness comes from (seed, epoch, step, place in the batch). The first epoch sees a few knees, each
    later one some more, so that their label maps can be made meanwhile.
    """

    def __init__(self, maps: LabelMaps, config: SegmenterConfig, seed: int) -> None:
        self._maps, self._config, self._seed = maps, config, seed
        network = build_network(config, seed_from(seed, "segmenter", "weights"))
        self._modules = {NETWORK: network, AVERAGE: deepcopy(network)}
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
        for step, examples in enumerate(self._batches(epoch, shard)):
            done = epoch * self._config.steps + step
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate(done)
            loss = self._step(*_stacked(examples, device), wrapped[NETWORK])
            if loss is not None:
                self._follow(done)
                losses.append(loss)
        skipped = self._config.steps - len(losses)
        if skipped > MOST_SKIPPED * self._config.steps:
            raise TrainingError(
                "loss-not-finite", "the loss of the segmenter is not finite", where="segmenter",
                got=f"{skipped} of {self._config.steps} steps of an epoch", todo="Lower the learning rate.",
            )  # fmt: skip
        return {"loss": sum(losses) / len(losses), "skipped": skipped}

    def _batches(self, epoch: int, shard: Shard) -> Iterator[list[Example]]:
        """Yield this rank's examples of every step; the next steps' are drawn meanwhile."""
        per_rank = max(self._config.batch // shard.world, 1)
        with ThreadPoolExecutor(self._config.threads) as pool:
            waiting: deque[list[Future[Example]]] = deque()
            ahead = 1 + self._config.threads // per_rank
            for step in range(self._config.steps + ahead):
                if step < self._config.steps:
                    places = range(shard.rank * per_rank, (shard.rank + 1) * per_rank)
                    waiting.append([pool.submit(self._draw, epoch, step, place) for place in places])
                if step >= ahead:
                    yield [future.result() for future in waiting.popleft()]

    def _draw(self, epoch: int, step: int, place: int) -> Example:
        config = self._config
        shapes = np.random.default_rng(seed_from(self._seed, "patch", epoch, step))
        shape = config.patches[int(shapes.integers(len(config.patches)))]
        rng = np.random.default_rng(seed_from(self._seed, "example", epoch, step, place))
        seen = min(config.knees, config.first_knees + config.more_knees * epoch)
        labels = self._maps(int(rng.integers(seen)))
        return draw(rng, labels, config.map_mm, shape, config.spacing_mm)

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

    @torch.no_grad()
    def _follow(self, done: int) -> None:
        """Move the average towards the weights; early on it follows closely."""
        share = 1 - min(self._config.average, (1 + done) / (10 + done))
        pairs = zip(self._modules[AVERAGE].parameters(), self._modules[NETWORK].parameters(), strict=True)
        for mean, new in pairs:
            mean.lerp_(new.detach(), share)


def _stacked(examples: list[Example], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, …) and the parts of voxels (n, classes, …) of a batch."""
    image = torch.from_numpy(np.stack([example.image for example in examples])[:, None])
    share = torch.from_numpy(np.stack([example.eighths for example in examples]))
    image = image.to(device).contiguous(memory_format=torch.channels_last_3d)
    return image, share.to(device).float() / 8
