"""How teacher and students are built, trained and searched;
defaults are for the quick demonstration on two cores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from srrd_ray.core.geometry import Shape

Lag = tuple[int, int]
"""Axis (0 SI, 1 AP, 2 ML) and voxels between the two of a pair."""

CT_LAGS: tuple[Lag, ...] = ((0, 1), (0, 2), (1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4))
MR_LAGS: tuple[Lag, ...] = ((0, 1), (0, 2), (0, 4), (1, 1), (1, 2), (1, 4), (2, 1), (2, 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """Size of one network.

    Parameters
    ----------
    input
        What it reads: CT in HU, or MR as bone fraction.
    width
        Channels after the stem; each block doubles them. A multiple of `groups`.
    blocks
        Residual blocks, each halving the grid.
    groups
        Groups of the GroupNorm.
    """

    input: Literal["ct", "mr"] = "ct"
    width: int = 8
    blocks: int = 2
    groups: int = 4

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after each block."""
        return tuple(self.width * 2 ** (i + 1) for i in range(self.blocks))

    @property
    def stem(self) -> tuple[Shape, Shape]:
        """Kernel and stride of the first convolution: it makes voxels about isotropic, 0.8 mm."""
        return ((3, 3, 3), (1, 2, 2)) if self.input == "ct" else ((5, 5, 3), (4, 4, 1))

    @property
    def lags(self) -> tuple[Lag, ...]:
        """Lags of the texture statistics."""
        return CT_LAGS if self.input == "ct" else MR_LAGS


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Nuisance added to one modality during training.

    Parameters
    ----------
    offset
        SD of an offset added to the cube, in units of the image (HU, or bone fraction).
    scale
        SD of a factor round 1.
    noise
        Largest SD of white noise added, in units of the image.
    """

    offset: float = 0.0
    scale: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HyperParameters:
    """What the search chooses.

    Parameters
    ----------
    temperature
        T of the soft targets.
    kd_weight
        λ in 0..1: the loss is (1 - λ) · labels + λ · teacher;
        the student's start weighs the teacher's halves likewise.
    feature_weight, relation_weight
        Weights of the two feature terms.
    lr, weight_decay
        Peak learning rate and decoupled weight decay of AdamW.
    """

    temperature: float = 2.0
    kd_weight: float = 0.5
    feature_weight: float = 0.3
    relation_weight: float = 1.0
    lr: float = 1e-3
    weight_decay: float = 1e-2

    def without_teacher(self) -> HyperParameters:
        """Return the same optimisation with every weight of the teacher zero: the baseline."""
        return HyperParameters(
            temperature=self.temperature,
            kd_weight=0.0,
            feature_weight=0.0,
            relation_weight=0.0,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """What is searched inside the training patients of a fold (ranges: Hinton 2015, RepDistiller).

    Parameters
    ----------
    epochs
        Epochs of a trial that is not stopped.
    inner_folds
        One in so many training patients validates.
    temperature, kd_weight, feature_weight, relation_weight
        Lowest and highest value; kd_weight is uniform, the others log-uniform.
    """

    epochs: int = 4
    inner_folds: int = 3
    temperature: tuple[float, float] = (1.0, 8.0)
    kd_weight: tuple[float, float] = (0.0, 0.9)
    feature_weight: tuple[float, float] = (0.03, 3.0)
    relation_weight: tuple[float, float] = (0.01, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationConfig:
    """How teacher and students learn.

    Parameters
    ----------
    folds
        Parts of the cross-validation, by patient.
    learn_from
        Most knees in training, by whole shards:
        a training process holds all its cubes, 3.2 MB a knee. A larger cohort is sampled by the seed;
        all of it is predicted.
    teacher_epochs, student_epochs
        Passes over the training cubes.
    batch_size
        Cubes in a step, over all workers.
    sigma_bins
        SD of the target histograms, in bins.
    teacher, student
        The two networks.
    teacher_nuisance
        Augmentation of MR, in bone fraction.
    student_nuisance
        Augmentation of CT, in HU. Both are off for few cubes:
        noise moves the very statistics that the networks start from.
    hyper
        Loss weights and optimisation; the winner of a fold's search takes their place.
    search
        The search.
    """

    folds: int = 3
    learn_from: int = 1000
    teacher_epochs: int = 4
    student_epochs: int = 4
    batch_size: int = 16
    sigma_bins: float = 1.5
    teacher: NetworkConfig = field(default_factory=lambda: NetworkConfig(input="mr"))
    student: NetworkConfig = field(default_factory=lambda: NetworkConfig(input="ct"))
    teacher_nuisance: Augmentation = field(default_factory=Augmentation)
    student_nuisance: Augmentation = field(default_factory=Augmentation)
    hyper: HyperParameters = field(default_factory=HyperParameters)
    search: SearchConfig = field(default_factory=SearchConfig)
