"""How the segmenter is built and trained; defaults are for some hours on two cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from srrd_ray.core.settings import (
    Count,
    Natural,
    NonNegative,
    NotEmpty,
    Positive,
    Share,
    setting_error,
    validate_fields,
)

Shape = tuple[Count, Count, Count]
LEVELS_FACTOR = 16
"""Patches and images are multiples of it: the network halves four times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterConfig:
    """Network, patches and training of the segmenter."""

    spacing_mm: Positive = 1.0
    """Working grid, mm."""
    widths: tuple[Count, Count, Count, Count, Count] = (16, 32, 48, 80, 96)
    """Channels of the network at each resolution, the finest first."""
    patches: Annotated[tuple[Shape, ...], NotEmpty()] = (
        (96, 96, 96),
        (80, 112, 96),
        (64, 112, 128),
        (112, 112, 64),
        (96, 128, 64),
        (128, 80, 80),
        (48, 128, 144),
    )
    """Shapes of training patches in voxels, one drawn for each step; multiples of 16."""
    map_mm: Positive = 0.8
    """Voxel of the label maps that images are drawn from, mm."""
    knees: Count = 240
    """Simulated knees; each makes one label map, in the pose of its CT or of its MR."""
    first_knees: Count = 8
    """Knees of the first epoch."""
    more_knees: Natural = 4
    """Knees that each further epoch adds: label maps are made while the network learns."""
    epochs: Count = 120
    """Epochs; a checkpoint may follow each."""
    steps: Count = 50
    """Optimizer steps an epoch."""
    batch: Count = 2
    """Patches a step, over all workers."""
    learning_rate: Positive = 2e-3
    """AdamW: rises over the first `warm_up` of the steps, then falls to zero along a cosine."""
    warm_up: Share = 0.03
    """Share of the steps over which the learning rate rises."""
    weight_decay: NonNegative = 1e-4
    """AdamW."""
    average: Share = 0.998
    """Decay of the moving average of the weights, which is what is kept."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Of convolutions while training; weights and losses are float32."""
    processes: Natural = 1
    """Processes of each worker that draw patches beside the training; about 12 feed a large GPU."""

    def __post_init__(self) -> None:
        validate_fields(self)
        if any(side % LEVELS_FACTOR for patch in self.patches for side in patch):
            raise setting_error(self, "patches", f"multiples of {LEVELS_FACTOR}")
