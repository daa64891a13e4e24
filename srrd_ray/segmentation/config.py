"""How the segmenter is built and trained; defaults are those of the weights that ship."""

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

    spacing_mm: Positive = 1.5
    """Working grid, mm."""
    widths: tuple[Count, Count, Count, Count, Count] = (20, 40, 64, 96, 128)
    """Channels of the network at each resolution, the finest first."""
    patches: Annotated[tuple[Shape, ...], NotEmpty()] = (
        (64, 80, 80),
        (80, 64, 80),
        (80, 80, 64),
        (64, 96, 64),
        (96, 64, 64),
        (96, 80, 64),
        (64, 96, 80),
        (80, 80, 80),
        (96, 96, 48),
        (48, 96, 96),
        (64, 64, 64),
    )
    """Shapes of training patches in voxels, one drawn for each step; multiples of 16."""
    map_mm: Positive = 0.8
    """Voxel of the label maps that images are drawn from, mm."""
    knees: Count = 130
    """Simulated knees; each makes one label map, in the pose of its CT or of its MR."""
    epochs: Count = 44
    """Epochs; a checkpoint may follow each."""
    steps: Count = 100
    """Optimizer steps an epoch."""
    batch: Count = 4
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
