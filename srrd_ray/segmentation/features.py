"""What the segmenter sees in a block of CT: the features of its finest levels, for comparing two images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.segmentation.grey_values import WINDOW_HU

LEVELS = 3
"""Of the network's encoder, the finest first."""


class AnatomicalFeatures(nn.Module):
    """The frozen encoder of a segmenter, on blocks of Hounsfield units at any spacing."""

    def __init__(self, network: nn.Module, spacing_mm: float) -> None:
        super().__init__()
        self.spacing_mm = spacing_mm
        first, others = network.get_submodule("input_block"), network.get_submodule("downsamples")
        self.levels = nn.ModuleList([first, *list(others.children())[: LEVELS - 1]])
        self.requires_grad_(False)

    def forward(self, hu: Tensor, spacing_mm: tuple[float, float, float]) -> list[Tensor]:
        """Return the features of each level of blocks (n, 1, depth, height, width), HU at `spacing_mm`.

        The block is brought onto the segmenter's grid, its sides rounded to what the network can halve.
        """
        low, high = WINDOW_HU
        state = ((hu - low) / (high - low)).clamp(0.0, 1.0)
        unit = 2 ** (LEVELS - 1)
        sizes = [
            max(round(n * spacing / self.spacing_mm / unit), 2) * unit
            for n, spacing in zip(hu.shape[2:], spacing_mm, strict=True)
        ]
        state = functional.interpolate(state, size=sizes, mode="trilinear", align_corners=False)
        found = []
        for level in self.levels:
            state = level(state)
            found.append(state)
        return found


def feature_distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Return the mean over levels of the L1 distance of features, each over the spread of the second."""
    return torch.stack(
        [(a - b).abs().mean() / b.std().clamp(min=1e-3) for a, b in zip(first, second, strict=True)]
    ).mean()
