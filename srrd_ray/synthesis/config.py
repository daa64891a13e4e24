"""How the CycleGAN is built and trained; defaults are for the quick demonstration on two cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from srrd_ray.core.settings import (
    AtLeast,
    Between,
    Count,
    Folder,
    Hounsfield,
    Natural,
    NonNegative,
    Positive,
    Rising,
    Share,
    setting_error,
    validate_fields,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleGanConfig:
    """The CycleGAN. Paper size: ``width=64, blocks=9, downs=2, norm="instance", discriminator_width=64,
    discriminator_layers=3, tile=(320, 320), pixel_mm=0.4, batch=4, learning_rate=2e-4, epochs=180,
    mi_weight=7``.
    """

    start: Literal["random", "school"] = "school"
    """Where the generator of CT begins: at what it learnt from simulated knees, or at the seed's weights."""
    school: Folder = ""
    """What jobs/train_synthesis.py made, for `start: school`; empty is the one that ships.

    Network, pixels and floor are its own.
    """
    start_rate: Positive = 5e-5
    """Learning rate in place of `learning_rate` where it begins at the school's weights."""
    pixel_mm: Positive = 0.75
    """Working pixel of sagittal slices, mm."""
    slice_mm: Positive = 1.5
    """Distance of training slices, mm."""
    tile: tuple[Count, Count] = (64, 48)
    """Rows and columns of a training slice; multiples of ``2**downs``."""
    width: Count = 12
    """Channels of the first layer of a generator."""
    downs: Natural = 2
    """Halvings inside a generator."""
    blocks: Natural = 3
    """Residual blocks of a generator."""
    first_guess: Literal["physics", "none"] = "physics"
    """What the generator of CT adds to: what dark and bright mean in MR with bright marrow, or nothing."""
    norm: Literal["none", "instance"] = "none"
    """Normalisation of the generators; `instance` is the paper's and makes HU depend on the slice."""
    discriminator_width: Count = 16
    """Channels of the first layer of a discriminator."""
    discriminator_layers: Count = 2
    """Strided layers of a discriminator (the paper's 70-pixel patch has 3)."""
    floor_hu: Hounsfield = -200.0
    """HU to which all below is raised: the background of the paper."""
    epochs: Natural = 0
    """Epochs; a checkpoint may follow each. 0 leaves what was learnt from simulated knees as it is; from the
    seed's weights 5 are a minute of two cores.
    """
    steps: Count = 40
    """Optimizer steps an epoch."""
    batch: Count = 8
    """Slices of each modality a step, over all workers."""
    learn_from: Count = 1000
    """Most knees used for training; a larger cohort is sampled by the seed, and all of it is translated."""
    held_out: Annotated[float, Between(0.0, 0.5)] = 0.2
    """Share of the patients that no network of the synthesis learns from, at most 40, for its figures."""
    learning_rate: Positive = 5e-4
    """Adam, both generators and discriminators, falling to zero over the second half."""
    cycle_weight: NonNegative = 5.0
    """L1 of the cycle, both directions."""
    mi_weight: NonNegative = 0.05
    """Mutual information of MR and the synthetic CT (the paper's 7 on another scale; 0 is off)."""
    mi_bins: Annotated[int, AtLeast(2)] = 16
    """Bins of the mutual information."""
    edge_weight: NonNegative = 0.05
    """Correlation of edge magnitudes of an image and its translation.

    It is in place of the paper's HED edge channel.
    """
    level_weight: NonNegative = 2.0
    """Distance of the distributions of grey values, made and real slices, in pixels and in 6-pixel means."""
    dark_weight: NonNegative = 20.0
    """Distance from physics where the MR is dark: thin at marrow is cortex, wide is soft tissue (0: off)."""
    gain_jitter: NonNegative = 0.1
    """Relative SD of the MR gain drawn for each slice in training."""
    most_invented: NonNegative = 2.0
    """Bone in a synthetic CT where its MR shows none, over all bone of the MR, above which it is refused."""
    hu_limits: Annotated[tuple[Hounsfield, Hounsfield], Rising()] = (-1024.0, 3000.0)
    """HU outside which a synthetic CT is refused."""
    bone_share: Annotated[tuple[Share, Share], Rising()] = (0.05, 0.97)
    """Share of voxels over 150 HU outside which a synthetic CT is refused."""

    def __post_init__(self) -> None:
        validate_fields(self)
        if any(side % 2**self.downs for side in self.tile):
            raise setting_error(self, "tile", f"multiples of {2**self.downs}, for downs {self.downs}")
        if self.epochs == 0 and self.start == "random":
            raise setting_error(self, "epochs", "1 or more, for start random")


def with_network_of(config: CycleGanConfig, school: CycleGanConfig) -> CycleGanConfig:
    """Return the settings of a training that begins at weights which were trained with those of `school`."""
    return replace(config, **{name: getattr(school, name) for name in OF_NETWORK})


OF_NETWORK = (
    "pixel_mm", "slice_mm", "width", "downs", "blocks", "norm", "first_guess", "floor_hu",
)  # fmt: skip
"""Settings that belong to weights: those of a school are its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedConfig:
    """The second round of the synthesis: on MR and CT of the bones that registration has aligned.

    It starts from the weights of the first. Networks, but for their normalisation, pixels and tiles are those
    of the first round.
    """

    epochs: Natural = 12
    """Epochs; 0 leaves the second round out."""
    steps: Count = 20
    """Optimizer steps an epoch."""
    blocks: Count = 2
    """Blocks of slices a step, over all workers; one for each worker at least."""
    slices: Count = 8
    """Neighbouring slices of a block."""
    learn_from: Count = 1000
    """Most knees used for training."""
    learning_rate: Positive = 3e-3
    """Adam, generator and discriminator, falling to zero along a cosine."""
    start_rate: Positive = 2e-4
    """Learning rate in place of `learning_rate` where round one began at the school's weights."""
    l1_weight: NonNegative = 10.0
    """L1 distance of HU, each pixel as far as it is believed."""
    feature_weight: NonNegative = 1.0
    """L1 distance of what the project's own segmenter sees in both (0: off)."""
    adversarial_weight: NonNegative = 0.5
    """Least squares against a discriminator of real slices (0: off)."""
    norm: Literal["none", "instance"] = "instance"
    """Normalisation of the generator: with `instance` it learns several times as fast from few slices."""
    gain_jitter: NonNegative = 0.1
    """Relative SD of the MR gain drawn for each block."""
    curve_jitter: NonNegative = 0.0
    """SD of the logarithm of the exponent of a curve that grey values go through, for each block."""
    average: Share = 0.98
    """Decay of the moving average of the weights, which is what is kept."""

    def __post_init__(self) -> None:
        validate_fields(self)
