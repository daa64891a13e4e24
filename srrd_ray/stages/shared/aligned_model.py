"""Round two of the synthesis: slices of a knee on disk, the learner on them, and which round is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from srrd_ray.core.learner import Learner
from srrd_ray.knee_bones.segmenter_files import require_segmenter
from srrd_ray.knee_bones.segmenter_model import load_segmenter
from srrd_ray.segmentation.features import AnatomicalFeatures, feature_distance
from srrd_ray.stages.shared.synthesis_card import GENERATOR
from srrd_ray.storage.weights import load_tensors, part_of, save_tensors
from srrd_ray.synthesis.aligned import AVERAGE, AlignedLearner
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig
from srrd_ray.synthesis.pairs import AlignedPair

MOST_IN_MEMORY = 64
"""Knees whose slices a worker keeps: memory does not grow with the cohort."""


def write_pair(path: Path, pair: AlignedPair) -> Path:
    """Return `path`, the slices of a knee, after writing them in half the room."""
    arrays = {
        "mr": pair.mr.astype(np.float16),
        "hu": np.rint(pair.hu).astype(np.int16),
        "weight": pair.weight.astype(np.float16),
        "bone": pair.bone.astype(np.uint8),
    }
    save_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, {"what": "pair"})
    return path


def read_pair(path: Path) -> AlignedPair:
    """Return the slices of a knee; errors as the weights are read."""
    tensors = load_tensors(path)[0]
    mr, hu, weight = (tensors[name].to(torch.float32).numpy() for name in ("mr", "hu", "weight"))
    return AlignedPair(mr=mr, hu=hu, weight=weight, bone=tensors["bone"].numpy() > 0)


class SegmenterDistance(nn.Module):
    """The distance of two batches of blocks as the project's segmenter sees them; nothing in it learns."""

    def __init__(self, segmenter: str, spacing_mm: tuple[float, float, float]) -> None:
        super().__init__()
        network, config = load_segmenter(require_segmenter(segmenter))
        self.features = AnatomicalFeatures(network, config.spacing_mm)
        self.spacing_mm = spacing_mm

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Return the distance of blocks (n, 1, row, column, slice) of HU."""
        with torch.no_grad():
            wanted = self.features(real, self.spacing_mm)
        return feature_distance(self.features(made, self.spacing_mm), wanted)


def aligned_learners(
    paths: Sequence[Path],
    first: Path,
    config: CycleGanConfig,
    aligned: AlignedConfig,
    *,
    segmenter: str,
    seed: int,
) -> Iterator[Learner]:
    """Yield the one learner of round two, on stored slices, from the weights of round one (`first`)."""
    spacing = (config.pixel_mm, config.pixel_mm, config.slice_mm)
    features = SegmenterDistance(segmenter, spacing) if aligned.feature_weight > 0 else None
    start = load_tensors(first / f"{GENERATOR}.safetensors")[0]
    read = lru_cache(maxsize=MOST_IN_MEMORY)(partial(_pair_of, tuple(paths)))
    yield AlignedLearner(read, len(paths), start, config, aligned, seed=seed, features=features)


def _pair_of(paths: tuple[Path, ...], number: int) -> AlignedPair:
    return read_pair(paths[number])


def generator_weights(trained: Path) -> dict[str, Tensor]:
    """Return the moving average of a training of round two, as weights of a generator."""
    return part_of(load_tensors(trained / "aligned.safetensors")[0], AVERAGE)
