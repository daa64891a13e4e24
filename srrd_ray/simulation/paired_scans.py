"""A knee of the school in MR of several sequences, and in CT as it lies in the MR: no registration, no doubt.

What a synthesis learns from before it has seen any cohort. Fields of view, sequences and voxels are drawn
wide; the CT is what is to be predicted, so it has no noise, and the density and marrow that people have on
average: what an MR does not tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.cohort import PosedKnee, View, bone_labels, image_grids, pose_knee
from srrd_ray.simulation.school import SchoolKnee, draw_mr_session, sample_school_knee

Range = tuple[float, float]
Field = tuple[Range, Range, Range]

SEQUENCES: Final = 4
"""Different ones of a knee."""
FIELD_MM: Final[Field] = ((68.0, 96.0), (66.0, 130.0), (62.0, 112.0))
"""Fields of view of the MR: ML, AP, SI."""
OFF_CENTRE_MM: Final = 8.0
PIXEL_MM: Final[Range] = (0.3, 0.6)
SLICE_MM: Final[dict[bool, Range]] = {True: (0.6, 1.1), False: (2.0, 3.3)}
"""Of volumes that are excited as a whole, and of single slices."""
TIMES: Final[Range] = (0.7, 1.4)
"""TR, TE and flip angle against the protocol's."""
CT: Final = ct.CtProtocol(
    slice_mm=0.8, pixel_mm=0.5, thickness_mm=0.9, psf_mm=1.0, overshoot=0.0, noise_hu=0.0,
    energy_kev=70.0, offset_hu=0.0,
)  # fmt: skip
_MEAN: Final = ct.CtSession(mineral_density=1.0, marrow_hu=ct.MARROW_HU, noise_factor=0.0, seed=0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairedScan:
    """An MR, and HU and bones (1 femur, 2 tibia, 3 fibula, 4 patella) of the same tissue in its place."""

    sequence: mr.Sequence
    mr: Volume[np.uint16]
    ct: Volume[np.float32]
    bones: Volume[np.uint8]


def simulate_paired_scans(
    number: int, seed: int, sequences: int = SEQUENCES, field_mm: Field = FIELD_MM
) -> Iterator[PairedScan]:
    """Yield knee `number` of the school of a seed as each of its sequences shows it; some 80 CPU s."""
    knee = sample_school_knee(number, seed)
    rng = np.random.default_rng(seed_from(seed, "paired scans", number))
    size = tuple(float(rng.uniform(*ends)) for ends in field_mm)
    center = tuple(float(mm) for mm in rng.uniform(-OFF_CENTRE_MM, OFF_CENTRE_MM, 3))
    view = View(
        ct_mm=(size[0], size[1], size[2]), mr_mm=(size[0], size[1], size[2]),
        center_mm=(center[0], center[1], center[2]), truth_voxel_mm=0.1,
    )  # fmt: skip
    posed = pose_knee(knee.plan, view.extent, knee.micro)
    grid = _around(_mr_grid(knee, view, posed, knee.scans.mr_protocol))
    in_mr = posed.sessions["mr"].bone_from_world()
    hu = ct.acquire_noiseless(posed.scene, in_mr, grid, CT, ct.hu_table(CT, _MEAN))
    bones = bone_labels(posed.scene, in_mr, grid)
    for name in rng.permutation(list(mr.PROTOCOLS))[:sequences]:
        protocol = _vary(rng, mr.PROTOCOLS[name])
        session = replace(draw_mr_session(rng, knee.plan), seed=int(rng.integers(2**62)))
        image = mr.acquire(posed.scene, in_mr, _mr_grid(knee, view, posed, protocol), protocol, session)
        yield PairedScan(
            sequence=protocol.sequence, mr=image, ct=Volume(array=hu, geometry=grid), bones=bones
        )


def _vary(rng: np.random.Generator, usual: mr.MrProtocol) -> mr.MrProtocol:
    """Return a protocol as another clinic has it."""
    tr, te, flip = (float(value) for value in rng.uniform(*TIMES, 3))
    whole = mr.SEQUENCE_CODES[usual.sequence][2] == "3D"
    return replace(
        usual,
        tr=usual.tr * tr,
        te=usual.te * min(te, tr),
        flip=min(usual.flip * flip, 90.0),
        slice_mm=float(rng.uniform(*SLICE_MM[whole])),
        pixel_mm=float(rng.uniform(*PIXEL_MM)),
    )


def _mr_grid(knee: SchoolKnee, view: View, posed: PosedKnee, protocol: mr.MrProtocol) -> Geometry:
    scans = replace(knee.scans, mr_protocol=protocol)
    return image_grids(knee.plan, view, posed.sessions, scans)["mr"]


def _around(grid: Geometry) -> Geometry:
    """Return an axial grid of the CT's voxels over all that `grid` sees."""
    corners = grid.corners_lps()
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = (CT.slice_mm, CT.pixel_mm, CT.pixel_mm)
    z, y, x = (int(np.ceil(mm / step)) + 1 for mm, step in zip((high - low)[::-1], spacing, strict=True))
    return Geometry.axis_aligned((z, y, x), spacing, low)
