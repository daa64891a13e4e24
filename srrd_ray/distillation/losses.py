"""The terms of the distillation loss, each zero for a perfect student and of order one for a poor one.

A new term is a function here, a `LossTerm` in `LOSS_TERMS`, and its weight in `HyperParameters`.

Sources: Hinton et al. 2015 (temperature); Lopez-Paz et al. 2016, arXiv 1511.03643 (privileged information);
Romero et al. 2015 (features); Tung & Mori 2019 (similarity-preserving). The factor T in place of Hinton's T²
is derived for histograms of a Gaussian shape: see `soft_targets`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from srrd_ray.core.errors import TrainingError
from srrd_ray.distillation.config import HyperParameters
from srrd_ray.distillation.networks import Reading


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudentBatch:
    """What the terms compare for the cubes of one step, all on one device.

    Parameters
    ----------
    reading
        What the student says.
    targets
        Histograms (b, parameter, BINS) of the labels.
    teacher
        What the teacher says of the same cubes in MR; its features are standardised. None for the baseline.
    adapted
        The student's features in the teacher's channels; empty where no term of the loss asks for them.
    hyper
        Temperature and weights.
    """

    reading: Reading
    targets: Tensor
    teacher: Reading | None
    adapted: tuple[Tensor, ...]
    hyper: HyperParameters

    @property
    def guide(self) -> Reading:
        """What the teacher says, for terms with `needs_teacher`.

        Raises
        ------
        TrainingError
            `teacher-missing`.
        """
        if self.teacher is None:
            raise TrainingError(
                "teacher-missing", "a term of the loss compares with a teacher, and there is none"
            )
        return self.teacher


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One term of the student's loss.

    Parameters
    ----------
    name
        In the losses that an epoch reports.
    weight
        Its weight, of the hyper-parameters.
    value
        The term for one batch.
    needs_teacher
        Left out of the baseline, and where its weight is 0. A term without a teacher always counts.
    needs_adapters
        Reads `StudentBatch.adapted`: adapters are then trained beside the student.
    """

    name: str
    weight: Callable[[HyperParameters], float]
    value: Callable[[StudentBatch], Tensor]
    needs_teacher: bool = True
    needs_adapters: bool = False

    def counts(self, hyper: HyperParameters, *, taught: bool) -> bool:
        """Return whether the term is part of the loss of a student, `taught` by a teacher or not."""
        return not self.needs_teacher or (taught and self.weight(hyper) > 0)


def _features(batch: StudentBatch) -> Tensor:
    pairs = zip(batch.adapted, batch.guide.features, strict=True)
    return torch.stack([feature_distance(student, teacher) for student, teacher in pairs]).mean()


LOSS_TERMS: tuple[LossTerm, ...] = (
    LossTerm(
        name="labels",
        weight=lambda hyper: 1 - hyper.kd_weight,
        value=lambda batch: histogram_loss(batch.reading.logits, batch.targets),
        needs_teacher=False,
    ),
    LossTerm(
        name="soft",
        weight=lambda hyper: hyper.kd_weight,
        value=lambda batch: soft_targets(batch.reading.logits, batch.guide.logits, batch.hyper.temperature),
    ),
    LossTerm(
        name="features", weight=lambda hyper: hyper.feature_weight, value=_features, needs_adapters=True
    ),
    LossTerm(
        name="relations",
        weight=lambda hyper: hyper.relation_weight,
        value=lambda batch: relation_distance(batch.reading.features[-1], batch.guide.features[-1]),
    ),
)
