"""Where the bones are in each session: rigid poses of the leg and of the tibia against the femur,
for CT and MR separately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Points, Shape, transform_points
from srrd_ray.core.records import Modality, Side
from srrd_ray.simulation.anatomy import AXIS_Y_MM, AXIS_Z_MM
from srrd_ray.simulation.compose import Table
from srrd_ray.simulation.patients import SimulatedKnee

Matrix = NDArray[np.float64]
FEMUR, TIBIA, FIBULA, PATELLA = range(4)


@dataclass(frozen=True, kw_only=True, slots=True)
class JointPose:
    """The tibia against the femur: flexion, internal rotation and varus in degrees, shift (x, y, z) mm."""

    flexion: float
    axial: float
    varus: float
    shift: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Session:
    """One imaging session: `world_from_bone` (4, 4, 4) maps each bone's frame to the scanner's LPS mm."""

    joint: JointPose
    world_from_bone: NDArray[np.float64]

    def bone_from_world(self) -> Matrix:
        """Return the inverse poses (4, 4, 4)."""
        return np.asarray(np.linalg.inv(self.world_from_bone), np.float64)

    def joint_line(self) -> Matrix:
        """Return the pose (4, 4) of the joint: halfway between femur and tibia;
        where a technician aims the scan.
        """
        femur, tibia = self.world_from_bone[FEMUR], self.world_from_bone[TIBIA]
        between = np.linalg.inv(femur) @ tibia
        half = Rotation.from_matrix(between[:3, :3]).as_rotvec() / 2
        middle = np.eye(4)
        middle[:3, :3] = Rotation.from_rotvec(half).as_matrix()
        middle[:3, 3] = between[:3, 3] / 2
        return np.asarray(femur @ middle)


def sample_sessions(plan: SimulatedKnee, bones: tuple[Table, ...], gap_mm: float) -> dict[Modality, Session]:
    """Return the CT and the MR session of a knee; differences as published (method notes C6).

    `gap_mm` is the least distance of the bones at rest:
    cartilage keeps it in every pose, but for a little compression.
    """
    rng = plan.generator("pose")
    ct = _extended_joint(rng)
    mr = JointPose(
        flexion=ct.flexion + float(np.clip(rng.normal(12, 7), 0, 30)),
        axial=ct.axial + rng.normal(-5, 3),
        varus=rng.normal(1.5, 1.5),
        shift=(rng.normal(0, 0.8), rng.normal(1.5, 1.5), 0.0),
    )
    gaps = gap_mm * np.clip(rng.normal(1, 0.06, 2), 0.85, 1.15)
    return {
        "ct": _session(rng, plan.knee.side, ct, bones, gaps[0]),
        "mr": _session(rng, plan.knee.side, mr, bones, gaps[1]),
    }


def reposition(plan: SimulatedKnee, bones: tuple[Table, ...], gap_mm: float, visit: str) -> Session:
    """Return the CT session of another visit: leg and joint as laid anew, drawn as those of the first."""
    rng = plan.generator(f"pose {visit}")
    joint = _extended_joint(rng)
    return _session(
        rng, plan.knee.side, joint, bones, gap_mm * float(np.clip(rng.normal(1, 0.06), 0.85, 1.15))
    )


def _extended_joint(rng: np.random.Generator) -> JointPose:
    bent = float(np.clip(abs(rng.normal(2, 1.5)), 0, 5))
    return JointPose(flexion=bent, axial=rng.normal(2, 2), varus=0.0, shift=(0.0, 0.0, 0.0))


def _session(
    rng: np.random.Generator, side: Side, joint: JointPose, bones: tuple[Table, ...], gap_mm: float
) -> Session:
    leg = np.eye(4)
    leg[:3, :3] = Rotation.from_euler("xyz", rng.normal(0, 6, 3), degrees=True).as_matrix()
    leg[:3, 3] = rng.normal(0, 15, 3)
    mirror = np.diag([1.0 if side == "R" else -1.0, 1.0, 1.0, 1.0])
    femur_from_tibia = bring_into_contact(tibia_pose(joint), bones, gap_mm)
    world = [leg @ mirror @ m for m in (np.eye(4), femur_from_tibia, femur_from_tibia, patella_pose(joint))]
    return Session(joint=joint, world_from_bone=np.stack(world))


def tibia_pose(joint: JointPose) -> Matrix:
    """Return the map (4, 4) from the tibia's frame to the femur's:
    a turn about the condyles' axis, then the shift.
    """
    turn = Rotation.from_euler("zyx", [joint.axial, joint.varus, joint.flexion], degrees=True)
    axis = np.array([0.0, AXIS_Y_MM, AXIS_Z_MM])
    pose = np.eye(4)
    pose[:3, :3] = turn.as_matrix()
    pose[:3, 3] = axis - turn.apply(axis) + np.array(joint.shift)
    return pose


def patella_pose(joint: JointPose) -> Matrix:
    """Return the map from the patella's frame to the femur's: 0.6 of the flexion, about the trochlea."""
    return tibia_pose(JointPose(flexion=0.6 * joint.flexion, axial=0.0, varus=0.0, shift=(0.0, 0.0, 0.0)))


def bring_into_contact(pose: Matrix, bones: tuple[Table, ...], gap_mm: float) -> Matrix:
    """Return `pose` with the tibia moved along z so that the bones'
    least distance at the plateaus is `gap_mm`.
    """
    surface = _plateau_points(bones[TIBIA])
    moved = pose.copy()
    for _ in range(3):
        moved[2, 3] += -float(depth_at(bones[FEMUR], transform_points(moved, surface)).max()) - gap_mm
    return moved


def _plateau_points(table: Table) -> Points:
    """Return nodes within half a step of the upper tibial surface, away from the spines."""
    near = np.argwhere(np.abs(table.values[..., 0]) < 0.5 * table.step_mm)
    points = table.origin_mm + near[:, ::-1] * table.step_mm
    level = (np.abs(points[:, 0]) > 12) & (points[:, 2] > -12)
    return np.asarray(points[level])


def depth_at(table: Table, points: Points) -> NDArray[np.float32]:
    """Return depth under the bone's surface at points (…, 3) of its frame, mm;
    the border value outside the table.
    """
    index = np.moveaxis((points - table.origin_mm) / table.step_mm, -1, 0)[::-1]
    out: NDArray[np.float32] = ndimage.map_coordinates(
        np.ascontiguousarray(table.values[..., 0]), index, order=1, mode="nearest"
    )
    return out


def depth_on(table: Table, bone_from_index: Matrix, shape: Shape) -> NDArray[np.float32]:
    """Return `depth_at` the points of a grid (z, y, x), whose indices (i, j, k, 1) `bone_from_index` (4,
    4) takes to the bone's frame.
    """
    to_node = np.eye(4)
    to_node[:3, :3] = bone_from_index[:3, :3] / table.step_mm
    to_node[:3, 3] = (bone_from_index[:3, 3] - table.origin_mm) / table.step_mm
    depth = np.ascontiguousarray(table.values[..., 0])
    out: NDArray[np.float32] = ndimage.affine_transform(
        depth, to_node[2::-1, 2::-1], to_node[2::-1, 3], shape, np.float32, order=1, mode="nearest"
    )
    return out


def ct_to_mr(sessions: dict[Modality, Session], bone: int) -> Matrix:
    """Return the true transform of a bone: CT LPS mm to MR LPS mm."""
    return np.asarray(
        sessions["mr"].world_from_bone[bone] @ np.linalg.inv(sessions["ct"].world_from_bone[bone]), np.float64
    )
