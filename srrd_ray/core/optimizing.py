"""What every training does alike: a step, a learning rate that is set, and a moving average that follows."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srrd_ray.core.errors import TrainingError


def set_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    """Set the learning rate of all parameters."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def descend(loss: Tensor, optimizer: Optimizer, *, longest: float, where: str, todo: str) -> float:
    """Take one step with gradients of a norm of `longest` at most, and return the loss.

    Raises
    ------
    TrainingError
        `loss-not-finite`. Gradients are shared by all ranks before they are checked, so that all of them stop
        together.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    learning = [p for group in optimizer.param_groups for p in group["params"]]
    if not torch.isfinite(nn.utils.clip_grad_norm_(learning, longest)):
        raise TrainingError(
            "loss-not-finite", "the loss or its gradient is not finite", where=where,
            got=f"loss {float(loss.detach()):g}", todo=todo,
        )  # fmt: skip
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, most: float, done: int) -> None:
    """Move an average towards the weights, by 1 - `most` a step; in the first `done` steps more closely."""
    share = 1 - min(most, (1 + done) / (10 + done))
    for mean, new in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(new.detach(), share)
