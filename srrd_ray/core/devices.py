"""Which device a process has, and whether what is learnt from lies on it."""

from __future__ import annotations

import torch
from torch import Tensor

SHARE_OF_FREE = 0.4
"""Of a device's free memory that training data may take; the rest is for the networks."""


def fastest_device() -> torch.device:
    """Return the GPU of this process (Ray shows a worker its own, or none), else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(tensors: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Return the tensors on `device`, so that no step waits for a copy; where they were if it has no room.

    Examples
    --------
    >>> data = (torch.zeros(3),)
    >>> place(data, torch.device("cpu"))[0] is data[0]
    True
    """
    if device.type != "cuda" or all(tensor.device == device for tensor in tensors):
        return tensors
    free, _ = torch.cuda.mem_get_info(device)
    if sum(tensor.nbytes for tensor in tensors) > SHARE_OF_FREE * free:
        return tensors
    return tuple(tensor.to(device) for tensor in tensors)
