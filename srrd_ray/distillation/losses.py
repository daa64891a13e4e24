"""The terms of the distillation loss, each zero for a perfect student and of order one for a poor one.

Sources: Hinton et al. 2015 (temperature); Lopez-Paz et al. 2016, arXiv 1511.03643 (privileged information);
Romero et al. 2015 (features); Tung & Mori 2019 (similarity-preserving).
The factor T in place of Hinton's T² is derived for histograms of a Gaussian shape: see `soft_targets`.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def histogram_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over cubes and parameters of the relative entropy KL(`targets` ‖ softmax(`logits`)).

    It differs from the cross-entropy by the constant entropy of the targets, so that 0 is perfect.
    """
    return F.kl_div(F.log_softmax(logits, dim=-1), targets, reduction="none").sum(dim=-1).mean()


def soft_targets(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return T · KL(softmax(`targets`/T) ‖ softmax(`logits`/T)), the mean over cubes and parameters;
    both are logits.

    For logits of a Gaussian shape with SD s, softmax(z/T) is a Gaussian of SD s·√T, and two of them Δμ apart
    have KL = Δμ²/(2 s² T). The factor T makes the term independent of T to first order:
    temperature and weight are then separate directions of a search.
    """
    student = F.log_softmax(logits / temperature, dim=-1)
    teacher = F.softmax(targets / temperature, dim=-1)
    return temperature * F.kl_div(student, teacher, reduction="none").sum(dim=-1).mean()


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over cubes and positions of 1 - cos between channels of two feature maps (b, c, z, y,
    x).
    """
    return (1 - F.cosine_similarity(student, teacher, dim=1)).mean()


def relation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the batch's two similarity matrices (cosines between cubes),
    0 to 4.
    """
    return ((similarities(student) - similarities(teacher)) ** 2).mean()


def similarities(features: Tensor) -> Tensor:
    """Return the cosines (b, b) between the features of each two cubes, minus the batch mean."""
    flat = features.flatten(1)
    unit = F.normalize(flat - flat.mean(dim=0), dim=1)
    return unit @ unit.T
