"""The sizes of a knee, and the frame of its bones.

The frame of every bone at rest (leg extended) is one anatomical frame, of a right knee in LPS mm: +x medial,
+y posterior, +z superior, origin midway between the compartments on the joint line.
A left knee is its mirror image. A depth is positive inside a body, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.shape_model import draw_scores

Field: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
"""Values on a grid; float32 where the coordinates are."""
AXIS_Y_MM, AXIS_Z_MM = 2.5, 22.0
"""The flexion axis: along x through the centre of the posterior condyles."""

JOINT_SPACE_MM = {"medial": (3.7, 3.6, 3.3, 2.3, 1.2), "lateral": (3.7, 3.7, 3.6, 3.5, 3.3)}
"""Least distance between the bones by Kellgren-Lawrence grade, in knees with cartilage of mean thickness:
the least bone gaps of 44 people over the whole spectrum of osteoarthritis (OAI) are 2.9 ± 0.8 and 3.2 ± 1.0
mm.
"""
WIDTH_MM = {"M": (88.0, 3.9), "F": (78.3, 3.4)}
"""Mediolateral size of the femur by sex, mean and SD: bicondylar widths (Anat Res Int 2012:679658)."""
CARTILAGE_MM = {"femur": (2.08, 0.22), "tibia": (2.12, 0.21), "patella": (2.35, 0.32)}
"""Mean thickness over what cartilage covers, mean and SD between people of the mean size (44 people of the
OAI: 2.03 ± 0.25, 1.95 ± 0.24, 2.28 ± 0.36 with disease); more for each mm of the femur's width.
"""
CARTILAGE_PER_WIDTH = 0.018
CARTILAGE_SHARED = (0.85, 0.85, 0.4)
"""Part of the variance of each cartilage that a person's others share."""
WORN_LEFT = (1.0, 0.97, 0.92, 0.62, 0.12)
"""Cartilage left in the middle of the worn compartment's contact, by grade."""
OSTEOPHYTE_MM = (0.0, 0.8, 1.8, 3.5, 5.5)
PLATE_MM = {"femur": (0.50, 0.45), "tibia": (0.75, 0.65)}
"""Subchondral plate in the middle of a healthy compartment (medial, lateral)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Anatomy:
    """Sizes of one knee, mm; pairs are (medial, lateral). Sources: method notes C1, and the constants above.

    `scores` are those of the shape model, `cartilage` the mean thickness on femur, tibia and patella before
    wear, `left` what the middle of each compartment keeps of it, `joint_space` the least distance of the
    bones, `brawn` the size of the muscles (a factor).
    """

    width: float
    scores: NDArray[np.float64]
    joint_space: tuple[float, float]
    cartilage: tuple[float, float, float]
    left: tuple[float, float]
    tibial_plate: tuple[float, float]
    femoral_plate: tuple[float, float]
    osteophyte: tuple[float, float]
    cortex: float
    fat: float
    brawn: float

    @property
    def size(self) -> float:
        """Return the knee's size against that of the model's mean knee."""
        return self.width / MODEL_WIDTH_MM

    @property
    def centers_x(self) -> tuple[float, float]:
        """Position x of the medial and of the lateral compartment's middle, mm."""
        return 0.27 * self.width, -0.27 * self.width


MODEL_WIDTH_MM = 80.0


def sample_anatomy(plan: SimulatedKnee) -> Anatomy:
    """Return sizes sampled for the patient (shape, size, cartilage) and the knee (wear, osteophytes)."""
    own, knee = plan.patient_generator("anatomy"), plan.generator("anatomy")
    mean, spread = WIDTH_MM[plan.sex]
    width = float(np.clip(own.normal(mean, spread), mean - 2.5 * spread, mean + 2.5 * spread))
    cartilage = _sample_cartilage(own, width)
    worn, spared = (1, 0) if plan.valgus else (0, 1)
    grade, level = plan.kl_grade, cartilage[0] / CARTILAGE_MM["femur"][0]
    space, left, spur, sclerosis = (
        [0.0, 0.0],
        [1.0, 1.0],
        [0.4 * OSTEOPHYTE_MM[grade]] * 2,
        [1 + 0.06 * grade] * 2,
    )
    space[worn] = max(JOINT_SPACE_MM["medial"][grade] * level + knee.normal(0, 0.35), 0.8)
    space[spared] = max(JOINT_SPACE_MM["lateral"][grade] * level + knee.normal(0, 0.4), 2.0)
    left[worn] = WORN_LEFT[grade]
    spur[worn] = OSTEOPHYTE_MM[grade] * float(np.clip(knee.normal(1, 0.4), 0.2, 2))
    sclerosis[worn] = 1 + (0.0, 0.1, 0.25, 0.55, 0.9)[grade] * float(np.clip(knee.normal(1, 0.25), 0.3, 2))
    femoral, tibial = (
        (PLATE_MM[bone][0] * sclerosis[0], PLATE_MM[bone][1] * sclerosis[1]) for bone in ("femur", "tibia")
    )
    return Anatomy(
        width=width,
        scores=draw_scores(own),
        joint_space=(space[0], space[1]),
        cartilage=cartilage,
        left=(left[0], left[1]),
        tibial_plate=tibial,
        femoral_plate=femoral,
        osteophyte=(spur[0], spur[1]),
        cortex=float(np.clip(own.normal(1, 0.15) - 0.004 * max(plan.age - 50, 0), 0.6, 1.5)),
        fat=float(np.clip(own.normal(8 if plan.sex == "M" else 12, 2.5) + 0.5 * (plan.bmi - 26), 4, 28)),
        brawn=float(np.clip(own.normal(1.03 if plan.sex == "M" else 0.95, 0.05), 0.8, 1.15)),
    )


def _sample_cartilage(rng: np.random.Generator, width: float) -> tuple[float, float, float]:
    part = np.array(CARTILAGE_SHARED)
    own = np.sqrt(part) * rng.standard_normal() + np.sqrt(1 - part) * rng.standard_normal(3)
    drawn = [
        float(mean + spread * float(np.clip(z, -2.2, 2.2)) + CARTILAGE_PER_WIDTH * (width - 83))
        for (mean, spread), z in zip(CARTILAGE_MM.values(), own, strict=True)
    ]
    return drawn[0], drawn[1], drawn[2]


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
