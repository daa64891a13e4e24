"""Soft tissue as depths inside each, mm: menisci, ligaments and tendons, muscles, the limb's outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srrd_ray.simulation.anatomy import Anatomy, Field, patella_front, plateau_height, sigmoid, smooth_max
from srrd_ray.simulation.randomfield import smooth_noise

Point = tuple[float, float, float]
Grid = tuple[Field, Field, Field]


_OUTSIDE_MM, _MARGIN_MM = -9.0, 4.0
"""The depth far from every muscle, and how far round a muscle its own depth is computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Belly:
    """A muscle or vessel: an upright spindle from `low` to `high` (x, y, z mm), its half axes across (x,
    y) in the middle.
    """

    low: Point
    high: Point
    half: tuple[float, float]


MUSCLES: dict[str, Belly] = {
    "vastus medialis": Belly(low=(33, -24, 14), high=(24, -26, 150), half=(15, 15)),
    "vastus lateralis": Belly(low=(-33, -24, 24), high=(-26, -26, 170), half=(14, 16)),
    "semimembranosus": Belly(low=(29, 30, -12), high=(20, 46, 160), half=(13, 12)),
    "biceps femoris": Belly(low=(-38, 26, -16), high=(-22, 44, 160), half=(11, 13)),
    "sartorius": Belly(low=(43, 12, -50), high=(46, 14, 140), half=(5, 9)),
    "gastrocnemius, medial": Belly(low=(22, 40, -150), high=(17, 34, 32), half=(18, 15)),
    "gastrocnemius, lateral": Belly(low=(-22, 40, -140), high=(-17, 34, 30), half=(16, 14)),
    "popliteus and soleus": Belly(low=(-6, 20, -150), high=(-6, 28, -4), half=(24, 12)),
    "tibialis anterior": Belly(low=(-28, -8, -150), high=(-32, -10, -18), half=(13, 15)),
}
VESSELS: dict[str, Belly] = {
    "popliteal artery": Belly(low=(-1, 31, -160), high=(3, 31, 170), half=(3.5, 3.5)),
    "popliteal vein": Belly(low=(-4, 38, -160), high=(-2, 38, 170), half=(4.5, 4.0)),
    "great saphenous vein": Belly(low=(44, 30, -160), high=(46, 28, 170), half=(2.2, 2.2)),
}


def soft_tissue(rng: np.random.Generator, a: Anatomy, xyz: Grid) -> dict[str, Field]:
    """Return the channels of `compose.SOFT_CHANNELS` on open node coordinates."""
    size = a.width / 78.0
    limb, fat = _limb(a, xyz)
    muscle = np.full(limb.shape, _OUTSIDE_MM, np.float32)
    rough = (1.2 * smooth_noise(rng, xyz, 7.0)).astype(np.float32)
    for belly in MUSCLES.values():
        part, depth = _belly(belly, size, xyz)
        np.maximum(muscle[part], depth + rough[part], out=muscle[part])
    np.minimum(muscle, limb - fat, out=muscle)
    for vessel in VESSELS.values():
        part, depth = _belly(vessel, size, xyz)
        muscle[part] = np.maximum(np.where(depth > -1.5, np.float32(-1), muscle[part]), depth)
    return {
        "meniscus": _menisci(a, xyz),
        "ligament": _ligaments(a, size, xyz),
        "muscle": muscle,
        "limb": limb,
    }


def _limb(a: Anatomy, xyz: Grid) -> tuple[Field, Field]:
    """Return the depth under the skin, and that of the fascia:
    fat is thin in front of the knee, thick behind and inside.
    """
    x, y, z = xyz
    swell = (
        1
        + 0.0016 * np.maximum(z - 10, 0)
        + 0.0010 * np.maximum(-z - 45, 0)
        - 0.06 * np.exp(-(((z + 35) / 22) ** 2))
    )
    front, back = -patella_front(a) + 16.0, 0.62 * a.depth + 22.0 + 0.6 * a.fat
    middle = (back - front) / 2
    half_x, half_y = (0.5 * a.width + 6 + 0.75 * a.fat) * swell, (back + front) / 2 * swell
    ring = np.sqrt((x / half_x) ** 2 + ((y - middle) / half_y) ** 2)
    limb: Field = ((1 - ring) * np.minimum(half_x, half_y)).astype(np.float32)
    behind = sigmoid((y + 18) / 10)
    fat: Field = (a.fat * (0.3 + 0.7 * behind)).astype(np.float32)
    return limb, fat


def _belly(belly: Belly, size: float, xyz: Grid) -> tuple[tuple[slice, slice, slice], Field]:
    """Return the box of nodes round a spindle, blunt at its ends, and the depth inside it there."""
    low, high = (np.array(end) * size for end in (belly.low, belly.high))
    reach = np.array([*belly.half, 0.0]) * size + _MARGIN_MM
    least, most = np.minimum(low, high) - reach, np.maximum(low, high) + reach
    sides = [
        slice(*np.searchsorted(v.ravel(), ends))
        for v, ends in zip(xyz, zip(least, most, strict=True), strict=True)
    ]
    x, y, z = xyz[0][:, :, sides[0]], xyz[1][:, sides[1]], xyz[2][sides[2]]
    along = (z - low[2]) / (high[2] - low[2])
    cx, cy = low[0] + along * (high[0] - low[0]), low[1] + along * (high[1] - low[1])
    inside = np.clip(4 * along * (1 - along), 0, 1) ** 0.35
    half = np.maximum(np.array(belly.half)[:, None, None, None] * size * inside, 0.3)
    ring = np.hypot((x - cx) / half[0], (y - cy) / half[1])
    depth = (1 - ring) * np.minimum(half[0], half[1]) + _OUTSIDE_MM * ((along <= 0) | (along >= 1))
    return (sides[2], sides[1], sides[0]), np.asarray(depth, np.float32)


def _menisci(a: Anatomy, xyz: Grid) -> Field:
    """Wedges on the rim of each plateau, open towards the spines."""
    x, y, z = xyz
    top = plateau_height(a, x, y)
    meniscus = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), -9.0, np.float32)
    for side in (0, 1):
        r = np.hypot((x - a.centers_x[side]) * 1.15, y * 0.95)
        opening = 9.0 - (np.abs(x) - 8.0) * 2
        wedge = 1.0 + 0.9 * (r - 7.5) - (z - top)
        rim = np.minimum(np.minimum(r - 8.0, 18.5 - r), z - top + 1.5)
        meniscus = np.maximum(meniscus, np.minimum(rim, np.minimum(wedge, -opening)))
    return meniscus


def _ligaments(a: Anatomy, size: float, xyz: Grid) -> Field:
    """Cruciates, collaterals on the sides of the bones, the tendons above and below the patella."""
    x, y, z = xyz
    front = patella_front(a)
    cruciate = 2.9 - np.hypot(x + 2.5 - 0.35 * z, y - 0.55 * z + 1.0)
    posterior = 3.2 - np.hypot(x - 2.0 + 0.2 * z, y - 12.0 + 0.5 * z)
    inside = np.minimum(np.maximum(cruciate, posterior), 16.0 - np.abs(z - 2.0))
    wall = 0.5 * a.width * (1 - 0.004 * np.maximum(-z - 8, 0)) + 1.0
    collateral = np.minimum(
        1.4 - np.abs(np.abs(x) - wall), np.minimum(6 - np.abs(y), np.minimum(z + 46, 26 - z))
    )
    patellar = _strap((0.0, front - 3, 16 * size), (-3.0, -34.0, -34 * size), (13 * size, 2.6), xyz)
    quadriceps = _strap((0.0, front + 12, 130 * size), (0.0, front - 2, 50 * size), (17 * size, 4.0), xyz)
    return smooth_max(np.maximum(inside, collateral), np.maximum(patellar, quadriceps), 1)


def _strap(high: Point, low: Point, half: tuple[float, float], xyz: Grid) -> Field:
    """Return depth inside a flat band between two points:
    `half` its half width along x and its half thickness along y.
    """
    x, y, z = xyz
    along = (z - low[2]) / (high[2] - low[2])
    cx, cy = low[0] + along * (high[0] - low[0]), low[1] + along * (high[1] - low[1])
    depth = np.minimum(half[0] - np.abs(x - cx), half[1] - np.abs(y - cy))
    out: Field = np.minimum(depth, np.minimum(z - low[2], high[2] - z)).astype(np.float32)
    return out
