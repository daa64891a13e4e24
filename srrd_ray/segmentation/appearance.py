"""How tissues look in one drawn image: CT in Hounsfield units, MR of several families, or any grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation.labels import LABELS

Floats = NDArray[np.float32]
Kind: TypeAlias = Literal["ct", "bright marrow", "dark marrow", "any"]
KINDS: Final[tuple[Kind, ...]] = ("ct", "bright marrow", "dark marrow", "any")
KIND_SHARES: Final = (0.36, 0.20, 0.20, 0.24)
MARROW: Final = tuple(LABELS[name] for name in ("femur", "tibia", "fibula", "patella"))
CORTEX: Final = tuple(
    LABELS[name] for name in ("femoral cortex", "tibial cortex", "fibular cortex", "patellar cortex")
)
_SOFT: Final = ("cartilage", "meniscus", "muscle", "fat", "ligament", "skin", "fluid", "blood")
_RANGES: Final[dict[Kind, dict[str, tuple[float, float]]]] = {
    "ct": {
        "air": (-1010, -960),
        "cartilage": (50, 130),
        "meniscus": (60, 130),
        "muscle": (25, 85),
        "fat": (-125, -60),
        "ligament": (50, 130),
        "skin": (-30, 90),
        "fluid": (0, 50),
        "blood": (25, 90),
        "marrow": (-110, 110),
        "cortex": (350, 1700),
    },
    "bright marrow": {
        "air": (0.0, 0.04),
        "cartilage": (0.2, 1.0),
        "meniscus": (0.0, 0.3),
        "muscle": (0.15, 0.6),
        "fat": (0.75, 1.1),
        "ligament": (0.0, 0.3),
        "skin": (0.1, 0.8),
        "fluid": (0.05, 1.3),
        "blood": (0.0, 1.0),
        "marrow": (0.5, 1.05),
        "cortex": (0.0, 0.2),
    },
    "dark marrow": {
        "air": (0.0, 0.04),
        "cartilage": (0.45, 1.1),
        "meniscus": (0.02, 0.4),
        "muscle": (0.2, 0.7),
        "fat": (0.03, 0.4),
        "ligament": (0.02, 0.4),
        "skin": (0.1, 0.8),
        "fluid": (0.4, 1.6),
        "blood": (0.0, 1.3),
        "marrow": (0.03, 0.45),
        "cortex": (0.0, 0.2),
    },
    "any": dict.fromkeys(("air", *_SOFT, "marrow", "cortex"), (0.0, 1.0)),
}
"""Least and largest mean of a tissue; marrow in CT is the fat between the trabeculae, without mineral."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Appearance:
    """Grey values of one image.

    Parameters
    ----------
    tables
        (5, labels): mean; SD of fine texture; SD of smooth variation; what is added in the middle of bone
        against its surface; 1 for marrow.
    unit
        The span of grey values: noise and edges are in parts of it.
    """

    kind: Kind
    tables: Floats
    unit: float


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Return the grey values of one image; bones mostly look alike, as they do in people.

    Examples
    --------
    >>> a, b = (sample_appearance(np.random.default_rng(3)) for _ in range(2))
    >>> bool((a.tables == b.tables).all())
    True
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
    tables = np.zeros((5, max(LABELS.values()) + 1), np.float32)
    ranges, unit = _RANGES[kind], 1000.0 if kind == "ct" else 1.0
    for name in ("air", *_SOFT):
        tables[0, LABELS[name]] = rng.uniform(*ranges[name])
    if kind == "any" and rng.random() < 0.7:
        tables[0, LABELS["air"]] = 0.0
    marrow, cortex = rng.uniform(*ranges["marrow"]), rng.uniform(*ranges["cortex"])
    apart = unit * (0.02 if rng.random() < 0.8 else 0.12)
    tables[0, MARROW] = marrow + rng.normal(0, apart, 4)
    tables[0, CORTEX] = cortex + rng.normal(0, apart, 4)
    if kind == "any" and rng.random() < 0.5:
        tables[0, CORTEX] = rng.uniform(0, 0.1)
    _vary(rng, kind, tables)
    tables[4, MARROW] = 1.0
    return Appearance(kind=kind, tables=tables, unit=unit)


def _vary(rng: np.random.Generator, kind: Kind, tables: Floats) -> None:
    """Fill in how tissues vary within themselves."""
    soft = [LABELS[name] for name in _SOFT]
    if kind == "ct":
        tables[1, soft], tables[2, soft] = rng.uniform(0, 15, 8), rng.uniform(0, 15, 8)
        tables[1, MARROW], tables[2, MARROW] = rng.uniform(5, 120), rng.uniform(10, 110)
        tables[1, CORTEX], tables[2, CORTEX] = rng.uniform(0, 150), rng.uniform(50, 400)
        tables[3, MARROW] = -rng.uniform(0, 500)
        return
    tables[1, soft], tables[2, soft] = rng.uniform(0, 0.08, 8), rng.uniform(0, 0.08, 8)
    tables[1, MARROW], tables[2, MARROW] = rng.uniform(0, 0.12), rng.uniform(0, 0.15)
    tables[1, CORTEX], tables[2, CORTEX] = rng.uniform(0, 0.04), rng.uniform(0, 0.06)
    tables[3, MARROW] = rng.normal(0, 0.12)
