"""The network: MONAI's DynUNet, five resolutions, instance normalisation, a map of logits for each class."""

from __future__ import annotations

from typing import Final

import torch
from monai.networks.nets import DynUNet
from torch import nn

from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.config import SegmenterConfig

AVERAGE: Final = "average"
"""Of a training's modules the moving average of its weights, which is what is used."""


def build_network(config: SegmenterConfig, seed: int = 0) -> nn.Module:
    """Return the network, its weights sampled from `seed` alone (the global random state is not changed).

    Input (n, 1, z, y, x), grey values 0…1, sides multiples of 16; output (n, classes, z, y, x), logits.
    """
    levels = len(config.widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network: nn.Module = DynUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=len(CLASSES),
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(config.widths),
            norm_name=("INSTANCE", {"affine": True}),
            act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
        )
    # a third of the time on CPUs
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
