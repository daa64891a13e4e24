"""Knees of a cohort whose bone and scanners the school never drew: how far what was learnt there reaches.

Every value lies outside of the school's ranges (`school`), which a test holds; the construction of the bone
is the same foam.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.cohort import Acquisition, sample_ct_session, sample_mr_session
from srrd_ray.simulation.ct import CtProtocol
from srrd_ray.simulation.microstructure import Microstructure, RegionTexture, sample_microstructure
from srrd_ray.simulation.mr import MrProtocol
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.school import SchoolKnee

CT: Final = CtProtocol(
    slice_mm=1.5, pixel_mm=0.66, thickness_mm=2.5, psf_mm=1.9, overshoot=0.25, noise_hu=14.0,
    energy_kev=82.0, offset_hu=20.0, cupping_hu=28.0,
)  # fmt: skip
"""A fifth hospital: thick slices, a soft kernel that rings, 120 kV with much filtration."""
MR: Final = MrProtocol(sequence="dess", tr=16.3, te=4.7, flip=25.0, slice_mm=0.7, pixel_mm=0.365)
"""Double-echo steady state without fat suppression: marrow bright, as the readers of the school need it."""
BANDWIDTH: Final = 0.9
FLATNESS: Final = 2.0
STRETCH: Final = 2.4
"""Broader mixtures of scales, flatter and longer plates."""


def sample_shifted_knee(plan: SimulatedKnee) -> SchoolKnee:
    """Return a knee of the plan with another texture, scanned in a fifth hospital by another sequence."""
    micro = sample_microstructure(plan, sample_anatomy(plan))
    scans = Acquisition(
        ct_protocol=CT,
        ct_session=sample_ct_session(plan),
        mr_protocol=MR,
        mr_session=sample_mr_session(plan),
    )
    return SchoolKnee(plan=plan, micro=_other_texture(micro), scans=scans)


def _other_texture(micro: Microstructure) -> Microstructure:
    femur, tibia = ((_longer(a), _longer(b)) for a, b in micro.regions)
    return replace(micro, regions=(femur, tibia), bandwidth=BANDWIDTH, flatness=FLATNESS)


def _longer(region: RegionTexture) -> RegionTexture:
    return replace(region, stretch=STRETCH)
