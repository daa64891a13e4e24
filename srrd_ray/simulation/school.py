"""Knees to learn from: nobody's of any cohort, their texture and their scans drawn wider than any cohort's.

What a reader of images learns here should hold in hospitals that it never saw: the ranges contain those of
the simulated hospitals and go past them on both sides, and no two knees are scanned alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from srrd_ray.core.bones import BONES
from srrd_ray.core.geometry import Points
from srrd_ray.core.hashing import seed_from
from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.cohort import VIEWS, Acquisition, KneeImages, View, image_knee, pose_knee
from srrd_ray.simulation.microstructure import (
    ROD_RANGE,
    Microstructure,
    RegionTexture,
    sample_microstructure,
)
from srrd_ray.simulation.motion import Motion
from srrd_ray.simulation.patients import SimulatedKnee, sample_patient

Range = tuple[float, float]

VIEW: Final = replace(VIEWS["quick"], truth_voxel_mm=0.08)
"""The joint alone; the truth on a grid that is a little coarser than a cohort's."""
SEQUENCES: Final[tuple[tuple[mr.Sequence, float], ...]] = (
    ("bssfp", 0.6),
    ("pd", 0.14),
    ("t1", 0.14),
    ("t2", 0.12),
)
"""Sequences with bright marrow, in which trabeculae are seen, and how often each is drawn."""
FRACTION_SD, WAVELENGTH_SD, ROD_SD, STRETCH_SD = 0.15, 0.12, 0.10, 0.15
"""What a school knee's texture differs by beside what patients differ by: ln BV/TV, ln of the wavelength, λ,
stretch."""
BANDWIDTH: Final[Range] = (0.08, 0.70)
FLATNESS: Final[Range] = (0.9, 1.7)
CT_SLICE_MM: Final[Range] = (0.5, 1.25)
CT_PIXEL_MM: Final[Range] = (0.30, 0.60)
CT_OVERLAP: Final[Range] = (1.0, 1.6)
"""Thickness of a slice against the distance of slices."""
CT_PSF_MM: Final[Range] = (0.65, 1.75)
CT_OVERSHOOT: Final[Range] = (0.0, 0.20)
CT_NOISE_HU: Final[Range] = (15.0, 140.0)
CT_KEV: Final[Range] = (61.0, 79.0)
CT_OFFSET_SD_HU: Final = 12.0
CT_CUPPING_HU: Final[Range] = (0.0, 22.0)
MINERAL_SD: Final = 0.20
MARROW_HU: Final[Range] = (-95.0, 45.0)
MR_PIXEL: Final[Range] = (0.8, 1.5)
"""In-plane voxel against the protocol's; slices of 3D sequences likewise."""
MR_TIMES: Final[Range] = (0.8, 1.25)
"""TR, TE and flip angle against the protocol's."""
MR_SNR: Final[Range] = (8.0, 30.0)
MR_BIAS: Final[Range] = (0.15, 0.5)
MR_FIELD_HZ: Final[Range] = (3.0, 25.0)
RED_MARROW: Final[Range] = (0.0, 0.38)
MOTION: Final = 0.15
"""Share of knees that move in the MR scanner."""
MOTION_MM: Final[Range] = (0.3, 1.0)
GRADES: Final = 5
TURN_DEG, SHIFT_MM = 0.3, 0.15
"""SD of what a registration leaves, about each axis through the joint and along it."""

_PREFIX: Final = "school"


@dataclass(frozen=True, kw_only=True, slots=True)
class SchoolKnee:
    """A knee of the school: who, what its bone is like (null: as in a cohort), and how it is scanned."""

    plan: SimulatedKnee
    micro: Microstructure | None
    scans: Acquisition


def sample_school_knee(number: int, seed: int) -> SchoolKnee:
    """Return knee `number` of the school of a seed: a person of its own.

    Its random numbers derive from a seed and a name that no cohort has: it shares no patient with any.
    """
    of_school = seed_from(seed, "school")
    rng = np.random.default_rng(seed_from(of_school, number))
    grade = int(rng.integers(GRADES))
    plan = sample_patient(participant_of(number), grade, of_school, "quick")
    return SchoolKnee(plan=plan, micro=_texture(rng, plan), scans=_scans(rng, plan))


def participant_of(number: int) -> str:
    """Return the name of knee `number` of a school."""
    return f"{_PREFIX}{number:06d}"


def number_of(participant: str) -> int:
    """Return the number of the knee of a school that bears a name."""
    return int(participant.removeprefix(_PREFIX))


def image_school_knee(knee: SchoolKnee, view: View = VIEW) -> KneeImages:
    """Return the images and the truth of a knee of the school."""
    return image_knee(knee.plan, pose_knee(knee.plan, view.extent, knee.micro), view, knee.scans)


def sample_pose_errors(plan: SimulatedKnee, joint_lps_mm: Points) -> tuple[NDArray[np.float64], ...]:
    """Return for each bone a small rigid error (4x4, LPS mm) of its registration, about the joint."""
    rng = plan.generator("pose errors")
    return tuple(_rigid(rng, joint_lps_mm) for _ in BONES)


def _rigid(rng: np.random.Generator, about: Points) -> NDArray[np.float64]:
    error = np.eye(4)
    error[:3, :3] = Rotation.from_rotvec(rng.normal(0, TURN_DEG, 3), degrees=True).as_matrix()
    error[:3, 3] = about - error[:3, :3] @ about + rng.normal(0, SHIFT_MM, 3)
    return error


def _texture(rng: np.random.Generator, plan: SimulatedKnee) -> Microstructure:
    micro = sample_microstructure(plan, sample_anatomy(plan))
    shared = rng.normal(0, (FRACTION_SD, WAVELENGTH_SD, ROD_SD, STRETCH_SD))
    femur, tibia = ((_region(a, shared), _region(b, shared)) for a, b in micro.regions)
    return replace(
        micro,
        regions=(femur, tibia),
        bandwidth=float(rng.uniform(*BANDWIDTH)),
        flatness=float(rng.uniform(*FLATNESS)),
    )


def _region(region: RegionTexture, shared: NDArray[np.float64]) -> RegionTexture:
    fraction, wavelength, rod, stretch = (float(value) for value in shared)
    return replace(
        region,
        fraction=region.fraction * float(np.exp(fraction)),
        wavelength_mm=region.wavelength_mm * float(np.exp(wavelength)),
        rod=float(np.clip(region.rod + rod, *ROD_RANGE)),
        stretch=float(np.clip(region.stretch + stretch, 1.0, 2.2)),
    )


def _scans(rng: np.random.Generator, plan: SimulatedKnee) -> Acquisition:
    return Acquisition(
        mr_protocol=_mr_protocol(rng),
        mr_session=draw_mr_session(rng, plan),
        ct_protocol=_ct_protocol(rng),
        ct_session=_ct_session(rng),
    )


def _ct_protocol(rng: np.random.Generator) -> ct.CtProtocol:
    slice_mm = float(rng.uniform(*CT_SLICE_MM))
    return ct.CtProtocol(
        slice_mm=slice_mm,
        pixel_mm=float(rng.uniform(*CT_PIXEL_MM)),
        thickness_mm=slice_mm * float(rng.uniform(*CT_OVERLAP)),
        psf_mm=_log_uniform(rng, CT_PSF_MM),
        overshoot=float(rng.uniform(*CT_OVERSHOOT)) * float(rng.random() < 0.7),
        noise_hu=_log_uniform(rng, CT_NOISE_HU),
        energy_kev=float(rng.uniform(*CT_KEV)),
        offset_hu=float(rng.normal(0, CT_OFFSET_SD_HU)),
        cupping_hu=float(rng.uniform(*CT_CUPPING_HU)) * float(rng.random() < 0.5),
    )


def _ct_session(rng: np.random.Generator) -> ct.CtSession:
    return ct.CtSession(
        mineral_density=float(np.clip(rng.normal(1, MINERAL_SD), 0.6, 1.4)),
        marrow_hu=float(rng.uniform(*MARROW_HU)),
        noise_factor=1.0,
        seed=int(rng.integers(2**62)),
    )


def _mr_protocol(rng: np.random.Generator) -> mr.MrProtocol:
    names, shares = zip(*SEQUENCES, strict=True)
    usual = mr.PROTOCOLS[names[int(rng.choice(len(names), p=shares))]]
    tr, te, flip = (float(value) for value in rng.uniform(*MR_TIMES, 3))
    thick = _log_uniform(rng, MR_PIXEL) if usual.slice_mm < 1.5 else float(rng.uniform(0.8, 1.1))
    return replace(
        usual,
        tr=usual.tr * tr,
        te=usual.te * min(te, tr),
        flip=min(usual.flip * flip, 90.0),
        slice_mm=usual.slice_mm * thick,
        pixel_mm=usual.pixel_mm * _log_uniform(rng, MR_PIXEL),
    )


def draw_mr_session(rng: np.random.Generator, plan: SimulatedKnee) -> mr.MrSession:
    """Return a scan of the ranges above."""
    return mr.MrSession(
        snr=_log_uniform(rng, MR_SNR),
        bias=float(rng.uniform(*MR_BIAS)),
        field_hz=float(rng.uniform(*MR_FIELD_HZ)),
        gain=float(rng.uniform(0.5, 1.5)),
        red_marrow=float(rng.uniform(*RED_MARROW)),
        seed=seed_from(plan.seed, plan.knee.key, "mr noise"),
        motion=_motion(rng),
    )


def _motion(rng: np.random.Generator) -> Motion | None:
    """Return a start late in the scan, or a tremor that ghosts; for most knees none."""
    angle, size = rng.uniform(0, 2 * np.pi), float(rng.uniform(*MOTION_MM))
    shift = (size * float(np.sin(angle)), size * float(np.cos(angle)))
    onset, every, moves, starts = rng.uniform(0.65, 0.9), rng.integers(3, 9), rng.random(), rng.random()
    if moves >= MOTION:
        return None
    if starts < 0.5:
        return Motion(shift_mm=shift, onset=float(onset))
    return Motion(shift_mm=shift, every=int(every))


def _log_uniform(rng: np.random.Generator, ends: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
