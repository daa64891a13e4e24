"""The loss of the segmenter: cross-entropy and Dice against parts of voxels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH = 50.0
"""Voxels added to both sides of a Dice: an absent class costs nothing where it is not claimed."""


def segmentation_loss(logits: Tensor, share: Tensor) -> Tensor:
    """Return cross-entropy plus one minus the mean Dice of the classes but the background.

    Parameters
    ----------
    logits
        (n, classes, z, y, x).
    share
        Part of each voxel that belongs to each class; sums to 1, or to 0 where nothing is known (left out).

    Examples
    --------
    >>> share = torch.zeros(1, 2, 4, 4, 4); share[:, 1] = 1
    >>> bool(segmentation_loss(40 * (share - 0.5), share) < 1e-6)
    True
    """
    known = share.sum(dim=1, keepdim=True)
    entropy = -(functional.log_softmax(logits, dim=1) * share).sum() / known.sum().clamp(min=1)
    guess = torch.softmax(logits, dim=1) * known
    axes = (0, 2, 3, 4)
    both, total = (guess * share).sum(axes), (guess**2 + share**2).sum(axes)
    dice = (2 * both + SMOOTH) / (total + SMOOTH)
    return entropy + (1 - dice[1:]).mean()
