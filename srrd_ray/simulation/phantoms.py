"""Scenes with a known answer: a body of one tissue, and a straight edge of compact bone.
For tests and for the gallery.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import CHANNELS, SOFT_CHANNELS, Scene, Table
from srrd_ray.simulation.trabeculae import random_tile, tile_maps

BONES, TILE_NODES = 4, 100
"""As many bones as a knee has: the kernel is compiled for their number, once for phantoms and knees.
Those that a phantom does without are empty.
"""
HALF_MM = 100.0
"""Half the edge of the cube in which an edge is straight; beyond it the border's value goes on."""
DEEP_MM = 400.0
OUTSIDE: dict[str, float] = {"depth": -15.0, "cyst": -9.0}
"""No bone."""
BONE_OF: dict[int, dict[str, float]] = {
    tissue.COMPACT: {"depth": 20.0, "compact": DEEP_MM, "cyst": -9.0},
    tissue.CYST: {"depth": 20.0, "cyst": 9.0},
    tissue.MARROW: {"depth": 20.0, "cyst": -9.0},
    tissue.CARTILAGE: {"depth": -1.0, "cartilage": 9.0, "cyst": -9.0},
    tissue.FLUID: {"depth": -1.0, "cyst": -9.0},
    tissue.MENISCUS: {"depth": -1.0, "cyst": -9.0, "meniscus": 9.0},
}
SOFT_OF: dict[int, dict[str, float]] = {
    tissue.AIR: {"limb": -9.0},
    tissue.SKIN: {"limb": 0.8},
    tissue.MUSCLE: {"muscle": 9.0},
    tissue.LIGAMENT: {"ligament": 9.0},
    tissue.BLOOD: {"vessel": 9.0},
}
WITHIN: dict[str, float] = {
    "limb": 90.0,
    "fascia": 80.0,
    "muscle": -9.0,
    "vessel": -9.0,
    "ligament": -9.0,
    "grain": 9.0,
    "streak": -9.0,
}
"""Inside of the limb: fat where nothing else is."""


def body_scene(label: int, fraction: float = 0.0) -> Scene:
    """Return a scene that is filled with one tissue; marrow holds trabeculae of a volume `fraction`."""
    bone = dict(BONE_OF.get(label, OUTSIDE), fraction=fraction, rod=0.3)
    first = _table(CHANNELS, {name: np.full((2, 2, 2), value) for name, value in bone.items()})
    both = label in (tissue.FLUID, tissue.MENISCUS)
    second = first if both else _table(CHANNELS, {name: np.full((2, 2, 2), v) for name, v in OUTSIDE.items()})
    return _scene((first, second), WITHIN | SOFT_OF.get(label, {}))


def edge_scene(normal: ArrayLike) -> Scene:
    """Return compact bone where `normal` · r < 0, in the bones' frame, and fat beyond."""
    unit = np.asarray(normal, np.float64) / np.linalg.norm(normal)
    z, y, x = np.meshgrid(*[np.array([-HALF_MM, HALF_MM])] * 3, indexing="ij")
    channels = {"depth": -(unit[0] * x + unit[1] * y + unit[2] * z)}
    channels |= {name: np.full(x.shape, value) for name, value in (("compact", DEEP_MM), ("cyst", -9.0))}
    return _scene((_table(CHANNELS, channels),), WITHIN)


def identity_poses() -> NDArray[np.float64]:
    """Return the maps from world to the frames of a phantom's bones: they lie where the world's origin is."""
    return np.stack([np.eye(4)] * BONES)


def _table(names: tuple[str, ...], channels: dict[str, NDArray[np.float64]]) -> Table:
    values = np.zeros((2, 2, 2, len(names)), np.float32)
    for name, field in channels.items():
        values[..., names.index(name)] = field
    return Table(values, np.full(3, -HALF_MM), 2 * HALF_MM)


def _scene(bones: tuple[Table, ...], soft: dict[str, float]) -> Scene:
    rng = np.random.default_rng(0)
    maps = np.stack([tile_maps(rng, 0.9, 1.3, 1.2, 15.0)] * BONES)
    around, none = (
        _table(names, {name: np.full((2, 2, 2), value) for name, value in values.items()})
        for names, values in ((SOFT_CHANNELS, soft), (CHANNELS, OUTSIDE))
    )
    bones += (none,) * (BONES - len(bones))
    return Scene(bones=bones, soft=around, tile=random_tile(rng, 0.22, TILE_NODES), tile_from_bone=maps)
