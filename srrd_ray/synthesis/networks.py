"""The networks of the CycleGAN: a residual generator and MONAI's patch discriminator."""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.physics import guess_ct

CONTEXT = (5, 13)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions added to their input (the block of the paper's ``resnet_9blocks``)."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, channels, norm),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the image with what the block adds."""
        result: Tensor = image + self.body(image)
        return result


class Generator(nn.Module):
    """One image into another of the same size (n, 1, h, w), h and w multiples of ``2**downs``.

    Beside the image it sees means over 5 and 13 pixels:
    dark in MR is thin in cortex and wide in cartilage and muscle, and telling them apart is most of the task.

    Encoder, residual blocks, decoder with the encoder's features added back, so that edges keep their place.
    The output is linear: Hounsfield units do not saturate. `from_mr` adds the first guess of physics (unless
    `first_guess` says otherwise), which the untrained network leaves as it is: unpaired training from random
    weights tends to swap cortex and muscle, both dark in MR.
    """

    def __init__(self, config: CycleGanConfig, *, from_mr: bool = True) -> None:
        super().__init__()
        self.guesses = from_mr and config.first_guess == "physics"
        sizes = [config.width * 2**level for level in range(config.downs + 1)]
        self.first = nn.Sequential(*_convolution(1 + len(CONTEXT), sizes[0], config.norm, size=5))
        self.down = nn.ModuleList(
            nn.Sequential(*_convolution(a, b, config.norm, stride=2)) for a, b in pairwise(sizes)
        )
        self.middle = nn.Sequential(*(ResidualBlock(sizes[-1], config.norm) for _ in range(config.blocks)))
        self.up = nn.ModuleList(
            nn.Sequential(*_convolution(b, a, config.norm), nn.Upsample(scale_factor=2, mode="bilinear"))
            for a, b in reversed(list(pairwise(sizes)))
        )
        self.last = nn.Sequential(
            *_convolution(sizes[0], sizes[0], config.norm),
            nn.Conv2d(sizes[0], 1, 3, padding=1, padding_mode="reflect"),
        )
        if from_mr:
            for parameter in self.last[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """Return the translated image, of the same shape."""
        means = [
            functional.avg_pool2d(image, n, stride=1, padding=n // 2, count_include_pad=False)
            for n in CONTEXT
        ]
        features: list[Tensor] = [self.first(torch.cat([image, *means], dim=1))]
        for layer in self.down:
            features.append(layer(features[-1]))
        state: Tensor = self.middle(features.pop())
        for layer in self.up:
            state = layer(state) + features.pop()
        result: Tensor = self.last(state)
        return guess_ct(image) + result if self.guesses else result


def _convolution(inputs: int, outputs: int, norm: str, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    layer: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, padding_mode="reflect")
    ]
    if norm == "instance":
        layer.append(nn.InstanceNorm2d(outputs))
    return [*layer, nn.LeakyReLU(0.1)]


def discriminator(config: CycleGanConfig) -> nn.Module:
    """Return MONAI's patch discriminator; its last output is the map of scores.

    Without normalisation it also scores the level of the Hounsfield units, not their pattern alone.
    """
    network: nn.Module = PatchDiscriminator(
        spatial_dims=2,
        channels=config.discriminator_width,
        in_channels=1,
        num_layers_d=config.discriminator_layers,
        norm="INSTANCE" if config.norm == "instance" else None,
    )
    return network


def build_networks(config: CycleGanConfig, seed: int) -> dict[str, nn.Module]:
    """Return the four networks, their weights sampled from `seed` alone
    (the global random state is not changed).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        made: dict[str, nn.Module] = {
            "mr_to_ct": Generator(config),
            "ct_to_mr": Generator(config, from_mr=False),
            "discriminator_ct": discriminator(config),
            "discriminator_mr": discriminator(config),
        }
    for network in made.values():
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous(memory_format=_layout(parameter))
    return made


def _layout(parameter: Tensor) -> torch.memory_format:
    """Return channels-last for kernels: half the time of a convolution on a CPU."""
    return torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
