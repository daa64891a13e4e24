"""From a patient to a `compose.Scene`: shapes, bone volume fraction, lesions and texture on tables in each
bone's frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.simulation.anatomy import Anatomy, Field, Shape, sigmoid
from srrd_ray.simulation.bones import FEMUR, FIBULA, PATELLA, TIBIA, Bone, build_bones
from srrd_ray.simulation.compose import CHANNELS, SOFT_CHANNELS, Scene, Table
from srrd_ray.simulation.meshes import Mesh, Points, Surface, at_nodes, distance_to, signed_depth
from srrd_ray.simulation.microstructure import (
    Microstructure,
    texture_maps,
    texture_warp,
    volume_fraction,
    window_size,
)
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.randomfield import smooth_noise
from srrd_ray.simulation.soft_tissue import mean_coordinates, menisci, soft_tissue
from srrd_ray.simulation.trabeculae import random_tile

NODE_MM, SOFT_NODE_MM = 0.8, 1.0
WARP_MM = 0.35
AROUND_MM, OUTSIDE_MM = 11.0, 12.0
"""Farther outside of a bone the depth is not used: over `compose_kernel.FAR_MM`; and is not computed."""
DEEP_MM, DEEP_NODE_MM = 60.0, 2.4
"""Distance from the joint surface that is told apart, and the step of the nodes that it is computed on."""
MENISCI_MM = (-12.0, 16.0)
FIBULA_FRACTION, PATELLA_FRACTION = 0.13, 0.19
"""BV/TV in the middle: patellae of one clinical CT have 245-275 HU, 8 mm deep."""
LESION_EDGE = 0.22
"""How soft the border of a marrow lesion is, in radii."""
Nodes: TypeAlias = tuple[Field, Field, Field]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """The box of anatomical space that images of a profile can see, mm: lower and upper corners (x, y, z)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def nodes(self, step_mm: float = NODE_MM, around: Mesh | None = None) -> Nodes:
        """Return open x, y, z node coordinates of the box, or of its part that lies no farther than
        `AROUND_MM` from a surface.
        """
        low, high = np.array(self.low), np.array(self.high)
        if around is not None:
            low = np.maximum(low, around.vertices.min(axis=0) - AROUND_MM)
            high = np.minimum(np.maximum(high, low + step_mm), around.vertices.max(axis=0) + AROUND_MM)
            high = np.maximum(high, low + step_mm)
        x, y, z = (
            np.arange(a, b + step_mm, step_mm, dtype=np.float32) for a, b in zip(low, high, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]


def build_scene(plan: SimulatedKnee, a: Anatomy, micro: Microstructure, extent: Extent) -> Scene:
    """Return the scene of a knee; everything random in it derives from the plan."""
    rng, bones = plan.generator("scene"), build_bones(plan, a)
    tables = (
        _bone_table(rng, (a, micro, bones), extent.nodes(around=bones[FEMUR].mesh), FEMUR),
        _bone_table(rng, (a, micro, bones), extent.nodes(around=bones[TIBIA].mesh), TIBIA),
        _small_bone(rng, bones[FIBULA], extent.nodes(around=bones[FIBULA].mesh), FIBULA_FRACTION),
        _small_bone(rng, bones[PATELLA], extent.nodes(around=bones[PATELLA].mesh), PATELLA_FRACTION),
    )
    maps = np.stack([texture_maps(rng, micro, bone) for bone in (0, 1)])
    maps = np.concatenate([maps, maps[1:], maps[:1]])
    around = extent.nodes(SOFT_NODE_MM)
    return Scene(
        bones=tables,
        soft=make_table(around, soft_tissue(rng, a, bones, around), SOFT_CHANNELS),
        tile=random_tile(rng, micro.bandwidth),
        tile_from_bone=maps,
    )


def make_table(xyz: Nodes, channels: dict[str, Field], names: tuple[str, ...]) -> Table:
    """Return the channels `names` of `channels` on nodes as a table, zero where one is absent."""
    shape = np.broadcast_shapes(*(v.shape for v in xyz))
    values = np.zeros((*shape, len(names)), np.float32)
    for n, name in enumerate(names):
        values[..., n] = channels.get(name, np.float32(0))
    origin, step = _grid(xyz)
    return Table(values, origin, step)


def _grid(xyz: Nodes) -> tuple[NDArray[np.float64], float]:
    """Return the position of the first node, and the step."""
    first, second = (np.array([float(v.ravel()[n]) for v in xyz]) for n in (0, 1))
    return first, float((second - first)[0])


def _bone_table(
    rng: np.random.Generator, knee: tuple[Anatomy, Microstructure, tuple[Bone, ...]], xyz: Nodes, number: int
) -> Table:
    a, micro, bones = knee
    shape, surface = bone_shape(bones[number], xyz)
    lesion, cyst = lesions(rng, (a, micro), number, shape, xyz)
    channels = {
        **_surface_channels(bones[number], shape, surface),
        "fraction": volume_fraction(rng, micro, number, shape, xyz),
        "rod": window_size(rng, micro, number, xyz),
        "lesion": lesion,
        "cyst": cyst,
        **texture_warp(rng, micro, number, xyz),
    }
    if number == TIBIA:
        channels["meniscus"] = _meniscus_ring(bones, xyz)
    return _around(make_table(xyz, channels, CHANNELS))


def bone_shape(bone: Bone, xyz: Nodes) -> tuple[Shape, Surface]:
    """Return depth, side and depth under the joint surface of a bone at nodes, and the nearest surface."""
    (origin, step), shape = _grid(xyz), tuple(np.broadcast_shapes(*(v.shape for v in xyz)))
    size = (shape[0], shape[1], shape[2])
    surface = signed_depth(bone.mesh, origin, step, size, OUTSIDE_MM)
    joint = bone.mesh.vertices[bone.articular > 0.5]
    under = _depth_under(joint, xyz)
    return (
        Shape(
            depth=surface.depth,
            articular=at_nodes(surface, bone.mesh, bone.articular),
            under_joint=np.where(surface.depth > 0, under, surface.depth),
        ),
        surface,
    )


def _depth_under(joint: Points, xyz: Nodes) -> NDArray[np.float32]:
    """Return the distance of nodes from points of the joint surface, linear between coarser nodes."""
    (origin, step), shape = _grid(xyz), np.broadcast_shapes(*(v.shape for v in xyz))
    count = [int(np.ceil((n - 1) * step / DEEP_NODE_MM)) + 1 for n in shape]
    coarse = distance_to(joint, origin, DEEP_NODE_MM, (count[0], count[1], count[2]), DEEP_MM)
    out: NDArray[np.float32] = ndimage.affine_transform(
        coarse,
        np.full(3, step / DEEP_NODE_MM),
        output_shape=shape,
        output=np.float32,
        order=1,
        mode="nearest",
    )
    return out


def _surface_channels(bone: Bone, shape: Shape, surface: Surface) -> dict[str, Field]:
    return {
        "depth": shape.depth,
        "cartilage": at_nodes(surface, bone.mesh, bone.cartilage),
        "compact": at_nodes(surface, bone.mesh, bone.compact),
    }


def label_table(bones: tuple[Bone, ...], number: int, xyz: Nodes, *, ring: bool) -> Table:
    """Return a bone's table of shapes alone: depth, cartilage, compact bone, and the menisci where `ring`."""
    (origin, step), size = _grid(xyz), np.broadcast_shapes(*(v.shape for v in xyz))
    bone = bones[number]
    surface = signed_depth(bone.mesh, origin, step, (size[0], size[1], size[2]), OUTSIDE_MM)
    channels: dict[str, Field] = {
        "depth": surface.depth,
        "cartilage": at_nodes(surface, bone.mesh, bone.cartilage),
        "compact": at_nodes(surface, bone.mesh, bone.compact),
        "cyst": np.full_like(surface.depth, -9.0),
    }
    if ring:
        channels["meniscus"] = _meniscus_ring(bones, xyz)
    return _around(make_table(xyz, channels, CHANNELS))


def _meniscus_ring(bones: tuple[Bone, ...], xyz: Nodes) -> Field:
    """Return how far inside the ring of a meniscus nodes at the joint line lie; the ring is the mean
    knee's, where the own tibia draws it.
    """
    ring = np.full(np.broadcast_shapes(*(v.shape for v in xyz)), -9.0, np.float32)
    level = np.flatnonzero((xyz[2].ravel() > MENISCI_MM[0]) & (xyz[2].ravel() < MENISCI_MM[1]))
    if level.size:
        part = slice(int(level[0]), int(level[-1]) + 1)
        at = mean_coordinates(bones, (xyz[0], xyz[1], xyz[2][part]))
        ring[part] = menisci(at[..., 0], at[..., 1])
    return ring


def _around(bone: Table) -> Table:
    """Return a bone's table without what lies farther than `AROUND_MM` outside of the bone:
    most of a limb's box.
    """
    near = bone.values[..., 0] > -AROUND_MM
    spans = [np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not all(span.size for span in spans):
        return bone
    first = [max(int(span[0]) - 1, 0) for span in spans]
    box = tuple(slice(low, int(span[-1]) + 2) for low, span in zip(first, spans, strict=True))
    origin = bone.origin_mm + np.array(first[::-1]) * bone.step_mm
    return Table(np.ascontiguousarray(bone.values[box]), origin, bone.step_mm)


def lesions(
    rng: np.random.Generator, knee: tuple[Anatomy, Microstructure], bone: int, shape: Shape, xyz: Nodes
) -> tuple[Field, Field]:
    """Return the water fraction of marrow lesions, which fade into what is around them, and the depth
    inside cysts (very negative without one). Their heights are over the joint line; here they start from
    the bone's own surface.
    """
    x, y, z = xyz
    (a, micro), water = knee, np.zeros(shape.depth.shape, np.float32)
    cyst = np.full(shape.depth.shape, -9.0, np.float32)
    rough = 0.25 * smooth_noise(rng, xyz, 6.0)
    for body, center, radius in micro.marrow_lesions:
        if body == bone:
            cx, cy, cz = _from_surface(a, bone, shape, xyz, center)
            r = np.sqrt(
                ((x - cx) / radius) ** 2 + ((y - cy) / radius) ** 2 + ((z - cz) / (1.3 * radius)) ** 2
            )
            water = np.maximum(water, sigmoid((1 - r + rough) / LESION_EDGE))
    for body, center, radius in micro.cysts:
        if body == bone:
            cx, cy, cz = _from_surface(a, bone, shape, xyz, center)
            r = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
            cyst = np.maximum(cyst, radius * (1 + 0.7 * rough) - r)
    return water, cyst


def _from_surface(
    a: Anatomy, bone: int, shape: Shape, xyz: Nodes, center: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return a centre that lies as far under the bone's surface as `center` under a level joint surface."""
    x, y, z = (v.ravel() for v in xyz)
    i, j = int(np.abs(x - center[0]).argmin()), int(np.abs(y - center[1]).argmin())
    inside = z[shape.depth[:, j, i] > 0]
    under = abs(center[2]) - a.joint_space[0 if center[0] > 0 else 1] / 2
    if not inside.size:
        return center
    height = float(inside.min()) + under if bone == FEMUR else float(inside.max()) - under
    return center[0], center[1], height


def _small_bone(rng: np.random.Generator, bone: Bone, xyz: Nodes, fraction: float) -> Table:
    """Return the table of a fibula or patella: uneven bone, denser under its surface."""
    (origin, step), size = _grid(xyz), np.broadcast_shapes(*(v.shape for v in xyz))
    surface = signed_depth(bone.mesh, origin, step, (size[0], size[1], size[2]), OUTSIDE_MM)
    shape = Shape(depth=surface.depth, articular=surface.depth, under_joint=surface.depth)
    dense = fraction * (0.95 + 2.4 * np.exp(-np.maximum(surface.depth, 0) / 2))
    channels = {
        **_surface_channels(bone, shape, surface),
        "fraction": dense * np.exp(0.15 * smooth_noise(rng, xyz, 7.0)),
        "rod": np.full_like(surface.depth, 0.4),
        "cyst": np.full_like(surface.depth, -9.0),
    }
    for axis in "xyz":
        channels[f"warp_{axis}"] = WARP_MM * smooth_noise(rng, xyz, 9.0)
    return _around(make_table(xyz, channels, CHANNELS))
