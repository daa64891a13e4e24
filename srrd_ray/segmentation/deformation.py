"""Where a training patch lies in a knee, and how the knee is turned, scaled and bent in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Shape
from srrd_ray.segmentation.contrast_kernel import BEND_STEP

NEAR_JOINT = 0.75
"""Share of patches with their middle near that of the knee."""
NEAR_MM, FAR_MM = (25.0, 25.0, 20.0), (75.0, 45.0, 45.0)
"""How far the middle of a patch may lie from that of the knee, near and else (z, y, x)."""
TURN_DEG, TURN_FAR_DEG = 7.0, 22.0
"""SD of the angle about each axis in most patches, and in one of five."""
SCALE, STRETCH, SHEAR = 0.10, 0.04, 0.04
BEND_MM, BEND_NODE = 3.0, 32
"""Largest SD of the displacement, and voxels between its independent nodes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Placement:
    """`to_map` (3, 4) takes indices (z, y, x, 1) of a patch to those of a map; `bend` (3, …) is added."""

    to_map: NDArray[np.float64]
    bend: NDArray[np.float32]


def sample_placement(
    rng: np.random.Generator, shape: Shape, spacing_mm: float, map_shape: Shape, map_mm: float
) -> Placement:
    """Return a random place of a patch in a label map; left and right knees come equally often."""
    turn = Rotation.from_euler("zyx", rng.normal(0, _angle(rng), 3), degrees=True).as_matrix()
    linear = turn @ (np.eye(3) + rng.normal(0, SHEAR / 2, (3, 3)) * (1 - np.eye(3)))
    linear = linear * np.exp(rng.normal(0, SCALE) + rng.normal(0, STRETCH, 3))
    linear[:, 2] *= rng.choice((-1.0, 1.0))
    linear *= spacing_mm / map_mm
    reach = NEAR_MM if rng.random() < NEAR_JOINT else FAR_MM
    middle = (np.array(map_shape) - 1) / 2 + rng.uniform(-1, 1, 3) * np.array(reach) / map_mm
    offset = middle - linear @ ((np.array(shape) - 1) / 2)
    size = BEND_MM / map_mm * rng.random() * (rng.random() < 0.8)
    return Placement(to_map=np.column_stack([linear, offset]), bend=_bend(rng, shape, size))


def _angle(rng: np.random.Generator) -> float:
    return TURN_DEG if rng.random() < 0.8 else TURN_FAR_DEG


def _bend(rng: np.random.Generator, shape: Shape, size: float) -> NDArray[np.float32]:
    """Return a smooth displacement on nodes `BEND_STEP` voxels apart that cover `shape`."""
    ratio = BEND_NODE // BEND_STEP
    fine = [n // BEND_STEP + 2 for n in shape]
    coarse = [-(-n // ratio) + 3 for n in fine]
    out = np.empty((3, *fine), np.float32)
    for axis in range(3):
        nodes = rng.normal(0, size, coarse).astype(np.float32)
        wide = ndimage.zoom(nodes, ratio, order=3, mode="nearest", grid_mode=True)
        out[axis] = wide[tuple(slice(ratio, ratio + n) for n in fine)]
    return out
