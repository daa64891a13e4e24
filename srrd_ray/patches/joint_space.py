"""Joint space width and thickness of the subchondral plates, read off a CT along lines across the joint.

The masks of the bones say where along a line a plate lies; its edge is where the CT has fallen half way from
plate to joint, so that masks which end a little early or late hardly matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONES
from srrd_ray.core.geometry import Points
from srrd_ray.core.records import COMPARTMENTS, Compartment, Side
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.morphometry.calibration import MARROW_HU, MINERAL_HU
from srrd_ray.morphometry.plate import DEEP_MM, PLATE_MM, solid_mm
from srrd_ray.patches.subchondral import joint_surface, tibial_plateau, weight_bearing_centre

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

RADIUS_MM: Final = 10.0
"""Of the weight-bearing area round the centre of a compartment."""
PITCH_MM, STEP_MM = 1.0, 0.1
"""Between lines, and along a line."""
BELOW_MM, ABOVE_MM = 12.0, 20.0
"""Where lines start in the tibia and end in the femur, from the centre of the tibial surface."""
NEAR_MM: Final = 1.5
"""How far from the border of a bone's mask its plate is looked for."""
LEAST_SHARE: Final = 0.5
"""Of the lines that must cross both bones for a compartment to have values."""
LEAST_PERCENTILE: Final = 5.0
"""Of the widths: the very least of 300 lines would be noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JointSpace:
    """The weight-bearing area of one compartment, mm: joint space width (least and mean) along the normal of
    the plateau, and mean thickness of the plates; NaN where too little of it is seen.
    """

    least_mm: float
    mean_mm: float
    femoral_plate_mm: float
    tibial_plate_mm: float


class _Profiles(NamedTuple):
    """Bone fraction (lines, steps) from tibia to femur, and the steps of the edges of their plates."""

    fraction: Values
    tibia: Values
    femur: Values
    soft: Values


def joint_spaces(ct: Volume[Scalar], bones: Volume[np.uint8], side: Side) -> Mapping[Compartment, JointSpace]:
    """Return joint space width and plates of both compartments of a knee.

    Parameters
    ----------
    ct
        HU.
    bones
        Femur and tibia, labelled, on the grid of the CT.

    Raises
    ------
    InputError
        `bone-missing` where femur or tibia is absent.
    """
    _, tibia = (joint_surface(bones, bone) for bone in BONES)
    plateau = tibial_plateau(tibia)
    found = {}
    for compartment in COMPARTMENTS:
        points = _lines(weight_bearing_centre(tibia, plateau, compartment, side), plateau.normal)
        found[compartment] = _measure(_near(ct, points), _near(bones, points), points)
    return found


def _lines(centre: tuple[float, float, float], normal: Values) -> Points:
    """Return the points (lines, steps, 3) of lines along `normal` round `centre`, LPS mm."""
    across = np.cross(normal, (0.0, 1.0, 0.0))
    across /= np.linalg.norm(across)
    ticks = np.arange(-RADIUS_MM, RADIUS_MM + PITCH_MM / 2, PITCH_MM)
    u, v = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    held = np.hypot(u, v) <= RADIUS_MM
    starts = np.asarray(centre) + u[held, None] * across + v[held, None] * np.cross(normal, across)
    steps = np.arange(-BELOW_MM, ABOVE_MM, STEP_MM)
    return np.asarray(starts[:, None] + steps[:, None] * normal)


def _near(volume: Volume[Scalar], points: Points) -> Volume[Scalar]:
    """Return the box of the volume that holds `points`, or what of it there is."""
    index = volume.geometry.lps_to_index(points.reshape(-1, 3))
    last = np.array(volume.geometry.shape) - 1
    low = np.clip(np.floor(index.min(axis=0)), 0, last).astype(int)
    high = np.clip(np.ceil(index.max(axis=0)), low, last).astype(int)
    (a, b, c), (i, j, k) = low.tolist(), (high - low + 1).tolist()
    return volume.crop((a, b, c), (i, j, k))


def _measure(ct: Volume[Scalar], bones: Volume[np.uint8], points: Points) -> JointSpace:
    fraction = (ct.at(points, fill=np.nan).astype(np.float64) - MARROW_HU) / (MINERAL_HU - MARROW_HU)
    label = bones.at(points, order=0)
    profiles = _profiles(fraction, label == BONE_LABELS["tibia"], label == BONE_LABELS["femur"])
    if len(profiles.tibia) < LEAST_SHARE * len(points):
        return JointSpace(least_mm=np.nan, mean_mm=np.nan, femoral_plate_mm=np.nan, tibial_plate_mm=np.nan)
    width = (profiles.femur - profiles.tibia) * STEP_MM
    return JointSpace(
        least_mm=float(np.percentile(width, LEAST_PERCENTILE)),
        mean_mm=float(width.mean()),
        femoral_plate_mm=_mean_plate(profiles, into_femur=True),
        tibial_plate_mm=_mean_plate(profiles, into_femur=False),
    )


def _profiles(fraction: Values, tibia: Mask, femur: Mask) -> _Profiles:
    """Return the profiles that cross both bones, the edges of their plates and what lies between them."""
    steps = np.arange(fraction.shape[1])
    last = len(steps) - 1 - np.argmax(tibia[:, ::-1], axis=1)
    above = femur & (steps > last[:, None])
    first, reach = np.argmax(above, axis=1), (NEAR_MM + DEEP_MM) / STEP_MM
    needed = (steps >= (last - reach)[:, None]) & (steps <= (first + reach)[:, None])
    seen = (np.isfinite(fraction) | ~needed).all(axis=1)
    whole = tibia.any(axis=1) & above.any(axis=1) & seen
    fraction, last, first = np.nan_to_num(fraction[whole]), last[whole], first[whole]
    middle, near = (last + first) / 2, NEAR_MM / STEP_MM
    lower = _peak(fraction, (np.abs(steps - last[:, None]) <= near) & (steps <= middle[:, None]))
    upper = _peak(fraction, (np.abs(steps - first[:, None]) <= near) & (steps >= middle[:, None]))
    third = (upper - lower) / 3
    inner = (steps >= (lower + third)[:, None]) & (steps <= (upper - third)[:, None])
    soft = np.where(inner, fraction, 0).sum(axis=1) / np.maximum(inner.sum(axis=1), 1)
    end = len(steps) - 1
    return _Profiles(
        fraction=fraction,
        tibia=_edge(fraction, lower, upper, soft),
        femur=end - _edge(fraction[:, ::-1], end - upper, end - lower, soft),
        soft=soft,
    )


def _peak(fraction: Values, window: Mask) -> NDArray[np.intp]:
    highest: NDArray[np.intp] = np.argmax(np.where(window, fraction, -np.inf), axis=1)
    return highest


def _edge(fraction: Values, start: NDArray[np.intp], end: NDArray[np.intp], soft: Values) -> Values:
    """Return where each profile first falls half way from its value at `start` to `soft`, up to `end`."""
    rows, steps = np.arange(len(fraction)), np.arange(fraction.shape[1])
    half = (fraction[rows, start] + soft) / 2
    under = (fraction < half[:, None]) & (steps > start[:, None]) & (steps <= end[:, None])
    here = np.where(under.any(axis=1), np.argmax(under, axis=1), (start + end + 1) // 2)
    here = np.maximum(here, 1)
    high, low = fraction[rows, here - 1], fraction[rows, here]
    part = (high - half) / np.maximum(high - low, 1e-6)
    return np.asarray(here - 1 + np.clip(part, 0, 1))


def _mean_plate(profiles: _Profiles, *, into_femur: bool) -> float:
    """Return the mean thickness of solid bone of the mineral in a plate, from the middle of the joint on."""
    steps = np.arange(profiles.fraction.shape[1])
    edge = profiles.femur if into_femur else profiles.tibia
    middle = (profiles.femur + profiles.tibia) / 2
    deep_mm = (1 if into_femur else -1) * (steps - edge[:, None]) * STEP_MM
    outside = (steps > middle[:, None]) if into_femur else (steps <= middle[:, None])
    mass = np.where(outside & (deep_mm < PLATE_MM), profiles.fraction, 0).sum(axis=1) * STEP_MM
    under = (deep_mm >= PLATE_MM) & (deep_mm < DEEP_MM)
    deep = np.where(under, profiles.fraction, 0).sum(axis=1) / np.maximum(under.sum(axis=1), 1)
    free_mm = np.abs(edge - middle) * STEP_MM
    return float(solid_mm(mass, free_mm, profiles.soft, deep).mean())
