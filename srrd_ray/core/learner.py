"""The interface between a model under training and its driver; numerics, no files, no Ray.

A `Learner` owns its networks, losses and data; `cluster.training.fit` drives a sequence of them in DDP and
keeps their checkpoints. All randomness comes from (seed, epoch),
so that a resumed run repeats the interrupted one exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.hashing import seed_from

if TYPE_CHECKING:  # torch takes seconds to import, and a stage that is finished needs none
    from torch import nn
    from torch.optim import Optimizer


FEW_PATIENTS = 20
"""Of fewer patients a model may have learnt by heart what it reads; it says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The part of one worker: `rank` of `world` workers."""

    rank: int = 0
    world: int = 1


class Learner(Protocol):
    """One model (or set of models) that is trained for a number of epochs."""

    @property
    def name(self) -> str:
        """Unique among the learners of a training, and fit for a file name, e.g. ``fold-0_teacher``."""
        ...

    @property
    def epochs(self) -> int:
        """How many epochs it takes."""
        ...

    def modules(self) -> Mapping[str, nn.Module]:
        """Every network that learns or is kept; wrapped for DDP by the driver, saved under these names."""
        ...

    def optimizers(self) -> Mapping[str, Optimizer]:
        """Every optimizer, saved with the checkpoints."""
        ...

    def train_epoch(self, epoch: int, shard: Shard, wrapped: Mapping[str, nn.Module]) -> dict[str, float]:
        """Run one epoch and return its losses.

        Calls that lead to a backward pass go through `wrapped` (the DDP-wrapped `modules()`, same names);
        every rank takes the same number of optimizer steps. Learning-rate schedules are functions of `epoch`.
        Raises `TrainingError` (`loss-not-finite`) instead of going on with a broken model.
        """
        ...


def batches(count: int, size: int, *, seed: int, epoch: int, shard: Shard) -> Iterator[NDArray[np.intp]]:
    """Yield this rank's indices of each global batch of an epoch.

    The order depends on `seed` and `epoch` alone.
    A global batch of `size` (at least one a rank) is dealt out to the ranks;
    the last one is filled up from the beginning, so that every rank takes as many steps.
    """
    order = np.random.default_rng(seed_from(seed, "order", epoch)).permutation(count)
    size = max(size - size % shard.world, shard.world)
    steps = -(-count // size)
    order = np.resize(order, steps * size)
    for step in range(steps):
        yield order[step * size + shard.rank : (step + 1) * size : shard.world]
