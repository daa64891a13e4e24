"""The losses of the CycleGAN: least squares against the discriminators, cycle,
and structure kept from MR to CT.
"""

from __future__ import annotations

import torch
from monai.losses import GlobalMutualInformationLoss, PatchAdversarialLoss
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.physics import guess_ct


class Losses(nn.Module):
    """Every term of the objective, made once."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        self.information = GlobalMutualInformationLoss(num_bins=config.mi_bins)
        self.config = config

    def generator_loss(self, scores: Tensor) -> Tensor:
        """Return the loss of a generator whose image a discriminator scored."""
        loss: Tensor = self.adversarial(scores, target_is_real=True, for_discriminator=False)
        return loss

    def discriminators(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of a discriminator from its scores of real and of made images."""
        right: Tensor = self.adversarial(real, target_is_real=True, for_discriminator=True)
        wrong: Tensor = self.adversarial(fake, target_is_real=False, for_discriminator=True)
        return 0.5 * (right + wrong)

    def structure(self, mr: Tensor, ct: Tensor) -> Tensor:
        """Return the structure terms between scaled MR and CT slices of one content.

        Fixed bins over the scaled units: the published code took the range of each batch and images in -1…1,
        where its kernel expects 0…1 (method, defect 16).
        """
        total = torch.zeros((), device=mr.device)
        if self.config.mi_weight > 0:
            total = total + self.config.mi_weight * self.information((ct + 1.0) / 3.2, (mr + 1.0) / 2.5)
        if self.config.edge_weight > 0:
            total = total + self.config.edge_weight * (1.0 - edge_correlation(mr, ct))
        return total


def dark_distance(mr: Tensor, ct: Tensor) -> Tensor:
    """Return the distance of a synthetic CT from physics where the MR is dark;
    bright pixels are left to the discriminators.
    """
    dark = (0.5 * (mr + 1.0) < 0.5).to(mr.dtype)
    return (dark * (ct - guess_ct(mr)).abs()).sum() / dark.sum().clamp(min=1.0)


def level_distance(made: Tensor, real: Tensor) -> Tensor:
    """Return the Wasserstein distance between the grey values of two batches of one size,
    of pixels and of local means.

    Positions do not matter: unpaired batches have similar shares of marrow, cortex, cartilage and muscle.
    """
    total = torch.zeros((), device=made.device)
    for size in (1, 6):
        a, b = (functional.avg_pool2d(image, size).flatten().sort().values for image in (made, real))
        total = total + (a - b).abs().mean()
    return total


def edge_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean correlation of the gradient magnitudes of two batches (n, 1, h, w):
    1 where edges coincide.
    """
    a, b = _edges(first).flatten(1), _edges(second).flatten(1)
    return functional.cosine_similarity(
        a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1
    ).mean()


def _edges(image: Tensor) -> Tensor:
    smooth = functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    down = smooth[..., 1:, :-1] - smooth[..., :-1, :-1]
    along = smooth[..., :-1, 1:] - smooth[..., :-1, :-1]
    return torch.sqrt(down**2 + along**2 + 1e-4)
