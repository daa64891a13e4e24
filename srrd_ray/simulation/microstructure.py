"""The trabecular priors of a knee: bone volume fraction, wavelength, plate or rod, fabric, lesions;
healthy and diseased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srrd_ray.simulation.anatomy import Anatomy, Field, Shape, sigmoid
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.randomfield import smooth_noise

MEAN_FRACTION = ((0.24, 0.21), (0.25, 0.19))
"""Healthy weight-bearing BV/TV: (femur, tibia) × (medial, lateral). Priors of method notes C2."""
MEAN_TB_N = ((1.24, 1.18), (1.25, 1.15))
"""Healthy Tb.N, 1/mm."""
WAVELENGTH_TB_N = 1.42
"""Tb.N · wavelength on this generator, Tb.N being 1 / (Tb.Th + Tb.Sp) by exact local thickness."""
MEAN_ROD = ((0.35, 0.45), (0.28, 0.45))
GRADE_EFFECT = (0.0, 0.10, 1.10, 1.40, 1.70)
"""A of Δ ln BV/TV by KL grade in the worn compartment, calibrated (docs/cohort-v1.md);
the spared one has `SPARED` of it.
"""
SPARED = 0.4
ROD_LOSS = 0.10
"""How much more plate-like (λ) bone is for an effect A of one."""
COARSENING = 0.08
"""How much wider (ln of the wavelength) bone is spaced for an effect A of one (Patel 2003;
FIESTA of mild osteoarthritis).
"""
PATIENT_SD, REGION_SD = 0.15, 0.08
"""Random effects on ln BV/TV: of the patient, and of each region of a knee."""
NUMBER_SD = (0.10, 0.06)
"""Random effects on ln Tb.N: of the patient, and of each region."""
ROD_SD, STRETCH, STRETCH_SD = 0.20, 1.5, 0.25
BANDWIDTHS = (0.12, 0.50)
"""Disorder of a patient's bone: the relative width of the spectral ring,
between an almost regular and a random structure.
"""
TILT_SD_DEG = 25.0
"""How far the fabric of a region leans away from the axis of the bone."""
LESION_PREVALENCE = (0.10, 0.25, 0.45, 0.65, 0.80)
CYST_PREVALENCE = (0.0, 0.0, 0.10, 0.40, 0.75)

Lesion = tuple[int, tuple[float, float, float], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionTexture:
    """One bone's compartment: BV/TV under the plate before disease, its depth effect A, wavelength mm, λ,
    stretch.
    """

    fraction: float
    effect: float
    wavelength_mm: float
    rod: float
    stretch: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Microstructure:
    """Textures by (bone, compartment) and lesions as (bone, centre mm, radius mm)."""

    regions: tuple[tuple[RegionTexture, RegionTexture], tuple[RegionTexture, RegionTexture]]
    bandwidth: float
    marrow_lesions: tuple[Lesion, ...]
    cysts: tuple[Lesion, ...]


def sample_microstructure(plan: SimulatedKnee, a: Anatomy) -> Microstructure:
    """Return the priors sampled for the patient (random effect, age, sex, BMI) and the knee (regions,
    disease, lesions).
    """
    own, knee = plan.patient_generator("microstructure"), plan.generator("microstructure")
    base = own.normal(0, PATIENT_SD) - 0.005 * max(plan.age - 50, 0) + 0.006 * (plan.bmi - 26)
    base += 0.03 if plan.sex == "M" else -0.03
    number = own.normal(0, NUMBER_SD[0])
    femur, tibia = (
        (_region(plan, knee, bone, 0, (base, number)), _region(plan, knee, bone, 1, (base, number)))
        for bone in (0, 1)
    )
    return Microstructure(
        regions=(femur, tibia),
        bandwidth=float(own.uniform(*BANDWIDTHS)),
        marrow_lesions=_lesions(plan, knee, a, LESION_PREVALENCE, (4.0, 9.0)),
        cysts=_lesions(plan, knee, a, CYST_PREVALENCE, (1.2, 3.0)),
    )


def _region(
    plan: SimulatedKnee, rng: np.random.Generator, bone: int, side: int, shared: tuple[float, float]
) -> RegionTexture:
    base, number = shared
    worn = 1 if plan.valgus else 0
    effect = GRADE_EFFECT[plan.kl_grade] * (1.0 if side == worn else SPARED)
    older = max(plan.age - 50, 0) / 30
    rod = MEAN_ROD[bone][side] + 0.15 * older - ROD_LOSS * effect + rng.normal(0, ROD_SD)
    tb_n = MEAN_TB_N[bone][side] * np.exp(number + rng.normal(0, NUMBER_SD[1]))
    return RegionTexture(
        fraction=float(MEAN_FRACTION[bone][side] * np.exp(base + rng.normal(0, REGION_SD))),
        effect=effect * float(np.clip(rng.normal(1, 0.25), 0.3, 2)),
        wavelength_mm=float(WAVELENGTH_TB_N / tb_n * np.exp(COARSENING * effect)),
        rod=float(np.clip(rod, 0.05, 1)),
        stretch=float(np.clip(rng.normal(STRETCH, STRETCH_SD), 1.05, 2.2)),
    )


def _lesions(
    plan: SimulatedKnee,
    rng: np.random.Generator,
    a: Anatomy,
    by_grade: tuple[float, ...],
    radius: tuple[float, float],
) -> tuple[Lesion, ...]:
    """Return up to three lesions under the joint surfaces, mostly in the worn compartment."""
    if rng.random() > by_grade[plan.kl_grade]:
        return ()
    return tuple(_lesion(plan, rng, a, radius) for _ in range(int(rng.integers(1, 4))))


def _lesion(plan: SimulatedKnee, rng: np.random.Generator, a: Anatomy, radius: tuple[float, float]) -> Lesion:
    worn = 1 if plan.valgus else 0
    side = worn if rng.random() < 0.8 else 1 - worn
    bone = int(rng.random() < 0.6)
    size = float(rng.uniform(*radius))
    height = a.joint_space[side] / 2 + 0.8 * size + rng.uniform(0.5, 5)
    center = (a.centers_x[side] + rng.normal(0, 6), rng.normal(0, 6), height if bone == 0 else -height)
    return bone, (float(center[0]), float(center[1]), float(center[2])), size


def volume_fraction(
    rng: np.random.Generator, micro: Microstructure, bone: int, shape: Shape, xyz: tuple[Field, Field, Field]
) -> Field:
    """Return BV/TV at every node: falling with depth, changed by disease near and far from the joint,
    and uneven.

    Δ ln BV/TV = A · (e^(−d/2.5) − 0.6 (1 − e^(−d/5))), d the depth under the joint surface in mm.
    """
    medial, lateral = micro.regions[bone]
    weight = sigmoid(-xyz[0] / 2.5)
    depth = np.maximum(shape.under_joint, 0)
    near = np.exp(-depth / 2.5) - 0.6 * (1 - np.exp(-depth / 5))
    middle = np.exp(-((np.abs(xyz[0]) - 4) ** 2) / 60) * 0.15
    metaphysis = -1.5 * sigmoid((np.abs(xyz[2]) - 36) / 5) * sigmoid((shape.depth - 5) / 2)
    loss = -0.6 * (1 - np.exp(-depth / 14)) - middle + metaphysis
    log = np.log(medial.fraction) * (1 - weight) + np.log(lateral.fraction) * weight
    log = log + near * (medial.effect * (1 - weight) + lateral.effect * weight) + loss + 0.10
    log = log + 0.12 * smooth_noise(rng, xyz, 8.0) + _scar(rng, bone, xyz)
    out: Field = np.clip(np.exp(log), 0.04, 0.8).astype(np.float32)
    return out


def _scar(rng: np.random.Generator, bone: int, xyz: tuple[Field, Field, Field]) -> Field:
    """The closed growth plate: a wavy, patchy sheet of dense bone a millimetre thick (ln of its excess)."""
    x, y, z = xyz
    level = (24.0 + 0.010 * x * x if bone == 0 else -17.0 - 0.006 * x * x) + 0.10 * y
    level = level + 1.2 * smooth_noise(rng, (x, y, z[:1]), 12.0)
    patchy = np.clip(0.5 + 0.6 * smooth_noise(rng, (x, y, z[:1]), 6.0), 0, 1)
    out: Field = (1.5 * patchy * np.exp(-(((z - level) / 0.8) ** 2))).astype(np.float32)
    return out
