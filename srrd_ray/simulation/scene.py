"""From a patient to a `compose.Scene`: shapes, bone volume fraction,
lesions and texture on tables in each bone's frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation import anatomy
from srrd_ray.simulation.anatomy import Anatomy, Field, Shape, sigmoid
from srrd_ray.simulation.compose import CHANNELS, SOFT_CHANNELS, Scene, Table
from srrd_ray.simulation.microstructure import TILT_SD_DEG, Microstructure, RegionTexture, volume_fraction
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.randomfield import smooth_noise
from srrd_ray.simulation.soft_tissue import soft_tissue
from srrd_ray.simulation.trabeculae import random_tile, tile_map

NODE_MM = 0.7
WARP_MM = 0.35
AROUND_MM = 7.0
"""Farther outside of a bone the depth is not used: over `compose_kernel.FAR_MM`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """The box of anatomical space that images of a profile can see, mm: lower and upper corners (x, y, z)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def nodes(self, below: float, above: float) -> tuple[Field, Field, Field]:
        """Return open x, y, z node coordinates of the part of the box between z = `below` and z = `above`."""
        low = (*self.low[:2], max(self.low[2], below))
        high = (*self.high[:2], min(self.high[2], above))
        x, y, z = (
            np.arange(a, b + NODE_MM, NODE_MM, dtype=np.float32) for a, b in zip(low, high, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]


def build_scene(plan: SimulatedKnee, a: Anatomy, micro: Microstructure, extent: Extent) -> Scene:
    """Return the scene of a knee; everything random in it derives from the plan."""
    rng = plan.generator("scene")
    tables = (
        _bone_table(rng, a, micro, extent, bone=0),
        _bone_table(rng, a, micro, extent, bone=1),
        _small_bone(rng, anatomy.fibula, a, extent, (-60.0, 0.0)),
        _small_bone(rng, anatomy.patella, a, extent, (5.0, 65.0)),
    )
    maps = np.stack([[_region_map(rng, region) for region in pair] for pair in micro.regions])
    maps = np.concatenate([maps, maps[1:], maps[:1]])
    return Scene(
        bones=tables,
        soft=_table(
            extent.nodes(-999.0, 999.0), soft_tissue(rng, a, extent.nodes(-999.0, 999.0)), SOFT_CHANNELS
        ),
        tile=random_tile(rng, micro.bandwidth),
        tile_from_bone=maps,
    )


def _region_map(rng: np.random.Generator, region: RegionTexture) -> NDArray[np.float64]:
    return tile_map(rng, region.wavelength_mm, region.stretch, TILT_SD_DEG)


def _table(xyz: tuple[Field, Field, Field], channels: dict[str, Field], names: tuple[str, ...]) -> Table:
    shape = np.broadcast_shapes(*(v.shape for v in xyz))
    values = np.zeros((*shape, len(names)), np.float32)
    for n, name in enumerate(names):
        values[..., n] = channels.get(name, np.float32(0))
    origin = np.array([v.ravel()[0] for v in xyz], np.float64)
    return Table(values, origin, NODE_MM)


def _bone_table(
    rng: np.random.Generator, a: Anatomy, micro: Microstructure, extent: Extent, bone: int
) -> Table:
    xyz = extent.nodes(*((-14.0, 999.0) if bone == 0 else (-999.0, 14.0)))
    shape = (anatomy.femur if bone == 0 else anatomy.tibia)(a, *xyz)
    shape = replace(shape, depth=to_distance(shape.depth))
    lateral = sigmoid(-xyz[0] / 2.5)
    fraction = volume_fraction(rng, micro, bone, shape, xyz)
    low, high = micro.regions[bone]
    lesion, cyst = lesions(rng, micro, bone, shape, xyz)
    channels = {
        "depth": shape.depth,
        "cartilage": _cartilage(a, bone, shape, xyz),
        "compact": _compact(a, bone, shape, xyz),
        "fraction": fraction,
        "rod": low.rod * (1 - lateral) + high.rod * lateral,
        "blend": np.float32(np.pi / 2) * np.clip(0.5 - xyz[0] / 12, 0, 1),
        "lesion": lesion,
        "cyst": cyst,
    }
    for axis in "xyz":
        channels[f"warp_{axis}"] = WARP_MM * smooth_noise(rng, xyz, 9.0)
    return _around(_table(xyz, channels, CHANNELS))


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


def to_distance(depth: Field) -> Field:
    """Return depths on nodes as distances from the surface:
    to first order, divided by the length of their gradient.
    """
    gradient: list[Field] = list(np.gradient(depth, NODE_MM))
    slope = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2)
    out: Field = (depth / np.clip(slope, 0.5, 2.0)).astype(np.float32)
    return out


def _cartilage(a: Anatomy, bone: int, shape: Shape, xyz: tuple[Field, Field, Field]) -> Field:
    """Cartilage on the joint surface, thickest in the middle of a compartment, none on spines and notch."""
    x, y, _ = xyz
    thick = a.femoral_cartilage if bone == 0 else a.tibial_cartilage
    out = np.zeros(shape.depth.shape, np.float32)
    for side in (0, 1):
        half_x, half_y = (15.5, 60.0) if bone == 0 else (14.0, 19.0)
        r2 = ((x - a.centers_x[side]) / half_x) ** 2 + (y / half_y) ** 2
        out += thick[side] * np.exp(-(r2**2)) * shape.articular
    if bone == 0:
        out += 1.9 * np.exp(-((x / 12) ** 4)) * sigmoid((-y - 12) / 1.5) * shape.articular
    return np.minimum(out, 2.8)


def _compact(a: Anatomy, bone: int, shape: Shape, xyz: tuple[Field, Field, Field]) -> Field:
    """Thickness of compact bone: the subchondral plate under cartilage, the cortex elsewhere,
    thicker away from the joint.
    """
    x, y, z = xyz
    plate = a.femoral_plate if bone == 0 else a.tibial_plate
    lateral = sigmoid(-x / 4)
    center = np.exp(-(((np.abs(x) - a.centers_x[0]) / 16) ** 2) - (y / 20) ** 2)
    joint = (plate[0] * (1 - lateral) + plate[1] * lateral) * (0.6 + 0.5 * center)
    side = 0.35 + 0.035 * np.maximum(np.abs(z) - 14, 0)
    out: Field = (joint * shape.articular + np.minimum(side, 4.5) * (1 - shape.articular)).astype(np.float32)
    return out


def lesions(
    rng: np.random.Generator, micro: Microstructure, bone: int, shape: Shape, xyz: tuple[Field, Field, Field]
) -> tuple[Field, Field]:
    """Return the water fraction of marrow lesions and the depth inside cysts (very negative without one)."""
    x, y, z = xyz
    water = np.zeros(shape.depth.shape, np.float32)
    cyst = np.full(shape.depth.shape, -9.0, np.float32)
    rough = 0.25 * smooth_noise(rng, xyz, 6.0)
    for body, center, radius in micro.marrow_lesions:
        if body == bone:
            r = np.sqrt(sum(((v - c) / radius) ** 2 for v, c in zip((x, y, z), center, strict=True)))
            water = np.maximum(water, sigmoid((1 - r + rough) / 0.12))
    for body, center, radius in micro.cysts:
        if body == bone:
            r = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
            cyst = np.maximum(cyst, radius * (1 + 0.5 * rough) - r)
    return water, cyst


def _small_bone(
    rng: np.random.Generator,
    of: Callable[[Anatomy, Field, Field, Field], Field],
    a: Anatomy,
    extent: Extent,
    reach: tuple[float, float],
) -> Table:
    xyz = extent.nodes(*reach)
    depth = to_distance(of(a, *xyz))
    everywhere = {"compact": 0.7, "fraction": 0.22, "rod": 0.4, "cyst": -9.0}
    channels = {name: np.full_like(depth, value) for name, value in everywhere.items()}
    if of is anatomy.patella:
        channels["cartilage"] = (
            2.2 * sigmoid((xyz[1] - anatomy.patella_front(a) - 2) / 1.5) * np.ones_like(depth)
        )
    channels |= {"depth": depth, "warp_x": WARP_MM * smooth_noise(rng, xyz, 9.0)}
    return _around(_table(xyz, channels, CHANNELS))
