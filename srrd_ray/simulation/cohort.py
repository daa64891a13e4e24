"""One simulated knee as arrays: the profile's fields of view, the sessions, both images and the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Matrix4, Points, matrix4, transform_points
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import Modality
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import ct, mr
from srrd_ray.simulation.anatomy import Anatomy, sample_anatomy
from srrd_ray.simulation.compose import Scene
from srrd_ray.simulation.microstructure import Microstructure, sample_microstructure
from srrd_ray.simulation.motion import Motion
from srrd_ray.simulation.patients import Profile, SimulatedKnee
from srrd_ray.simulation.pose import Session, ct_to_mr, depth_on, sample_sessions
from srrd_ray.simulation.scene import Extent, build_scene
from srrd_ray.simulation.truth import Cell, landmarks, truth_cells


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What a profile images: fields of view (ML, AP, SI) in mm, their centre in the joint's frame,
    the truth's voxel.
    """

    ct_mm: tuple[float, float, float]
    mr_mm: tuple[float, float, float]
    center_mm: tuple[float, float, float]
    truth_voxel_mm: float

    @property
    def extent(self) -> Extent:
        """The box of anatomical space that tables must cover, whatever the pose."""
        half = [
            max(a, b) / 2 + 0.12 * max(self.ct_mm[2], self.ct_mm[1]) + 4
            for a, b in zip(self.ct_mm, self.mr_mm, strict=True)
        ]
        x, y, z = self.center_mm
        return Extent(
            low=(x - half[0], y - half[1], z - half[2]), high=(x + half[0], y + half[1], z + half[2])
        )


TRUTH_VOXEL_MM = 0.06
VIEWS: dict[Profile, View] = {
    "quick": View(
        ct_mm=(76.0, 36.0, 48.0), mr_mm=(72.0, 34.0, 46.0), center_mm=(0, 0, 0), truth_voxel_mm=TRUTH_VOXEL_MM
    ),
    "joint": View(
        ct_mm=(90.0, 80.0, 76.0), mr_mm=(86.0, 76.0, 72.0), center_mm=(0, 0, 0), truth_voxel_mm=TRUTH_VOXEL_MM
    ),
    "paper": View(
        ct_mm=(150.0, 150.0, 90.0),
        mr_mm=(90.0, 140.0, 110.0),
        center_mm=(0, 0, 0),
        truth_voxel_mm=TRUTH_VOXEL_MM,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeImages:
    """Both images of a knee, the bones on the CT's grid, and the truth."""

    ct: Volume[np.int16]
    mr: Volume[np.uint16]
    ct_labels: Volume[np.uint8]
    transforms: dict[BoneName, Matrix4]
    landmarks_ct_lps: dict[BoneName, Points]
    cells: list[Cell]
    nuisance: dict[str, float | str]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PosedKnee:
    """A knee before any image: its anatomy, its scene, and how it lies in CT and MR."""

    anatomy: Anatomy
    scene: Scene
    sessions: dict[Modality, Session]


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquisition:
    """How a knee is scanned: protocol and session of its CT and of its MR."""

    ct_protocol: ct.CtProtocol
    ct_session: ct.CtSession
    mr_protocol: mr.MrProtocol
    mr_session: mr.MrSession


def sample_acquisition(plan: SimulatedKnee, sequence: mr.Sequence = "bssfp") -> Acquisition:
    """Return how a knee of a cohort is scanned: by the protocol of its hospital, on one day."""
    return Acquisition(
        ct_protocol=ct.PROTOCOLS[plan.hospital],
        ct_session=sample_ct_session(plan),
        mr_protocol=mr.PROTOCOLS[sequence],
        mr_session=sample_mr_session(plan),
    )


def pose_knee(plan: SimulatedKnee, extent: Extent, micro: Microstructure | None = None) -> PosedKnee:
    """Return a knee of the plan, its tables covering `extent`; `micro` takes the place of the plan's own."""
    a = sample_anatomy(plan)
    scene = build_scene(plan, a, micro or sample_microstructure(plan, a), extent)
    return PosedKnee(
        anatomy=a, scene=scene, sessions=sample_sessions(plan, scene.bones, 0.95 * min(a.joint_space))
    )


def simulate(plan: SimulatedKnee, view: View | None = None, sequence: mr.Sequence = "bssfp") -> KneeImages:
    """Return the images and the truth of one knee, all of it a function of plan and
    MR sequence (and of `view` where given).
    """
    view = view or VIEWS[plan.profile]
    return image_knee(plan, pose_knee(plan, view.extent), view, sample_acquisition(plan, sequence))


def image_knee(plan: SimulatedKnee, knee: PosedKnee, view: View, scans: Acquisition) -> KneeImages:
    """Return the images and the truth of a posed knee, scanned so."""
    scene, sessions = knee.scene, knee.sessions
    grids = image_grids(plan, view, sessions, scans)
    from_world = {m: s.bone_from_world() for m, s in sessions.items()}
    return KneeImages(
        ct=ct.acquire(scene, from_world["ct"], grids["ct"], scans.ct_protocol, scans.ct_session),
        mr=mr.acquire(scene, from_world["mr"], grids["mr"], scans.mr_protocol, scans.mr_session),
        ct_labels=bone_labels(scene, from_world["ct"], grids["ct"]),
        transforms={bone: matrix4(ct_to_mr(sessions, n)) for n, bone in enumerate(BONES)},
        landmarks_ct_lps=_landmarks(scene, sessions, grids),
        cells=truth_cells(scene, sessions["ct"], knee.anatomy, view.truth_voxel_mm),
        nuisance=_nuisance(sessions, scans) | _mr_nuisance(scans.mr_protocol, scans.mr_session),
    )


def image_grids(
    plan: SimulatedKnee, view: View, sessions: dict[Modality, Session], scans: Acquisition
) -> dict[Modality, Geometry]:
    """Return the grids: CT axial along the scanner's axes, MR sagittal and angled to the knee,
    both centred on the joint.
    """
    return {
        "ct": axial_grid(view, sessions["ct"], scans.ct_protocol),
        "mr": _sagittal(plan, view, sessions["mr"], scans.mr_protocol),
    }


def axial_grid(view: View, session: Session, protocol: ct.CtProtocol) -> Geometry:
    """Return the grid of a CT, along the scanner's axes and centred on the joint."""
    spacing = (protocol.slice_mm, protocol.pixel_mm, protocol.pixel_mm)
    counts = [round(mm / s) for mm, s in zip(view.ct_mm[::-1], spacing, strict=True)]
    center = transform_points(session.joint_line(), np.array(view.center_mm))
    return _centered((counts[0], counts[1], counts[2]), np.diag([*spacing[::-1], 1.0]), center)


def _sagittal(plan: SimulatedKnee, view: View, session: Session, protocol: mr.MrProtocol) -> Geometry:
    """Array axes (slice, row, column) run along (left to right, head to foot, front to back) of the knee."""
    joint = session.joint_line()
    axes = joint[:3, :3] * (1 if plan.knee.side == "R" else np.array([-1.0, 1.0, 1.0]))
    counts = [
        round(v / s) for v, s in zip(view.mr_mm, (protocol.slice_mm, *[protocol.pixel_mm] * 2), strict=True)
    ]
    linear = np.eye(4)
    linear[:3, 0] = axes[:, 1] * protocol.pixel_mm
    linear[:3, 1] = -axes[:, 2] * protocol.pixel_mm
    linear[:3, 2] = -axes[:, 0] * protocol.slice_mm
    return _centered(
        (counts[0], counts[2], counts[1]), linear, transform_points(joint, np.array(view.center_mm))
    )


def _centered(shape: tuple[int, int, int], linear: NDArray[np.float64], center: Points) -> Geometry:
    affine = linear.copy()
    affine[:3, 3] = center - linear[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Geometry.from_affine(shape, affine)


def bone_labels(scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry) -> Volume[np.uint8]:
    """Return 1 femur, 2 tibia, 3 fibula, 4 patella on `grid`, by the centre of each voxel."""
    labels = np.zeros(grid.shape, np.uint8)
    for n, table in enumerate(scene.bones):
        labels[depth_on(table, bones_from_world[n] @ grid.affine, grid.shape) > 0] = n + 1
    return Volume(array=labels, geometry=grid)


def _landmarks(
    scene: Scene, sessions: dict[Modality, Session], grids: dict[Modality, Geometry]
) -> dict[BoneName, Points]:
    by_bone: dict[BoneName, Points] = {}
    for n, bone in enumerate(BONES):
        views = [(s.world_from_bone[n], grids[m]) for m, s in sessions.items()]
        points = landmarks(scene.bones[n], views)
        if len(points) < 12:
            raise InputError(
                "simulated-view", f"the {bone} leaves the field of view", got=f"{len(points)} landmarks"
            )
        by_bone[bone] = transform_points(sessions["ct"].world_from_bone[n], points)
    return by_bone


def sample_ct_session(plan: SimulatedKnee) -> ct.CtSession:
    """Return the deviations of one scan (patient, day) from the hospital's CT protocol."""
    own, knee = plan.patient_generator("ct"), plan.generator("ct")
    return ct.CtSession(
        mineral_density=float(np.clip(own.normal(1, ct.MINERAL_SD), 0.7, 1.3)),
        marrow_hu=float(np.clip(own.normal(ct.MARROW_HU, ct.MARROW_SD_HU), *ct.MARROW_RANGE_HU)),
        noise_factor=float(np.clip(own.normal(1, ct.NOISE_SD) + 0.01 * (plan.bmi - 26), 0.6, 1.6)),
        seed=seed_from(plan.seed, plan.knee.key, "ct noise", int(knee.integers(2**31))),
        drift_hu=float(knee.normal(0, ct.DRIFT_SD_HU)),
        blur=float(np.clip(knee.normal(1, ct.BLUR_SD), 0.75, 1.35)),
    )


def sample_mr_session(plan: SimulatedKnee) -> mr.MrSession:
    """Return what differs between MR scans of one protocol."""
    own, knee = plan.patient_generator("mr"), plan.generator("mr")
    return mr.MrSession(
        snr=float(np.clip(knee.normal(18, 4), 10, 25)),
        bias=float(knee.uniform(0.25, 0.40)),
        field_hz=float(knee.uniform(5, 20)),
        gain=float(knee.uniform(0.6, 1.4)),
        red_marrow=float(np.clip(own.normal(0.12, 0.06), 0, 0.35)),
        seed=seed_from(plan.seed, plan.knee.key, "mr noise"),
        scale=_gradient_scale(plan),
        motion=_sample_motion(plan),
    )


def _gradient_scale(plan: SimulatedKnee) -> tuple[float, float, float]:
    """Return the error of a scanner's gradients, the same for all knees of a hospital:
    SD 0.15 %, at most 0.3 %.
    """
    rng = np.random.default_rng(seed_from(plan.seed, f"hospital {plan.hospital}", "mr gradients"))
    x, y, z = 1 + np.clip(rng.normal(0, 0.0015, 3), -0.003, 0.003)
    return float(x), float(y), float(z)


def _sample_motion(plan: SimulatedKnee) -> Motion | None:
    """Return the motion of one patient in ten: a start late in the scan, or a tremor that ghosts."""
    own, knee = plan.patient_generator("mr motion"), plan.generator("mr motion")
    if own.random() >= 0.1:
        return None
    angle, size = knee.uniform(0, 2 * np.pi), float(knee.uniform(0.3, 1.0))
    shift = (size * float(np.sin(angle)), size * float(np.cos(angle)))
    if knee.random() < 0.5:
        return Motion(shift_mm=shift, onset=float(knee.uniform(0.65, 0.9)))
    return Motion(shift_mm=shift, every=int(knee.integers(3, 9)))


def _nuisance(sessions: dict[Modality, Session], scans: Acquisition) -> dict[str, float | str]:
    pose, base = sessions["mr"].joint, sessions["ct"].joint
    protocol, ct_session, mr_session = scans.ct_protocol, scans.ct_session, scans.mr_session
    return {
        "flexion_ct_deg": float(base.flexion),
        "flexion_mr_deg": float(pose.flexion),
        "ct_psf_mm": protocol.psf_mm * ct_session.blur,
        "ct_noise_hu": protocol.noise_hu * ct_session.noise_factor,
        "ct_energy_kev": protocol.energy_kev,
        "mineral_density": ct_session.mineral_density,
        "marrow_hu": ct_session.marrow_hu,
        "ct_drift_hu": ct_session.drift_hu,
        "red_marrow": mr_session.red_marrow,
    }


def _mr_nuisance(protocol: mr.MrProtocol, session: mr.MrSession) -> dict[str, float | str]:
    """Return what disturbs the MR. `mr_scale_*` is not part of the rigid truth: see `mr.MrSession.scale`."""
    motion = session.motion or Motion(shift_mm=(0.0, 0.0))
    return {
        "mr_sequence": protocol.sequence,
        "mr_snr": session.snr,
        "mr_bias": session.bias,
        "mr_gain": session.gain,
        "mr_field_hz": session.field_hz,
        "mr_fat_shift_px": protocol.fat_shift_px,
        "mr_motion_mm": float(np.hypot(*motion.shift_mm)),
        "mr_motion_onset": motion.onset,
        "mr_motion_every": float(motion.every),
        **{f"mr_scale_{axis}": value for axis, value in zip("xyz", session.scale, strict=True)},
    }
