"""The shapes of a knee as smooth implicit functions, in bone frames.

The frame of every bone at rest (leg extended) is one anatomical frame, of a right knee in LPS mm: +x medial,
+y posterior, +z superior, origin midway between the compartments on the joint line.
A left knee is its mirror image. A depth is positive inside a body, in mm,
and exact to some per cent near its surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation.patients import SimulatedKnee

Field: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
"""Values on a grid; float32 where the coordinates are."""
AXIS_Y_MM, AXIS_Z_MM = 6.0, 20.0
"""The flexion axis: along x through the centre of the posterior condyles."""

JOINT_SPACE_MM = {"medial": (4.5, 4.4, 4.0, 2.8, 1.2), "lateral": (5.4, 5.4, 5.3, 5.2, 5.0)}
CARTILAGE_LEFT = (1.0, 0.97, 0.95, 0.75, 0.45)
OSTEOPHYTE_MM = (0.0, 1.0, 2.0, 4.0, 7.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Sizes of one knee, mm; pairs are (medial, lateral). Sources: method notes C1."""

    width: float
    depth: float
    joint_space: tuple[float, float]
    femoral_cartilage: tuple[float, float]
    tibial_cartilage: tuple[float, float]
    condyle_half_width: tuple[float, float]
    notch_half_width: float
    posterior_radius: float
    distal_radius: float
    slope: float
    tibial_plate: tuple[float, float]
    femoral_plate: tuple[float, float]
    osteophyte: tuple[float, float]
    fat: float

    @property
    def centers_x(self) -> tuple[float, float]:
        """Position x of the medial and of the lateral condyle's middle, mm."""
        return 0.29 * self.width, -0.29 * self.width


def sample_anatomy(plan: SimulatedKnee) -> Anatomy:
    """Return sizes sampled for the patient (size, cartilage) and the knee (joint space, osteophytes)."""
    own, knee = plan.patient_generator("anatomy"), plan.generator("anatomy")
    male = plan.sex == "M"
    width = own.normal(82.7, 3.0) if male else own.normal(73.5, 2.6)
    size = width / 78.0
    worn, spared = (1, 0) if plan.valgus else (0, 1)
    grade = plan.kl_grade
    space = [0.0, 0.0]
    space[worn] = max(JOINT_SPACE_MM["medial"][grade] + knee.normal(0, 0.45), 1.0)
    space[spared] = max(JOINT_SPACE_MM["lateral"][grade] + knee.normal(0, 0.6), 3.0)
    left = [1.0, 1.0]
    left[worn] = CARTILAGE_LEFT[grade]
    spur = [0.4 * OSTEOPHYTE_MM[grade]] * 2
    spur[worn] = OSTEOPHYTE_MM[grade] * float(np.clip(knee.normal(1, 0.4), 0.2, 2))
    thick = float(np.clip(own.normal(1, 0.13), 0.75, 1.3))
    sclerosis = [1.0 + 0.06 * grade, 1.0 + 0.06 * grade]
    sclerosis[worn] = 1.0 + (0.0, 0.1, 0.25, 0.55, 0.9)[grade] * float(np.clip(knee.normal(1, 0.25), 0.3, 2))
    return Anatomy(
        width=float(width),
        depth=float(own.normal(60.0, 2.0) * size),
        joint_space=(space[0], space[1]),
        femoral_cartilage=_cartilage((1.9 * thick, 1.9 * thick), left, space),
        tibial_cartilage=_cartilage((1.75 * thick, 2.1 * thick), left, space),
        condyle_half_width=(float(own.normal(13.4, 0.8) * size), float(own.normal(13.9, 0.8) * size)),
        notch_half_width=float(own.normal(10.2, 0.7) * size),
        posterior_radius=float(own.normal(20.5, 0.8) * size),
        distal_radius=float(own.normal(32.0, 1.5) * size),
        slope=float(np.tan(np.radians(own.normal(7, 2)))),
        tibial_plate=(0.75 * sclerosis[0], 0.65 * sclerosis[1]),
        femoral_plate=(0.50 * sclerosis[0], 0.45 * sclerosis[1]),
        osteophyte=(spur[0], spur[1]),
        fat=float(np.clip(own.normal(9 if male else 13, 3) + 0.4 * (plan.bmi - 26), 4, 28)),
    )


def _cartilage(healthy: tuple[float, float], left: list[float], space: list[float]) -> tuple[float, float]:
    """Return cartilage thickness: at least enough that the surfaces nearly touch,
    at most what the joint space holds.
    """
    a, b = (float(np.clip(t * f, 0.42 * s, 0.47 * s)) for t, f, s in zip(healthy, left, space, strict=True))
    return a, b


def smooth_min(a: Field, b: Field, reach: float) -> Field:
    """Return the minimum of two depths (an intersection) with an edge rounded over `reach` mm."""
    near = np.maximum(reach - np.abs(a - b), 0)
    out: Field = np.minimum(a, b) - near * near / np.float32(4 * reach)
    return out


def smooth_max(a: Field, b: Field, reach: float) -> Field:
    """Return the maximum of two depths (a union) with the crease filled over `reach` mm."""
    return -smooth_min(-a, -b, reach)


def sigmoid(t: Field) -> Field:
    """Return 1 / (1 + e^(-t)), safe for any t."""
    out: Field = 0.5 * (1 + np.tanh(0.5 * t))
    return out


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shape:
    """A bone on a grid: depth under its surface, the side of its nearest surface (1 articular, 0 not),
    and how far a point lies under the articular surface (mm, used for gradients with depth).
    """

    depth: Field
    articular: Field
    under_joint: Field


def femur(a: Anatomy, x: Field, y: Field, z: Field) -> Shape:
    """Return the distal femur: two condyles on a sagittal profile, trochlear bridge, intercondylar notch,
    metaphysis.
    """
    profiles = [_sagittal_profile(a, gap / 2, y, z) for gap in a.joint_space]
    condyles = [_condyle(a, side, profiles[side], (x, y, z)) for side in (0, 1)]
    middle = 0.5 * (profiles[0] + profiles[1])
    groove = 4.0 + 3.5 * np.exp(-(((x + 2) / 8) ** 2))
    bridge = smooth_min(middle - groove, 0.30 * a.width - np.abs(x), 6)
    body = smooth_max(smooth_max(condyles[0], condyles[1], 5), bridge, 6)
    body = smooth_max(body, _femoral_shaft(a, x, y, z), 8)
    notch = _notch(a, x, y, z)
    depth = smooth_min(body, -notch, 3)
    near = np.maximum(profiles[0] - 0.06 * np.abs(x), 0)
    lateral = sigmoid(-x / 4)
    profile = profiles[0] * (1 - lateral) + profiles[1] * lateral
    articular = (
        sigmoid((7 - near) / 1.5) * sigmoid((-notch - 1.5) / 0.8) * sigmoid((4 + depth - profile) / 1.5)
    )
    return Shape(depth=depth, articular=articular.astype(np.float32), under_joint=profile)


def _sagittal_profile(a: Anatomy, bottom: float, y: Field, z: Field) -> Field:
    """Depth inside the side view of a condyle: a posterior circle joined to a flatter distal one."""
    r, d = a.posterior_radius, a.distal_radius
    posterior = r - np.hypot(y - 10.0, z - (bottom + 0.9 + r))
    distal = d - np.hypot(y + 4.0, z - (bottom + d))
    profile = smooth_max(posterior, distal, 5)
    above = smooth_min(24 - np.abs(y + 4.0), z - (bottom + r), 6)
    return smooth_max(profile, above, 6)


def _condyle(a: Anatomy, side: int, profile: Field, xyz: tuple[Field, Field, Field]) -> Field:
    """Depth inside one condyle: the profile, crowned in the frontal plane,
    between rounded side walls that meet in front.
    """
    x, y, z = xyz
    off = (x - a.centers_x[side]) * (1 if side == 0 else -1)
    crowned = profile - (x - a.centers_x[side]) ** 2 / np.float32(2 * 32.0)
    spur = a.osteophyte[side] * np.exp(-(((z - a.joint_space[side] / 2 - 6.0) / 4.0) ** 2)) * (off > 0)
    front = 0.35 * np.maximum(-y - 2, 0) * (off > 0)
    up = 0.06 * np.minimum(z, 25) - 0.02 * np.maximum(z - 27, 0) ** 2
    wall = a.condyle_half_width[side] + 1.0 + spur - np.abs(off) + up - front
    return smooth_min(crowned, wall.astype(np.float32), 9)


def _femoral_shaft(a: Anatomy, x: Field, y: Field, z: Field) -> Field:
    """Depth inside the metaphysis: an ellipse that narrows upwards from the epicondyles to the shaft."""
    up = sigmoid((z - 44) / 10)
    half_x = a.width * (0.46 * (1 - up) + 0.19 * up)
    half_y = 21.0 * (1 - up) + 14.5 * up
    ring = np.sqrt((x / half_x) ** 2 + ((y + 5 + 4 * up) / half_y) ** 2)
    inside = (1 - ring) * np.minimum(half_x, half_y)
    return smooth_min(inside.astype(np.float32), z - 24, 10)


def _notch(a: Anatomy, x: Field, y: Field, z: Field) -> Field:
    """Depth inside the intercondylar notch: an arch whose roof rises backwards."""
    roof = 3.0 + 0.92 * (y + 9.0)
    height = (roof - z) / np.float32(1.36)
    return smooth_min(a.notch_half_width - np.abs(x), height, 8)


def tibia(a: Anatomy, x: Field, y: Field, z: Field) -> Shape:
    """Return the proximal tibia: two plateaus, the eminence between them, the flare below,
    the tuberosity in front.
    """
    top = plateau_height(a, x, y)
    under = (top - z) * np.float32(0.96)
    below = np.maximum(-z - 6, 0)
    flare = 0.40 + 0.60 * np.exp(-((below / 42) ** 1.25))
    forward = -6.0 * (1 - np.exp(-((below / 30) ** 2)))
    rim = np.exp(-(((z + 4.0) / 3.5) ** 2))
    spur = np.where(x > 0, a.osteophyte[0], a.osteophyte[1]) * rim
    half_x, half_y = 0.475 * a.width * flare + spur, 0.40 * a.depth * (0.15 + 0.85 * flare) + 0.3 * spur
    ring = ((np.abs(x / half_x)) ** 2.4 + (np.abs((y + 1.0 - forward) / half_y)) ** 2.4) ** (1 / 2.4)
    outline = (1 - ring) * np.minimum(half_x, half_y)
    tuberosity = 9 - np.sqrt((x + 4) ** 2 + (y + 24) ** 2 + (0.45 * (z + 32)) ** 2)
    depth = smooth_max(smooth_min(under, outline.astype(np.float32), 6), tuberosity, 8)
    articular = sigmoid((3 + depth - under) / 1.2) * sigmoid((outline - 2.5) / 1.0)
    return Shape(depth=depth, articular=articular.astype(np.float32), under_joint=under)


def plateau_height(a: Anatomy, x: Field, y: Field) -> Field:
    """Return z of the tibial surface, mm: a hollow medial and a level lateral plateau, sloping backwards,
    two spines.
    """
    medial_r2 = ((x - a.centers_x[0]) / 15) ** 2 + (y / 19) ** 2
    lateral_r2 = ((x - a.centers_x[1]) / 14) ** 2 + (y / 17) ** 2
    medial = -a.joint_space[0] / 2 + 1.6 * np.minimum(medial_r2, 1.6)
    lateral = -a.joint_space[1] / 2 - 0.3 * np.minimum(lateral_r2, 2.0)
    side = sigmoid(-x / 3)
    spines = 8.0 * np.exp(-(((x - 5.5) / 3.6) ** 2) - ((y - 1) / 8) ** 2)
    spines = spines + 7.0 * np.exp(-(((x + 5) / 3.6) ** 2) - ((y - 3) / 7) ** 2)
    out: Field = (medial * (1 - side) + lateral * side + spines - a.slope * y).astype(np.float32)
    return out


def fibula(a: Anatomy, x: Field, y: Field, z: Field) -> Field:
    """Return depth inside the fibula: a head behind and below the lateral plateau, and a neck."""
    cx, cy = -0.40 * a.width, 0.30 * a.depth
    head = 10.5 - np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (0.8 * (z + 21)) ** 2)
    neck = smooth_min(7.0 - np.hypot(x - cx, y - cy - 1), -z - 22, 6)
    return smooth_max(head, neck, 5)


def patella(a: Anatomy, x: Field, y: Field, z: Field) -> Field:
    """Return depth inside the patella: a lens in front of the trochlea, its apex below,
    its ridge towards the groove.
    """
    size = a.width / 78.0
    height = (z - 34 * size) / size
    half_x = size * np.clip(21 + 0.35 * np.minimum(height, 8), 8, 23)
    ridge = np.maximum(y - patella_front(a), 0) * (0.35 * np.abs(x) / half_x)
    ring = np.sqrt(
        (x / half_x) ** 2 + ((y + ridge - patella_front(a)) / (10.5 * size)) ** 2 + (height / 21) ** 2
    )
    out: Field = ((1 - ring) * 10.5 * size).astype(np.float32)
    return out


def patella_front(a: Anatomy) -> float:
    """Return y of the middle of the patella, mm."""
    return -0.60 * a.depth - 4.0
