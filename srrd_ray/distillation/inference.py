"""Predictions of a trained network: parameters with their spread,
and the teacher outputs that a student learns from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from srrd_ray.core.devices import fastest_device
from srrd_ray.distillation.augmentation import FLIPS, mirror
from srrd_ray.distillation.bins import gaussian, mean_and_sd
from srrd_ray.distillation.data import DistillationData
from srrd_ray.distillation.halves import read_halves
from srrd_ray.distillation.networks import PatchRegressor, Reading

LEAST = 1e-12
"""Probability of a bin that nothing is said of: its logarithm stays finite."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TeacherOutputs:
    """The outputs of a teacher on training cubes: logits (n, parameter, BINS), averaged over mirror images,
    and for each block its standardised features (mirror image, n, channel, 4, 4, 4);
    the means it reads in each half (half, n, parameter).
    """

    logits: Tensor
    features: tuple[Tensor, ...]
    halves: Tensor

    def values(self) -> Tensor:
        """Return the means (n, parameter) of the predicted histograms."""
        return mean_and_sd(self.logits.softmax(dim=-1))[0]

    def saying(self, values: NDArray[np.float32], sd: Sequence[float]) -> TeacherOutputs:
        """Return the same features with other predictions: Gaussians round `values` (n, parameter)."""
        said = gaussian(torch.from_numpy(values), torch.tensor(sd))
        return replace(self, logits=said.clamp_min(LEAST).log())

    def rows(self, keep: NDArray[np.bool_]) -> TeacherOutputs:
        """Return the outputs of the rows that `keep` selects."""
        chosen = torch.from_numpy(np.flatnonzero(keep))
        return TeacherOutputs(
            logits=self.logits[chosen],
            features=tuple(f[:, chosen] for f in self.features),
            halves=self.halves[:, chosen],
        )


def to_cubes(images: NDArray[np.generic], masks: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return arrays (n, z, y, x) as tensors with a channel axis; the images keep their storage type."""
    return torch.from_numpy(np.ascontiguousarray(images))[:, None], torch.from_numpy(
        np.ascontiguousarray(masks)
    )[:, None]


@torch.no_grad()
def predict(
    network: PatchRegressor, images: NDArray[np.generic], masks: NDArray[np.uint8], batch_size: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return means and SDs (n, parameter) of predicted histograms, averaged over the four mirror images."""
    probabilities = []
    for image, mask in _chunks(to_cubes(images, masks), batch_size):
        shown = [_read(network, image, mask, flip).logits for flip in range(len(FLIPS))]
        probabilities.append(torch.stack(shown).softmax(dim=-1).mean(dim=0))
    mean, sd = mean_and_sd(torch.cat(probabilities))
    return mean.numpy(), sd.numpy()


def teacher_outputs(network: PatchRegressor, data: DistillationData, batch_size: int = 64) -> TeacherOutputs:
    """Return what a trained teacher says of the MR of `data`; see `outputs_of`."""
    return outputs_of(network, data.mr, data.mr_mask, batch_size)


@torch.no_grad()
def outputs_of(
    network: PatchRegressor, images: NDArray[np.generic], masks: NDArray[np.uint8], batch_size: int = 64
) -> TeacherOutputs:
    """Return the outputs of a trained teacher on cubes of what it reads;
    features are standardised by channel over the cubes. The network stays on the device that it is read on.
    """
    cubes = to_cubes(images, masks)
    network = network.to(fastest_device())
    views = []
    for flip in range(len(FLIPS)):
        pairs = _chunks(cubes, batch_size)
        parts = [_read(network, image, mask, flip) for image, mask in pairs]
        scales = tuple(torch.cat(blocks) for blocks in zip(*(part.features for part in parts), strict=True))
        views.append(Reading(torch.cat([part.logits for part in parts]), scales))
    logits = torch.stack([F.log_softmax(view.logits, dim=-1) for view in views]).mean(dim=0)
    stacked = [torch.stack(blocks) for blocks in zip(*(view.features for view in views), strict=True)]
    halves = read_halves(network, *cubes)
    return TeacherOutputs(
        logits=logits, features=tuple(_standardise(features) for features in stacked), halves=halves
    )


def _read(network: PatchRegressor, image: Tensor, mask: Tensor, flip: int) -> Reading:
    """Return the predictions for mirrored cubes, on the CPU."""
    device = next(network.parameters()).device
    reading: Reading = network(mirror(image.to(device).float(), flip), mirror(mask.to(device).float(), flip))
    return Reading(reading.logits.cpu(), tuple(feature.cpu() for feature in reading.features))


def _chunks(tensors: tuple[Tensor, Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    images, masks = tensors
    for start in range(0, len(images), size):
        yield images[start : start + size], masks[start : start + size]


def _standardise(features: Tensor) -> Tensor:
    """Return (mirror, n, channel, z, y, x) with mean 0 and SD 1 in each channel."""
    over = (0, 1, 3, 4, 5)
    mean, sd = features.mean(dim=over, keepdim=True), features.std(dim=over, keepdim=True)
    return (features - mean) / sd.clamp_min(1e-6)
