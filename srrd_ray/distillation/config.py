"""How teacher and students are built, trained and searched;
defaults are for the quick demonstration on two cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Literal, TypeAlias

from srrd_ray.core.geometry import Shape
from srrd_ray.core.settings import (
    Count,
    Folder,
    Folds,
    Natural,
    NonNegative,
    Positive,
    Rising,
    Share,
    TwoOrNone,
    setting_error,
    validate_fields,
)

PositiveRange: TypeAlias = Annotated[tuple[Positive, Positive], Rising()]
ShareRange: TypeAlias = Annotated[tuple[Share, Share], Rising()]
RangeIfAny: TypeAlias = Annotated[tuple[NonNegative, ...], TwoOrNone(), Rising()]
PositiveRangeIfAny: TypeAlias = Annotated[tuple[Positive, ...], TwoOrNone(), Rising()]

Labels: TypeAlias = Literal["measured", "reader"]
Start: TypeAlias = Literal["ridge", "reader"]
Lag = tuple[int, int]
"""Axis (0 SI, 1 AP, 2 ML) and voxels between the two of a pair."""

CT_LAGS: tuple[Lag, ...] = ((0, 1), (0, 2), (1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4))
Architecture: TypeAlias = Literal["residual"]
"""The networks that `networks.build` knows."""
MR_LAGS: tuple[Lag, ...] = ((0, 1), (0, 2), (0, 4), (1, 1), (1, 2), (1, 4), (2, 1), (2, 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """Size of one network.

    Parameters
    ----------
    input
        What it reads: CT in HU, or MR as bone fraction.
    architecture
        Which network (`networks.architecture`).
    width
        Channels after the stem; each block doubles them. A multiple of `groups`.
    blocks
        Residual blocks, each halving the grid.
    groups
        Groups of the GroupNorm.
    """

    input: Literal["ct", "mr"] = "ct"
    architecture: Architecture = "residual"
    width: Count = 8
    blocks: Count = 2
    groups: Count = 4

    def __post_init__(self) -> None:
        validate_fields(self)
        if self.width % self.groups:
            raise setting_error(self, "width", f"a multiple of groups ({self.groups})")

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

    offset: NonNegative = 0.0
    scale: NonNegative = 0.0
    noise: NonNegative = 0.0

    def __post_init__(self) -> None:
        validate_fields(self)


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
    feature_weight
        Weight of the term that pulls the student's features towards the teacher's (0: off, as this and the
        next gain nothing that could be seen: docs/results/evidence.md).
    relation_weight
        Weight of the term that pulls the relations between cubes towards the teacher's. Every weight of a
        term that needs the teacher is called ``<…>_weight``.
    lr
        Peak learning rate of AdamW.
    weight_decay
        Decoupled weight decay of AdamW.
    """

    temperature: Positive = 2.0
    kd_weight: Share = 0.5
    feature_weight: NonNegative = 0.0
    relation_weight: NonNegative = 0.0
    lr: Positive = 1e-3
    weight_decay: NonNegative = 1e-2

    def __post_init__(self) -> None:
        validate_fields(self)

    def without_teacher(self) -> HyperParameters:
        """Return the same optimisation with every weight of the teacher zero: the baseline."""
        weights = [each.name for each in fields(self) if each.name.endswith("_weight")]
        return replace(self, **dict.fromkeys(weights, 0.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the search chooses for the distilled student of a fold.

    Parameters
    ----------
    hyper
        Loss weights and optimisation.
    nuisance
        Augmentation of CT, in HU.
    width
        Channels of the student after its stem.
    """

    hyper: HyperParameters
    nuisance: Augmentation
    width: Count

    def __post_init__(self) -> None:
        validate_fields(self)

    def without_teacher(self) -> Candidate:
        """Return the same student with every weight of the teacher zero."""
        return replace(self, hyper=self.hyper.without_teacher())

    def values(self) -> dict[str, float]:
        """Return every value under its key; no key is in two of its parts."""
        return {**asdict(self.hyper), **asdict(self.nuisance), "width": self.width}

    def having(self, values: Mapping[str, float]) -> Candidate:
        """Return the same but for `values`, by key."""
        every = {**self.values(), **values}
        parts = (
            {each.name: every[each.name] for each in fields(kind)} for kind in (HyperParameters, Augmentation)
        )
        hyper, nuisance = parts
        return Candidate(
            hyper=HyperParameters(**hyper), nuisance=Augmentation(**nuisance), width=int(every["width"])
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """What is searched inside the training patients of a fold (ranges: Hinton 2015, RepDistiller).

    The baseline keeps `student_nuisance` and `student.width`: where they are searched, baseline and distilled
    differ in more than the teacher.

    Parameters
    ----------
    epochs
        Epochs of a trial that is not stopped.
    inner_folds
        One in so many training patients validates.
    kd_weight
        Lowest and highest value that is drawn, uniformly.
    temperature
        Lowest and highest value that is drawn, uniformly in its logarithm.
    feature_weight, relation_weight
        The same, such as 0.03 to 3 and 0.01 to 10; not searched where it is empty.
    noise, offset, scale
        Lowest and highest augmentation of CT that is drawn, uniformly, in the units of `student_nuisance`;
        not searched where it is empty.
    width
        Capacities of the student that are drawn from, in the units of `student.width`; not searched where it
        is empty. Only with labels that are measured: else students have the networks of the school's readers.
    """

    epochs: Count = 4
    inner_folds: Folds = 3
    temperature: PositiveRange = (1.0, 8.0)
    kd_weight: ShareRange = (0.0, 0.9)
    feature_weight: PositiveRangeIfAny = ()
    relation_weight: PositiveRangeIfAny = ()
    noise: RangeIfAny = ()
    offset: RangeIfAny = ()
    scale: RangeIfAny = ()
    width: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationConfig:
    """How teacher and students learn.

    Parameters
    ----------
    folds
        Parts of the cross-validation, by patient.
    labels
        What the distilled student learns: the values that are measured in MR, by a teacher that a fold's
        patients train; or what the school's readers read in MR and CT together, of which that of MR is the
        teacher.
    school
        Folder of the school's readers; those of the package where it is empty.
    start
        Where the distilled student begins, with labels of the reader: at a ridge regression of the cohort's
        own texture, or at the school's reader of CT.
    start_rate
        Learning rate of a student that begins at the reader, as a share of `hyper.lr`: a few patients are to
        correct what hundreds of knees taught, not to replace it.
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
    teacher
        The network that reads MR.
    student
        The network that reads CT.
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

    folds: Folds = 3
    labels: Labels = "reader"
    school: Folder = ""
    start: Start = "reader"
    start_rate: Share = 0.05
    learn_from: Count = 1000
    teacher_epochs: Count = 4
    student_epochs: Count = 4
    batch_size: Count = 16
    sigma_bins: Positive = 1.5
    teacher: NetworkConfig = field(default_factory=lambda: NetworkConfig(input="mr"))
    student: NetworkConfig = field(default_factory=lambda: NetworkConfig(input="ct"))
    teacher_nuisance: Augmentation = field(default_factory=Augmentation)
    student_nuisance: Augmentation = field(default_factory=Augmentation)
    hyper: HyperParameters = field(default_factory=HyperParameters)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        validate_fields(self)
        widths, groups = self.search.width, self.student.groups
        if widths and self.labels == "reader":
            raise setting_error(
                self, "search.width", "nothing with labels of the reader: students have its networks"
            )
        if any(width % groups for width in widths):
            raise setting_error(self, "search.width", f"multiples of student.groups ({groups})")

    @property
    def candidate(self) -> Candidate:
        """What a student is without a search."""
        return Candidate(hyper=self.hyper, nuisance=self.student_nuisance, width=self.student.width)

    def choosing(self, found: Candidate) -> DistillationConfig:
        """Return these settings with what a search found."""
        student = replace(self.student, width=found.width)
        return replace(self, hyper=found.hyper, student_nuisance=found.nuisance, student=student)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchoolConfig:
    """What readers of MR and of CT learn on simulated knees.

    Parameters
    ----------
    knees
        Simulated knees that they learn from.
    held_out
        Further knees that they are judged by.
    seed
        Of the knees; another seed has other people.
    readers
        Networks (`teacher` reads MR, `student` CT), epochs and optimisation.
    """

    knees: Count = 400
    held_out: Count = 60
    seed: Natural = 7
    readers: DistillationConfig = field(
        default_factory=lambda: DistillationConfig(
            teacher_epochs=60,
            student_epochs=60,
            batch_size=32,
            teacher=NetworkConfig(input="mr", width=16),
            student=NetworkConfig(input="ct", width=16),
            teacher_nuisance=Augmentation(scale=0.05, offset=0.02, noise=0.06),
            student_nuisance=Augmentation(scale=0.04, offset=8.0, noise=40.0),
        )
    )

    def __post_init__(self) -> None:
        validate_fields(self)
