"""The trabecular priors of a knee: bone volume fraction, wavelength, plate or rod, fabric, lesions;
healthy and diseased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation.anatomy import Anatomy, Field, Shape, sigmoid
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.randomfield import smooth_noise
from srrd_ray.simulation.trabeculae import tile_maps

MEAN_FRACTION = ((0.24, 0.21), (0.25, 0.19))
"""Healthy weight-bearing BV/TV: (femur, tibia) × (medial, lateral). Priors of method notes C2."""
MEAN_TB_N = ((1.24, 1.18), (1.25, 1.15))
"""Healthy Tb.N, 1/mm."""
WAVELENGTH_TB_N = 1.75
"""Tb.N · wavelength on this generator, Tb.N being 1 / (Tb.Th + Tb.Sp) by exact local thickness."""
MEAN_ROD = ((0.28, 0.38), (0.25, 0.38))
GRADE_EFFECT = (0.0, 0.07, 0.76, 0.97, 1.16)
"""A of Δ ln BV/TV by KL grade in the worn compartment, calibrated (docs/cohort-v2.md);
the spared one has `SPARED` of it.
"""
SPARED = 0.4
DISEASED_MM = 30.0
"""How far from the joint line disease reaches: bone behind the patella bears no weight of the worn
compartment.
"""
ROD_LOSS = 0.05
"""How much more plate-like (λ) bone is for an effect A of one."""
COARSENING = 0.08
"""How much wider (ln of the wavelength) bone is spaced for an effect A of one (Patel 2003;
FIESTA of mild osteoarthritis).
"""
PATIENT_SD, REGION_SD = 0.15, 0.08
"""Random effects on ln BV/TV: of the patient, and of each region of a knee."""
NUMBER_SD = (0.10, 0.06)
"""Random effects on ln Tb.N: of the patient, and of each region."""
ROD_SD, STRETCH, STRETCH_SD = 0.08, 1.45, 0.20
ROD_RANGE = (0.12, 0.8)
BANDWIDTHS = (0.12, 0.50)
"""Disorder of a patient's bone: the relative width of the spectral ring, between an almost regular and a
random structure.
"""
FLATNESS = (1.0, 1.4)
"""How much wider than apart a patient's plates are."""
TILT_SD_DEG = 10.0
"""How far the fabric of a bone leans away from the axis of the bone."""
FAN, FAN_MM = 0.25, 40.0
"""Lines of load draw together by `FAN` over `FAN_MM` from the joint, as the bone narrows."""
WANDER = ((0.35, 9.0), (1.2, 20.0))
"""How far, mm, and over which lengths, mm, the fabric wanders."""
ROD_UNEVEN = 0.05
"""SD of λ within a bone: plates in one place, struts in the next."""
STREAK_SD, STREAK_MM, STREAK_STRETCH = 0.25, 2.2, 6.0
STREAK_WAVES = 40
"""Streaks of denser bone along the load: SD of ln BV/TV, their width, and how much longer they are."""
SUBCORTICAL = (0.45, 1.5)
"""How much denser (ln of BV/TV) bone is right under any surface, and how deep, mm."""
SCAR, SCAR_MM = 0.9, 0.8
"""How much denser (ln of BV/TV) the closed growth plate is where it is seen, and half its thickness."""
SHAFT_LOSS, SHAFT_MM = 1.5, 58.0
"""How much emptier (ln of BV/TV) the shaft is, and how far from the joint it begins: to there the tibia of
one woman (CT of 1 mm) keeps 100-130 HU, and the femur of another 117-210 HU at 20-40 mm.
"""
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
    flatness: float
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
        flatness=float(own.uniform(*FLATNESS)),
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
    rod = MEAN_ROD[bone][side] + 0.10 * older - ROD_LOSS * effect + rng.normal(0, ROD_SD)
    tb_n = MEAN_TB_N[bone][side] * np.exp(number + rng.normal(0, NUMBER_SD[1]))
    return RegionTexture(
        fraction=float(MEAN_FRACTION[bone][side] * np.exp(base + rng.normal(0, REGION_SD))),
        effect=effect * float(np.clip(rng.normal(1, 0.25), 0.3, 2)),
        wavelength_mm=float(WAVELENGTH_TB_N / tb_n * np.exp(COARSENING * effect)),
        rod=float(np.clip(rod, *ROD_RANGE)),
        stretch=float(np.clip(rng.normal(STRETCH, STRETCH_SD), 1.05, 2.2)),
    )


def texture_maps(rng: np.random.Generator, micro: Microstructure, bone: int) -> NDArray[np.float64]:
    """Return the maps (2, 3, 4) to the tile of a bone whose fabric is the mean of its compartments'."""
    wavelength, stretch = _mean_fabric(micro, bone)
    return tile_maps(rng, wavelength, stretch, micro.flatness, TILT_SD_DEG)


def _mean_fabric(micro: Microstructure, bone: int) -> tuple[float, float]:
    medial, lateral = micro.regions[bone]
    wavelength = np.sqrt(medial.wavelength_mm * lateral.wavelength_mm)
    return float(wavelength), float(np.sqrt(medial.stretch * lateral.stretch))


def texture_warp(
    rng: np.random.Generator, micro: Microstructure, bone: int, xyz: tuple[Field, Field, Field]
) -> dict[str, Field]:
    """Return how far, mm, each node is moved along x, y, z before the texture is read (``warp_x`` …): lines
    of load draw together, the compartments differ in scale and stretch, and the fabric wanders.
    """
    wavelength, stretch = _mean_fabric(micro, bone)
    lateral = sigmoid(-xyz[0] / 4)
    finer, longer = (
        np.log(mean) - np.log(medial) * (1 - lateral) - np.log(other) * lateral
        for mean, medial, other in zip(
            (wavelength, stretch),
            *((region.wavelength_mm, region.stretch) for region in micro.regions[bone]),
            strict=True,
        )
    )
    fan = 1 + FAN * np.minimum(np.abs(xyz[2]) / FAN_MM, 1.5)
    across = np.exp(finer - longer / 3)
    scales = (across * fan, across * fan, np.exp(finer + longer * 2 / 3))
    return {
        f"warp_{axis}": ((scale - 1) * at + _wander(rng, xyz)).astype(np.float32)
        for axis, scale, at in zip("xyz", scales, xyz, strict=True)
    }


def _wander(rng: np.random.Generator, xyz: tuple[Field, Field, Field]) -> Field:
    (small, short), (large, long) = WANDER
    return small * smooth_noise(rng, xyz, short) + large * smooth_noise(rng, xyz, long)


def window_size(
    rng: np.random.Generator, micro: Microstructure, bone: int, xyz: tuple[Field, Field, Field]
) -> Field:
    """Return λ at every node: plates where it is small, struts where it is large."""
    medial, lateral = micro.regions[bone]
    weight = sigmoid(-xyz[0] / 2.5)
    rod = medial.rod * (1 - weight) + lateral.rod * weight + ROD_UNEVEN * smooth_noise(rng, xyz, 5.0)
    out: Field = np.clip(rod, *ROD_RANGE).astype(np.float32)
    return out


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
    shaft = -SHAFT_LOSS * sigmoid((np.abs(xyz[2]) - SHAFT_MM) / 6) * sigmoid((shape.depth - 5) / 2)
    dense = SUBCORTICAL[0] * np.exp(-np.maximum(shape.depth, 0) / SUBCORTICAL[1])
    loss = -0.6 * (1 - np.exp(-depth / 14)) - middle + shaft + dense
    log = np.log(medial.fraction) * (1 - weight) + np.log(lateral.fraction) * weight
    near = near * sigmoid((DISEASED_MM - np.abs(xyz[2])) / 5)
    log = log + near * (medial.effect * (1 - weight) + lateral.effect * weight) + loss + 0.10
    log = log + 0.12 * smooth_noise(rng, xyz, 8.0) + _streaks(rng, xyz) + _scar(rng, bone, xyz)
    out: Field = np.clip(np.exp(log), 0.04, 0.8).astype(np.float32)
    return out


def _streaks(rng: np.random.Generator, xyz: tuple[Field, Field, Field]) -> Field:
    x, y, z = xyz
    return STREAK_SD * smooth_noise(rng, (x, y, z / np.float32(STREAK_STRETCH)), STREAK_MM, STREAK_WAVES)


def _scar(rng: np.random.Generator, bone: int, xyz: tuple[Field, Field, Field]) -> Field:
    """The closed growth plate: a wavy, patchy sheet of dense bone a millimetre thick (ln of its excess)."""
    x, y, z = xyz
    level = (24.0 + 0.010 * x * x if bone == 0 else -17.0 - 0.006 * x * x) + 0.10 * y
    level = level + 1.2 * smooth_noise(rng, (x, y, z[:1]), 12.0)
    patchy = np.clip(0.5 + 0.6 * smooth_noise(rng, (x, y, z[:1]), 6.0), 0, 1)
    out: Field = (SCAR * patchy * np.exp(-(((z - level) / SCAR_MM) ** 2))).astype(np.float32)
    return out
