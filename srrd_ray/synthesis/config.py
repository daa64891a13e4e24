"""How the CycleGAN is built and trained; defaults are for the quick demonstration on two cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srrd_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleGanConfig:
    """The CycleGAN. Paper size: ``width=64, blocks=9, downs=2, norm="instance", discriminator_width=64,
    discriminator_layers=3, tile=(320, 320), pixel_mm=0.4, batch=4, learning_rate=2e-4, epochs=180,
    mi_weight=7``.
    """

    pixel_mm: float = 0.75
    """Working pixel of sagittal slices, mm."""
    slice_mm: float = 1.5
    """Distance of training slices, mm."""
    tile: tuple[int, int] = (64, 48)
    """Rows and columns of a training slice; multiples of ``2**downs``."""
    width: int = 12
    """Channels of the first layer of a generator."""
    downs: int = 2
    """Halvings inside a generator."""
    blocks: int = 3
    """Residual blocks of a generator."""
    norm: Literal["none", "instance"] = "none"
    """Normalisation of the generators; `instance` is the paper's and makes HU depend on the slice."""
    discriminator_width: int = 16
    """Channels of the first layer of a discriminator."""
    discriminator_layers: int = 2
    """Strided layers of a discriminator (the paper's 70-pixel patch has 3)."""
    epochs: int = 5
    """Epochs; a checkpoint may follow each."""
    steps: int = 40
    """Optimizer steps an epoch."""
    batch: int = 8
    """Slices of each modality a step, over all workers."""
    learn_from: int = 1000
    """Most knees in training; of a larger cohort a seeded sample is used, and all of it is translated."""
    learning_rate: float = 5e-4
    """Adam, both generators and discriminators, falling to zero over the second half."""
    cycle_weight: float = 5.0
    """L1 of the cycle, both directions."""
    mi_weight: float = 0.05
    """Mutual information of MR and the synthetic CT (the paper's 7 on another scale; 0 is off)."""
    mi_bins: int = 16
    """Bins of the mutual information."""
    edge_weight: float = 0.05
    """Correlation of edge magnitudes of an image and its translation (in
    place of the paper's HED edge channel).
    """
    level_weight: float = 2.0
    """Distance of the distributions of grey values of made and real slices, in pixels and in 6-pixel means.
    """
    dark_weight: float = 20.0
    """Distance from physics where the MR is dark:
    thin next to marrow is cortex, wide is soft tissue (0 is off).
    """
    gain_jitter: float = 0.1
    """Relative SD of the MR gain sampled for each slice in training."""
    hu_limits: tuple[float, float] = (-900.0, 3000.0)
    """HU outside which a synthetic CT is refused."""
    bone_share: tuple[float, float] = (0.05, 0.97)
    """Share of voxels over 150 HU outside which a synthetic CT is refused."""

    def __post_init__(self) -> None:
        if any(side % 2**self.downs for side in self.tile):
            raise ConfigError(
                "tile-invalid", "rows and columns of a tile must halve evenly", got=str(self.tile),
                expected=f"multiples of {2**self.downs}",
            )  # fmt: skip
