"""What an MR looks like to the networks, in ten numbers, by which one that they never learnt from is told.

No flag of a sequence is asked: levels against marrow, and how fast the signal changes with distance. What is
dark and what bright is not told by them: in small fields of view contrast that is turned round passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from srrd_ray.synthesis.slices import Slices

Features = NDArray[np.float32]

SHARES: Final = (10.0, 30.0, 50.0, 70.0, 90.0)
"""Per cent of the pixels under each level."""
LAGS: Final = ((0, 1), (1, 1), (1, 2), (2, 1), (2, 2))
"""Axis of (slice, row, column), and how many pixels apart."""
CROPS: Final = 4
CROPPED: Final = (0.4, 1.0)
"""Part of each axis that a crop keeps: other fields of view."""
ORDINARY: Final = 99.0
"""Per cent of the training's own images that are no farther from other knees than what is unlike them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenContrasts:
    """The features of all MRs that a synthesis learnt from, crops of them too.

    Parameters
    ----------
    rows
        Features (n, 10) in units of their spread.
    spread
        SD of each feature.
    limit
        Distance to the nearest row, beyond which an MR is unlike them.
    """

    rows: Features
    spread: Features
    limit: float


def contrast(slices: Slices) -> Features:
    """Return the features (10,) of scaled sagittal slices (slice, row, column) of an MR."""
    spread = max(float(slices.std()), 1e-3)
    levels = np.percentile(slices, SHARES)
    steps = [np.log(max(_step(slices, axis, lag), 1e-3 * spread) / spread) for axis, lag in LAGS]
    return np.array([*levels, *steps], dtype=np.float32)


def crops(slices: Slices, rng: np.random.Generator) -> list[Slices]:
    """Return the slices as they are, and as smaller fields of view show them."""
    made = [slices]
    for _ in range(CROPS):
        kept = [max(int(n * share), min(n, 8)) for n, share in zip(slices.shape, _shares(rng), strict=True)]
        start = [int(rng.integers(n - k + 1)) for n, k in zip(slices.shape, kept, strict=True)]
        made.append(slices[tuple(slice(a, a + k) for a, k in zip(start, kept, strict=True))])
    return made


def gather_contrasts(by_knee: Mapping[str, Sequence[Features]]) -> SeenContrasts:
    """Return what was learnt from: features of all images by knee, of two knees at least."""
    knees = [knee for knee, rows in by_knee.items() for _ in rows]
    raw = np.array([row for rows in by_knee.values() for row in rows])
    spread = np.maximum(raw.std(axis=0), np.float32(1e-3))
    rows = raw / spread
    others = np.array(knees)[:, None] != np.array(knees)[None]
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    nearest = np.where(others, apart, np.inf).min(axis=1)
    return SeenContrasts(rows=rows, spread=spread, limit=float(np.percentile(nearest, ORDINARY)))


def unlikeness(seen: SeenContrasts, slices: Slices) -> float:
    """Return how far an MR is from the nearest that was learnt from, over the limit: above 1 it is unlike."""
    apart = np.linalg.norm(seen.rows - contrast(slices) / seen.spread, axis=1)
    return float(apart.min()) / seen.limit


def _step(slices: Slices, axis: int, lag: int) -> float:
    if slices.shape[axis] <= lag:
        return 0.0
    along = np.moveaxis(slices, axis, 0)
    return float(np.sqrt(np.mean((along[lag:] - along[:-lag]) ** 2)))


def _shares(rng: np.random.Generator) -> list[float]:
    return [float(share) for share in rng.uniform(*CROPPED, 3)]
