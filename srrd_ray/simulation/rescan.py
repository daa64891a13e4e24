"""The same simulated knee scanned by CT again: its bone and body stay, the visit is another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, assert_never

import numpy as np

from srrd_ray.core.hashing import seed_from
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import ct
from srrd_ray.simulation.cohort import PosedKnee, View, axial_grid, bone_labels, sample_ct_session
from srrd_ray.simulation.patients import HOSPITALS, SimulatedKnee, sample_patient
from srrd_ray.simulation.pose import Session, reposition

Visit: TypeAlias = Literal["first", "repositioned", "another day", "another scanner"]
"""Repositioned: got up and lay down again, on one day. Another day: the same protocol. Another scanner:
another hospital's protocol on another day.
"""
DOSE_SD: Final = 0.10
"""Of ln of the noise between visits: tube current modulation differs as the leg lies."""
GRADES: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CtVisit:
    """One CT of a knee: whose protocol, how the leg lay, the image (HU), and the true bones on its grid."""

    hospital: int
    session: Session
    image: Volume[np.int16]
    bones: Volume[np.uint8]


def sample_rescanned(number: int, seed: int) -> SimulatedKnee:
    """Return knee `number` of those that are scanned again: a person of its own, of no cohort or school."""
    of_rescans = seed_from(seed, "rescans")
    return sample_patient(f"rescan{number:04d}", number % GRADES, of_rescans, "quick")


def scan_visit(plan: SimulatedKnee, knee: PosedKnee, view: View, visit: Visit) -> CtVisit:
    """Return the CT of a visit; that of the first is the one that the knee has in a cohort."""
    hospital, session = hospital_of(plan, visit), _session(plan, knee, visit)
    protocol = ct.PROTOCOLS[hospital]
    grid, bones_from_world = axial_grid(view, session, protocol), session.bone_from_world()
    image = ct.acquire(knee.scene, bones_from_world, grid, protocol, ct_session_of(plan, visit))
    return CtVisit(
        hospital=hospital,
        session=session,
        image=image,
        bones=bone_labels(knee.scene, bones_from_world, grid),
    )


def hospital_of(plan: SimulatedKnee, visit: Visit) -> int:
    """Return the number of the hospital that scans on a visit."""
    if visit != "another scanner":
        return plan.hospital
    return (plan.hospital + 1 + int(plan.generator("other hospital").integers(HOSPITALS - 1))) % HOSPITALS


def ct_session_of(plan: SimulatedKnee, visit: Visit) -> ct.CtSession:
    """Return how the CT of a visit deviates from its protocol.

    Bone and marrow are the patient's. Noise is always new, and its SD differs a little; another day has
    another shift of the HU scale, and another width of the kernel (field of view, small movements).
    """
    first = sample_ct_session(plan)
    rng = plan.generator(f"ct {visit}")
    again = replace(
        first,
        noise_factor=first.noise_factor * float(np.exp(rng.normal(0, DOSE_SD))),
        seed=seed_from(plan.seed, plan.knee.key, "ct noise", visit),
    )
    match visit:
        case "first":
            return first
        case "repositioned":
            return again
        case "another day" | "another scanner":
            drift, blur = float(rng.normal(0, ct.DRIFT_SD_HU)), float(rng.normal(1, ct.BLUR_SD))
            return replace(again, drift_hu=drift, blur=float(np.clip(blur, 0.75, 1.35)))
        case _ as other:
            assert_never(other)


def _session(plan: SimulatedKnee, knee: PosedKnee, visit: Visit) -> Session:
    if visit == "first":
        return knee.sessions["ct"]
    return reposition(plan, knee.scene.bones, 0.95 * min(knee.anatomy.joint_space), visit)
