"""The teacher (MR) and the student (CT): one compact isotropic network at two scales, with a histogram head.

GroupNorm only: nothing depends on the batch, and training and evaluation are the same function.
Normalisation constants are buffers, so that weights carry them and a network reads raw input.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from srrd_ray.core.hashing import seed_from
from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.distillation.bins import BINS, bin_centres, bin_widths
from srrd_ray.distillation.config import Architecture, NetworkConfig
from srrd_ray.distillation.texture import masked_mean, texture

POOLED = 4
CHUNK = 256
"""Cubes of which statistics are taken at a time: memory does not grow with their number."""


class Reading(NamedTuple):
    """The output of a network: logits (b, parameter, BINS) and the features after each block,
    each pooled to 4³.
    """

    logits: Tensor
    features: tuple[Tensor, ...]


class ResidualBlock(nn.Module):
    """Two 3³ convolutions round a shortcut; the first halves the grid."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inside)
        self.conv1 = nn.Conv3d(inside, outside, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, outside)
        self.conv2 = nn.Conv3d(outside, outside, 3, padding=1, bias=False)
        self.shortcut = nn.Conv3d(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features on half the grid."""
        rest: Tensor = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        short: Tensor = self.shortcut(F.avg_pool3d(x, 2, ceil_mode=True))
        return rest + short


class HistogramHead(nn.Module):
    """Logits of a histogram for each parameter: a Gaussian and a linear residue.

    The centre and the log SD of the Gaussian are linear in the features. The Gaussian makes few cubes enough:
    its centre is an ordinary regression. The residue, 0 at first, lets a histogram take any other shape. The
    buffers `middle` and `unit` are mean and SD of the training targets.
    """

    middle: Tensor
    unit: Tensor
    at: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        count = len(PARAMETERS)
        self.centre = nn.Linear(features, count)
        self.log_sd = nn.Linear(features, count)
        self.residue = nn.Linear(features, count * BINS)
        for layer in (self.centre, self.log_sd, self.residue):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("middle", bin_centres().mean(dim=1))
        self.register_buffer("unit", bin_widths() * BINS / 6)
        self.register_buffer("at", bin_centres())

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (b, parameter, BINS)."""
        mean = self.middle + self.unit * self.centre(features)
        sd = self.unit * self.log_sd(features).clamp(-4, 2).exp()
        residue: Tensor = self.residue(features).view(-1, len(PARAMETERS), BINS)
        gaussian: Tensor = -(((self.at - mean[..., None]) / sd[..., None]) ** 2) / 2
        return gaussian + residue


class PatchRegressor(nn.Module):
    """Cubes (b, 1, z, y, x) and bone masks of the same shape in, a `Reading` out.

    `block` makes a block from its channels inside, its channels outside and the groups of its GroupNorms:
    features (b, channel, z, y, x) in, on half the grid out.
    """

    input_mean: Tensor
    input_sd: Tensor
    texture_mean: Tensor
    texture_sd: Tensor

    def __init__(
        self, config: NetworkConfig, block: Callable[[int, int, int], nn.Module] = ResidualBlock
    ) -> None:
        super().__init__()
        self.config = config
        kernel, stride = config.stem
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.stem = nn.Conv3d(2, config.width, kernel, stride=stride, padding=padding, bias=False)
        bin_widths = (config.width, *config.channels)
        self.blocks = nn.ModuleList(block(a, b, config.groups) for a, b in pairwise(bin_widths))
        self.norm = nn.GroupNorm(config.groups, bin_widths[-1])
        statistics = 3 + len(config.lags)
        self.head = HistogramHead(bin_widths[-1] + statistics)
        self.register_buffer("input_mean", torch.zeros(()))
        self.register_buffer("input_sd", torch.ones(()))
        self.register_buffer("texture_mean", torch.zeros(statistics))
        self.register_buffer("texture_sd", torch.ones(statistics))

    def normalised(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the image in units of the training set's spread, 0 outside the bone."""
        shown: Tensor = (image - self.input_mean) / self.input_sd * mask
        return shown

    def statistics(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the texture statistics (b, k) of a raw cube before standardisation."""
        return texture(self.normalised(image, mask), mask, self.config.lags)

    def statistics_of(
        self, images: Tensor, masks: Tensor, cut: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the statistics (n, k) of stored cubes, some at a time; `cut` changes their masks."""
        parts = zip(images.split(CHUNK), masks.split(CHUNK), strict=True)
        shown = ((image.float(), mask.float()) for image, mask in parts)
        return torch.cat([self.statistics(image, cut(mask) if cut else mask) for image, mask in shown])

    def forward(self, image: Tensor, mask: Tensor) -> Reading:
        """Return the reading of raw cubes."""
        shown = self.normalised(image, mask)
        x = self.stem(torch.cat([shown, mask], dim=1).contiguous(memory_format=torch.channels_last_3d))
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(F.adaptive_avg_pool3d(x, POOLED))
        weights = F.adaptive_avg_pool3d(mask, tuple(x.shape[2:]))
        pooled = masked_mean(F.relu(self.norm(x)), weights)
        statistics = (texture(shown, mask, self.config.lags) - self.texture_mean) / self.texture_sd
        logits = self.head(torch.cat([statistics.clamp(-5, 5), pooled], dim=1))
        return Reading(logits, tuple(features))


class Adapters(nn.Module):
    """1³ convolutions from the student's channels to the teacher's, one per block."""

    def __init__(self, student: NetworkConfig, teacher: NetworkConfig) -> None:
        super().__init__()
        pairs = zip(student.channels, teacher.channels, strict=True)
        self.maps = nn.ModuleList(nn.Conv3d(s, t, 1) for s, t in pairs)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the student's features in the teacher's channels."""
        return tuple(adapter(feature) for adapter, feature in zip(self.maps, features, strict=True))


def architecture(name: Architecture) -> Callable[[NetworkConfig], PatchRegressor]:
    """Return what makes a network of that architecture.

    A new one is a `case` here and a word of `config.Architecture`.
    """
    match name:
        case "residual":
            return PatchRegressor
        case never:
            assert_never(never)


def build(
    config: NetworkConfig, seed: int, make: Callable[[NetworkConfig], PatchRegressor] | None = None
) -> PatchRegressor:
    """Return a network with weights that depend on `config` and `seed` alone.

    `make` replaces what makes its architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(seed, "weights", config.input))
        return (make or architecture(config.architecture))(config)


def build_adapters(student: NetworkConfig, teacher: NetworkConfig, seed: int) -> Adapters:
    """Return adapters with weights that depend on the two configurations and `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(seed, "adapters"))
        return Adapters(student, teacher)


@torch.no_grad()
def fit_constants(network: PatchRegressor, image: Tensor, mask: Tensor, targets: Tensor) -> None:
    """Set the normalisation from stored cubes (n, 1, z, y, x), and start the head at the ridge regression of
    `targets` (n, parameter).

    The untrained network therefore predicts what the texture statistics alone can tell;
    training adds the rest.
    """
    mean, sd = _mean_and_sd(image, mask)
    network.input_mean.fill_(mean)
    network.input_sd.fill_(max(sd, 1e-6))
    statistics = network.statistics_of(image, mask)
    network.texture_mean.copy_(statistics.mean(dim=0))
    network.texture_sd.copy_(statistics.std(dim=0, correction=0).clamp_min(1e-3))
    standard = ((statistics - network.texture_mean) / network.texture_sd).clamp(-5, 5)
    head = network.head
    head.middle.copy_(targets.mean(dim=0))
    head.unit.copy_(targets.std(dim=0, correction=0).clamp_min(bin_widths() / 2))
    wanted = (targets - head.middle) / head.unit
    weights = ridge(standard, wanted)
    head.centre.weight[:, : standard.shape[1]] = weights.T
    residual = (wanted - standard @ weights).std(dim=0, correction=0)
    head.log_sd.bias.copy_(residual.clamp_min(0.1).log())


def _mean_and_sd(images: Tensor, masks: Tensor) -> tuple[float, float]:
    """Return mean and SD of stored cubes inside their masks."""
    count = total = squares = 0.0
    for image, mask in zip(images.split(CHUNK), masks.split(CHUNK), strict=True):
        inside = image[mask > 0].double()
        count, total = count + inside.numel(), total + float(inside.sum())
        squares += float((inside**2).sum())
    mean = total / max(count, 1)
    return mean, max(squares / max(count, 1) - mean**2, 0.0) ** 0.5


def ridge(features: Tensor, targets: Tensor, penalty: float = 0.01) -> Tensor:
    """Return W (k, parameter) that minimises |features W - targets|² / n + penalty |W|²; both have mean 0."""
    x, y = features.double(), targets.double()
    square = x.T @ x / len(x) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(square, x.T @ y / len(x))
    return solved.float()
