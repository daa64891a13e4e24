"""The losses of the CycleGAN.

They are least squares against the discriminators, cycle, and structure kept from MR to CT. A new term of the
generators is a function here, a `LossTerm` in `LOSS_TERMS`, and its weight in `CycleGanConfig`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from monai.losses import GlobalMutualInformationLoss, PatchAdversarialLoss
from torch import Tensor, nn
from torch.nn import functional

from srrd_ray.synthesis.config import CycleGanConfig
from srrd_ray.synthesis.physics import guess_ct


class Criteria(nn.Module):
    """The criteria that have buffers of their own, made once."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        self.mutual_information = GlobalMutualInformationLoss(num_bins=config.mi_bins)

    def generator_loss(self, scores: Tensor) -> Tensor:
        """Return the loss of a generator whose image a discriminator scored."""
        loss: Tensor = self.adversarial(scores, target_is_real=True, for_discriminator=False)
        return loss

    def discriminators(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of a discriminator from its scores of real and of made images."""
        right: Tensor = self.adversarial(real, target_is_real=True, for_discriminator=True)
        wrong: Tensor = self.adversarial(fake, target_is_real=False, for_discriminator=True)
        return 0.5 * (right + wrong)

    def information(self, mr: Tensor, ct: Tensor) -> Tensor:
        """Return minus the mutual information of scaled MR and CT slices of one content.

        Fixed bins over the scaled units: the published code took the range of each batch and images in -1…1,
        where its kernel expects 0…1 (method, defect 16).
        """
        loss: Tensor = self.mutual_information((ct + 1.0) / 3.2, (mr + 1.0) / 2.5)
        return loss


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Translations:
    """Slices of both modalities of one step, their translations there and back, and their scores.

    The scores are those of the discriminators.
    """

    mr: Tensor
    ct: Tensor
    fake_ct: Tensor
    fake_mr: Tensor
    cycled_mr: Tensor
    cycled_ct: Tensor
    scores_ct: Tensor
    scores_mr: Tensor
    criteria: Criteria


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One term of the generators' loss.

    It is `value` of a step's slices, times `weight`; it is left out where the weight is 0.
    """

    name: str
    weight: Callable[[CycleGanConfig], float]
    value: Callable[[Translations], Tensor]


def cycle_distance(seen: Translations) -> Tensor:
    """Return the L1 distance of slices from what comes back of them, both directions."""
    return (seen.cycled_mr - seen.mr).abs().mean() + (seen.cycled_ct - seen.ct).abs().mean()


def _adversarial(seen: Translations) -> Tensor:
    return seen.criteria.generator_loss(seen.scores_ct) + seen.criteria.generator_loss(seen.scores_mr)


def _information(seen: Translations) -> Tensor:
    return seen.criteria.information(seen.mr, seen.fake_ct) + seen.criteria.information(seen.fake_mr, seen.ct)


def _edges_apart(seen: Translations) -> Tensor:
    return (1.0 - edge_correlation(seen.mr, seen.fake_ct)) + (1.0 - edge_correlation(seen.fake_mr, seen.ct))


def _levels(seen: Translations) -> Tensor:
    return level_distance(seen.fake_ct, seen.ct) + level_distance(seen.fake_mr, seen.mr)


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


LOSS_TERMS: tuple[LossTerm, ...] = (
    LossTerm(name="adversarial", weight=lambda _: 1.0, value=_adversarial),
    LossTerm(name="cycle", weight=lambda config: config.cycle_weight, value=cycle_distance),
    LossTerm(name="information", weight=lambda config: config.mi_weight, value=_information),
    LossTerm(name="edges", weight=lambda config: config.edge_weight, value=_edges_apart),
    LossTerm(
        name="dark",
        weight=lambda config: config.dark_weight,
        value=lambda seen: dark_distance(seen.mr, seen.fake_ct),
    ),
    LossTerm(name="levels", weight=lambda config: config.level_weight, value=_levels),
)
