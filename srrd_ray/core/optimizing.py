"""Steps that every training takes alike: a learning rate that is set, and a moving average that follows."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer


def set_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    """Set the learning rate of all parameters."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, most: float, done: int) -> None:
    """Move an average towards the weights, by 1 - `most` a step; in the first `done` steps more closely."""
    share = 1 - min(most, (1 + done) / (10 + done))
    for mean, new in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(new.detach(), share)
