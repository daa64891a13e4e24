"""Where to look: candidate cube centres under the weight-bearing part of the joint surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.errors import InputError
from srrd_ray.geometry import Geometry
from srrd_ray.records import BONE_LABELS, BONES, COMPARTMENTS, Bone, Compartment, Side
from srrd_ray.volume import Volume

Heights: TypeAlias = NDArray[np.float64]

_COLUMN_MM = 1.0
_STEP_MM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchConfig:
    """How subchondral cubes are placed.

    Parameters
    ----------
    per_region
        Cubes kept in each region (bone x compartment), nearest to its weight-bearing centre first.
    pitch_mm
        Distance between candidate centres along ML and AP, mm.
    radius_mm
        Candidates lie within this ML and AP distance of the weight-bearing centre, mm.
    depth_mm
        Depth of the first layer of centres under the joint surface, mm.
    layers
        Layers of centres, `pitch_mm` apart, going away from the joint.
    min_bone_fraction
        Least part of a CT cube that must be bone, 0-1.
    knees_per_shard
        Knees whose cubes share a shard.
    """

    per_region: int = 4
    pitch_mm: float = 6.0
    radius_mm: float = 4.0
    depth_mm: float = 7.5
    layers: int = 1
    min_bone_fraction: float = 0.85
    knees_per_shard: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SubchondralPoint:
    """A candidate centre: CT LPS mm, and its depth (mm) under the joint-facing surface."""

    bone: Bone
    compartment: Compartment
    center_lps_mm: tuple[float, float, float]
    depth_mm: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JointSurface:
    """The joint-facing surface of one bone: height (LPS z, mm; NaN where there is no bone) of each 1 mm column (y, x)."""

    bone: Bone
    z_mm: Heights
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]

    @property
    def into_bone(self) -> float:
        """Sign of LPS z going from the joint into the bone: up in the femur, down in the tibia."""
        return 1.0 if self.bone == "femur" else -1.0

    @property
    def depth_below_peak_mm(self) -> Heights:
        """How far (mm) each column's surface lies from the point that reaches farthest towards the joint."""
        depth: Heights = self.into_bone * self.z_mm
        return depth - np.nanmin(depth)


def joint_surface(bones: Volume[np.uint8], bone: Bone) -> JointSurface:
    """Return the surface of `bone` that faces the joint: the lowest bone of each femur column, the highest of the tibia.

    Raises
    ------
    InputError
        `bone-missing` where the label volume does not hold the bone.
    """
    mask = bones.array == BONE_LABELS[bone]
    if not mask.any():
        raise InputError("bone-missing", "the label volume holds no such bone", where=bone)
    grid = _column_grid(Volume(array=mask, geometry=bones.geometry))
    solid = Volume(array=mask, geometry=bones.geometry).onto(grid, order=1).array >= 0.5
    top = grid.shape[0] - 1 - np.argmax(solid[::-1], axis=0)
    first = top if bone == "tibia" else np.argmax(solid, axis=0)
    z = grid.affine[2, 3] + first * _STEP_MM
    x0, y0 = grid.affine[0, 3], grid.affine[1, 3]
    x, y = x0 + np.arange(grid.shape[2]) * _COLUMN_MM, y0 + np.arange(grid.shape[1]) * _COLUMN_MM
    return JointSurface(bone=bone, z_mm=np.where(solid.any(axis=0), z, np.nan), x_mm=x, y_mm=y)


def subchondral_points(bones: Volume[np.uint8], side: Side, config: PatchConfig) -> tuple[SubchondralPoint, ...]:
    """Return the candidate centres of every region, within a region nearest to the weight-bearing centre first.

    Raises
    ------
    InputError
        `bone-missing` where femur or tibia is absent.
    """
    points: list[SubchondralPoint] = []
    for bone in BONES:
        surface = joint_surface(bones, bone)
        for compartment in COMPARTMENTS:
            centre = weight_bearing_centre(surface, compartment, side)
            points += _under(surface, compartment, centre, config)
    return tuple(points)


def weight_bearing_centre(surface: JointSurface, compartment: Compartment, side: Side) -> tuple[float, float]:
    """Return LPS (x, y), mm, of the middle of the compartment's load-bearing surface.

    ML: a quarter of the joint's width to either side of its middle. AP: the middle of the plateau in the tibia; the most
    distal part of the condyle in the femur. Medial is +x in a right knee and -x in a left one.
    """
    near = surface.depth_below_peak_mm <= (8.0 if surface.bone == "tibia" else 12.0)
    columns = surface.x_mm[near.any(axis=0)]
    towards = 1.0 if (compartment == "medial") == (side == "R") else -1.0
    x = float((columns[0] + columns[-1]) / 2 + towards * (columns[-1] - columns[0]) / 4)
    band = np.abs(surface.x_mm - x) <= 4.0
    depth = np.where(near, surface.depth_below_peak_mm, np.nan)[:, band]
    reach = np.inf if surface.bone == "tibia" else float(np.nanmin(depth)) + 1.5
    rows = np.nonzero(depth <= reach)[0]
    return x, float(surface.y_mm[[rows.min(), rows.max()]].mean())


def _column_grid(mask: Volume[np.bool_]) -> Geometry:
    """Return an LPS-aligned grid of 1 mm columns over the bone."""
    spans = [np.flatnonzero(mask.array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    start, shape = [int(s[0]) for s in spans], [int(s[-1] - s[0]) + 1 for s in spans]
    corners = mask.geometry.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2])).corners_lps()
    low, extent = corners.min(axis=0) - 2.0, np.ptp(corners, axis=0) + 4.0
    nx, ny, nz = (int(n) for n in np.ceil(extent / (_COLUMN_MM, _COLUMN_MM, _STEP_MM)) + 1)
    return Geometry.aligned((nz, ny, nx), (_STEP_MM, _COLUMN_MM, _COLUMN_MM), low)


def _under(
    surface: JointSurface, compartment: Compartment, centre: tuple[float, float], config: PatchConfig
) -> list[SubchondralPoint]:
    """Return the candidates of one region: a lattice round `centre`, each at its depth under its own column's surface."""
    offsets = _offsets(config)
    depths = [config.depth_mm + layer * config.pitch_mm for layer in range(config.layers)]
    points = []
    for depth in depths:
        for dx, dy in offsets:
            x, y = centre[0] + dx, centre[1] + dy
            z = _height(surface, x, y) + surface.into_bone * depth
            if np.isfinite(z):
                center = (float(x), float(y), float(z))
                points.append(
                    SubchondralPoint(bone=surface.bone, compartment=compartment, center_lps_mm=center, depth_mm=depth)
                )
    return points


def _offsets(config: PatchConfig) -> list[tuple[float, float]]:
    """Return the lattice (dx, dy), mm, within the radius, nearest first; ties in order of dx, dy."""
    reach = int(config.radius_mm // config.pitch_mm) + 1
    line = (np.arange(-reach, reach) + 0.5) * config.pitch_mm
    line = line[np.abs(line) <= config.radius_mm]
    pairs = [(float(dx), float(dy)) for dx in line for dy in line]
    return sorted(pairs, key=lambda pair: (round(float(np.hypot(*pair)), 6), pair))


def _height(surface: JointSurface, x: float, y: float) -> float:
    """Return the surface height (mm) of the column at (x, y); NaN beside the bone."""
    ix, iy = round((x - surface.x_mm[0]) / _COLUMN_MM), round((y - surface.y_mm[0]) / _COLUMN_MM)
    inside = 0 <= ix < surface.x_mm.size and 0 <= iy < surface.y_mm.size
    return float(surface.z_mm[iy, ix]) if inside else float("nan")
