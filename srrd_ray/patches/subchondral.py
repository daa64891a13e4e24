"""Where to look: candidate cube centres under the weight-bearing part of the joint surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONE_OF, BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import COMPARTMENTS, Compartment, Side
from srrd_ray.core.settings import Count, NonNegative, Positive, Share, validate_fields
from srrd_ray.core.volume import Volume

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
    apart_mm
        Cubes of a region that are kept have centres at least so far apart, mm.
    depth_mm
        Depth of the first layer of centres under the joint surface, mm.
    layers
        Layers of centres, `pitch_mm` apart, going away from the joint.
    min_bone_fraction
        Least part of a CT cube that must be bone, 0-1.
    knees_per_shard
        Knees whose cubes share a shard.
    """

    per_region: Count = 6
    pitch_mm: Positive = 3.0
    radius_mm: NonNegative = 7.5
    apart_mm: NonNegative = 5.0
    depth_mm: NonNegative = 7.5
    layers: Count = 1
    min_bone_fraction: Share = 0.85
    knees_per_shard: Count = 3

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubchondralPoint:
    """A candidate centre: CT LPS mm, and its depth (mm) under the joint-facing surface."""

    bone: BoneName
    compartment: Compartment
    center_lps_mm: tuple[float, float, float]
    depth_mm: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JointSurface:
    """The joint-facing surface of one bone: height (LPS z, mm;
    NaN where there is no bone) of each 1 mm column (y, x).
    """

    bone: BoneName
    z_mm: Heights
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]

    @property
    def into_bone(self) -> float:
        """Sign of LPS z going from the joint into the bone: up in the femur, down in the tibia."""
        return -BONE_OF[self.bone].joint_lps[2]

    def height_at(self, x: float, y: float) -> float:
        """Return the surface height (mm) of the column at (x, y); NaN outside the bone."""
        ix, iy = round((x - self.x_mm[0]) / _COLUMN_MM), round((y - self.y_mm[0]) / _COLUMN_MM)
        inside = 0 <= ix < self.x_mm.size and 0 <= iy < self.y_mm.size
        return float(self.z_mm[iy, ix]) if inside else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plateau:
    """The plane z = a + b·x + c·y through the tibial plateau, and the columns (y, x) that belong to it."""

    plane: tuple[float, float, float]
    columns: NDArray[np.bool_]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector from the tibia towards the femur (x, y, z)."""
        _, b, c = self.plane
        upward = np.array([-b, -c, 1.0])
        unit: NDArray[np.float64] = upward / np.linalg.norm(upward)
        return unit


def joint_surface(bones: Volume[np.uint8], bone: BoneName) -> JointSurface:
    """Return the surface of `bone` that faces the joint.

    It is the lowest bone of each column of the femur, the highest of the tibia.

    Raises
    ------
    InputError
        `bone-missing` where the label volume does not hold the bone.
    """
    mask = bones.array == BONE_LABELS[bone]
    if not mask.any():
        raise InputError("bone-missing", "the label volume holds no such bone", where=bone)
    grid = _column_grid(Volume(array=mask, geometry=bones.geometry))
    solid = Volume(array=mask, geometry=bones.geometry).resample_onto(grid, order=1).array >= 0.5
    top = grid.shape[0] - 1 - np.argmax(solid[::-1], axis=0)
    first = top if BONE_OF[bone].joint_lps[2] > 0 else np.argmax(solid, axis=0)
    z = grid.affine[2, 3] + first * _STEP_MM
    x0, y0 = grid.affine[0, 3], grid.affine[1, 3]
    x, y = x0 + np.arange(grid.shape[2]) * _COLUMN_MM, y0 + np.arange(grid.shape[1]) * _COLUMN_MM
    return JointSurface(bone=bone, z_mm=np.where(solid.any(axis=0), z, np.nan), x_mm=x, y_mm=y)


def subchondral_points(
    bones: Volume[np.uint8], side: Side, config: PatchConfig
) -> tuple[SubchondralPoint, ...]:
    """Return the candidate centres of every region, within a region
    nearest to the weight-bearing centre first.

    Raises
    ------
    InputError
        `bone-missing` where femur or tibia is absent.
    """
    femur, tibia = (joint_surface(bones, bone) for bone in BONES)
    plateau = tibial_plateau(tibia)
    points: list[SubchondralPoint] = []
    for surface in (femur, tibia):
        for compartment in COMPARTMENTS:
            centre = weight_bearing_centre(tibia, plateau, compartment, side)
            if surface.bone == "femur":
                centre = facing_point(surface, centre, plateau.normal)
            points += _candidates_under(surface, compartment, (centre, plateau.normal), config)
    return tuple(points)


def tibial_plateau(tibia: JointSurface) -> Plateau:
    """Return the plateau: a plane fitted to the top of the tibia, without what lies more than 6 mm below it.

    Its slope makes everything else independent of how the leg lay in the scanner.
    """
    x, y = np.meshgrid(tibia.x_mm, tibia.y_mm)
    design = np.stack([np.ones_like(x), x, y], axis=-1)
    columns = np.isfinite(tibia.z_mm) & (tibia.z_mm > np.nanmedian(tibia.z_mm) - 20.0)
    for _ in range(4):
        plane = np.linalg.lstsq(design[columns], tibia.z_mm[columns], rcond=None)[0]
        columns = np.nan_to_num(tibia.z_mm - design @ plane, nan=-np.inf) > -6.0
    a, b, c = (float(v) for v in plane)
    return Plateau(plane=(a, b, c), columns=columns)


def weight_bearing_centre(
    tibia: JointSurface, plateau: Plateau, compartment: Compartment, side: Side
) -> tuple[float, float, float]:
    """Return the LPS point (mm) on the tibial surface in the middle of a compartment's load-bearing area.

    ML: 0.28 of the plateau's width to either side of its middle (half the plateau without the spines,
    halved). AP: the middle of the plateau there. Medial is +x in a right knee and -x in a left one.
    """
    across = tibia.x_mm[plateau.columns.any(axis=0)]
    towards = 1.0 if (compartment == "medial") == (side == "R") else -1.0
    x = float((across[0] + across[-1]) / 2 + towards * 0.28 * (across[-1] - across[0]))
    band = np.abs(tibia.x_mm - x) <= 4.0
    rows = np.flatnonzero(plateau.columns[:, band].any(axis=1))
    y = float(tibia.y_mm[[rows[0], rows[-1]]].mean())
    near = band[None, :] & (np.abs(tibia.y_mm - y) <= 4.0)[:, None] & plateau.columns
    return x, y, float(np.median(tibia.z_mm[near]))


def facing_point(
    femur: JointSurface, point: tuple[float, float, float], normal: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return the point on the femur that `point` of the tibia faces along `normal`, within 30 mm;
    else `point` itself.
    """
    for step in np.arange(0.0, 30.0, 0.5):
        x, y, z = (float(v) for v in np.asarray(point) + step * normal)
        height = femur.height_at(x, y)
        if np.isfinite(height) and z >= height:
            return x, y, height
    return point


def _column_grid(mask: Volume[np.bool_]) -> Geometry:
    """Return an LPS-aligned grid of 1 mm columns over the bone."""
    spans = [np.flatnonzero(mask.array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    start, shape = [int(s[0]) for s in spans], [int(s[-1] - s[0]) + 1 for s in spans]
    corners = mask.geometry.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2])).corners_lps()
    low, extent = corners.min(axis=0) - 2.0, np.ptp(corners, axis=0) + 4.0
    nx, ny, nz = (int(n) for n in np.ceil(extent / (_COLUMN_MM, _COLUMN_MM, _STEP_MM)) + 1)
    return Geometry.axis_aligned((nz, ny, nx), (_STEP_MM, _COLUMN_MM, _COLUMN_MM), low)


def _candidates_under(
    surface: JointSurface,
    compartment: Compartment,
    frame: tuple[tuple[float, float, float], NDArray[np.float64]],
    config: PatchConfig,
) -> list[SubchondralPoint]:
    """Return the candidates of one region: a lattice round the centre,
    each at its depth under its own column's surface.
    """
    centre, normal = frame
    points = []
    for depth in (config.depth_mm + layer * config.pitch_mm for layer in range(config.layers)):
        for dx, dy in _offsets(config):
            x, y = centre[0] + dx, centre[1] + dy
            inside = np.array([x, y, surface.height_at(x, y)]) + surface.into_bone * depth * normal
            if np.isfinite(inside).all():
                at = (float(inside[0]), float(inside[1]), float(inside[2]))
                points.append(
                    SubchondralPoint(
                        bone=surface.bone, compartment=compartment, center_lps_mm=at, depth_mm=depth
                    )
                )
    return points


def _offsets(config: PatchConfig) -> list[tuple[float, float]]:
    """Return the lattice (dx, dy), mm, within the radius, nearest first; ties in order of dx, dy."""
    reach = int(config.radius_mm // config.pitch_mm) + 1
    line = (np.arange(-reach, reach) + 0.5) * config.pitch_mm
    line = line[np.abs(line) <= config.radius_mm]
    pairs = [(float(dx), float(dy)) for dx in line for dy in line]
    return sorted(pairs, key=lambda pair: (round(float(np.hypot(*pair)), 6), pair))
