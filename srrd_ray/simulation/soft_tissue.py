"""Soft tissue as depths inside each, mm: ligaments and tendons, muscles, vessels, fascia, the limb's outline.

Cross-sections of 32 muscles, ligaments, tendons, nerves and vessels every 4 mm, and the deep tissues' hull,
were measured on a whole-knee atlas laid on the mean bones (`data/README.md`). Each knee has them where its
own bones draw them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srrd_ray.simulation.anatomy import Anatomy, Field
from srrd_ray.simulation.bones import Bone
from srrd_ray.simulation.meshes import Points
from srrd_ray.simulation.randomfield import smooth_noise
from srrd_ray.simulation.section_kernel import add_section, spread_shift
from srrd_ray.simulation.shape_model import read_data, templates

Kind = Literal["ligament", "muscle", "vessel"]
SECTION_STEP_MM = 0.05
OUTSIDE_MM, MARGIN_MM = -9.0, 4.0
"""The depth far from every structure, and how far round a structure its own depth is computed."""
WARP_STEP_MM, WARP_REACH_MM = 10.0, 9.0
"""Step of the grid on which soft tissue is drawn by the bones, and how far from a point of bone it follows
it."""
GRAIN_MM, STREAK_MM = 6.0, 3.0
FAT_PROFILE = (0.45, 1.0, 0.9, 0.7)
"""Fat over the fascia in front, medially, behind and laterally, against the person's."""


class Sections(NamedTuple):
    """A structure's cross-sections: centres (levels, 2) x, y and radii (levels, angles) mm; kind of
    tissue.
    """

    kind: Kind
    centers: NDArray[np.float32]
    radii: NDArray[np.float32]


class Layout(NamedTuple):
    """The layout of the mean knee: heights of the levels mm, sections by name, and the hull of the deep
    tissues: its middle (2,) and radii (levels, angles).
    """

    levels: NDArray[np.float32]
    sections: dict[str, Sections]
    hull_center: NDArray[np.float32]
    hull: NDArray[np.float32]


@lru_cache(maxsize=1)
def layout() -> Layout:
    """Return the layout of the mean knee."""
    data = read_data("knee_tissues.npz")
    sections = {}
    for name, values in zip(data["names"].astype(str), data["sections_mm"], strict=True):
        mm = values.astype(np.float32) * np.float32(SECTION_STEP_MM)
        sections[str(name)] = Sections(
            _kind(str(name)), np.ascontiguousarray(mm[:, :2]), np.ascontiguousarray(mm[:, 2:])
        )
    return Layout(
        data["levels_mm"].astype(np.float32),
        sections,
        data["hull_center_mm"].astype(np.float32),
        data["hull_mm"].astype(np.float32) * np.float32(SECTION_STEP_MM),
    )


def _kind(name: str) -> Kind:
    if any(word in name for word in ("artery", "vein")):
        return "vessel"
    if any(word in name for word in ("cruciate", "collateral", "tendon", "tract")):
        return "ligament"
    return "muscle"


def soft_tissue(
    rng: np.random.Generator, a: Anatomy, bones: tuple[Bone, ...], xyz: tuple[Field, Field, Field]
) -> dict[str, Field]:
    """Return the channels of `compose.SOFT_CHANNELS` on open node coordinates."""
    at = mean_coordinates(bones, xyz)
    rough = (0.7 * smooth_noise(rng, xyz, 6.0)).astype(np.float32)
    channels = {
        kind: np.full(at.shape[:3], OUTSIDE_MM, np.float32) for kind in ("ligament", "muscle", "vessel")
    }
    plan = layout()
    for section in plan.sections.values():
        scale = np.float32(a.brawn if section.kind == "muscle" else 1.0)
        add_section(at, plan.levels, section.centers, section.radii * scale, channels[section.kind])
    fascia, limb = _outline(a, at)
    channels["muscle"] += rough
    np.minimum(channels["muscle"], fascia - 0.5, out=channels["muscle"])
    streak = smooth_noise(rng, (xyz[0], xyz[1], xyz[2] / np.float32(6)), STREAK_MM)
    return {
        **channels,
        "fascia": fascia,
        "limb": limb + 0.25 * rough,
        "grain": smooth_noise(rng, xyz, GRAIN_MM),
        "streak": streak,
    }


def mean_coordinates(bones: tuple[Bone, ...], xyz: tuple[Field, Field, Field]) -> NDArray[np.float32]:
    """Return where in the mean knee every node (z, y, x) lies, (…, 3) mm: each point of bone takes what is
    around it along (inverse distances, Shepard 1968), on a coarse grid, linear between its nodes.
    """
    here = np.concatenate([bone.model[::7] for bone in bones])
    there = np.concatenate([template.mean[::7] for template in templates()])
    axes = [np.arange(v.min() - 1, v.max() + WARP_STEP_MM + 1, WARP_STEP_MM, dtype=np.float64) for v in xyz]
    coarse = np.stack(np.meshgrid(*axes[::-1], indexing="ij")[::-1], axis=-1)
    shift = _shepard(coarse.reshape(-1, 3), here, there - here).reshape(coarse.shape)
    out = np.empty((*np.broadcast_shapes(*(v.shape for v in xyz)), 3), np.float32)
    first = np.array([axis[0] for axis in axes], np.float32)
    x, y, z = (v.ravel() for v in xyz)
    spread_shift(shift.astype(np.float32), first, np.float32(WARP_STEP_MM), x, y, z, out)
    return out


def _shepard(points: Points, here: Points, shift: Points) -> Points:
    total = np.zeros_like(points)
    for start in range(0, len(points), 2000):
        part = points[start : start + 2000]
        square = ((part[:, None] - here) ** 2).sum(axis=-1)
        weight = 1 / (square + WARP_REACH_MM**2) ** 2
        total[start : start + 2000] = np.einsum("nm,mc->nc", weight, shift) / weight.sum(
            axis=1, keepdims=True
        )
    return total


def _outline(a: Anatomy, at: NDArray[np.float32]) -> tuple[Field, Field]:
    """Return the depth under the deep fascia and under the skin."""
    plan = layout()
    angle = np.arange(-np.pi, np.pi, 2 * np.pi / plan.hull.shape[1])
    front, medial = np.clip(-np.sin(angle), 0, 1), np.clip(np.cos(angle), 0, 1)
    behind, lateral = np.clip(np.sin(angle), 0, 1), np.clip(-np.cos(angle), 0, 1)
    weights = np.stack([front, medial, behind, lateral]) ** 2
    fat = a.fat * (np.array(FAT_PROFILE) @ weights) / weights.sum(axis=0)
    centers = np.repeat(plan.hull_center[None], len(plan.levels), axis=0)
    swell = 1 + 0.5 * (np.float32(a.brawn) - 1)
    deep, whole = (np.full(at.shape[:3], -999.0, np.float32) for _ in range(2))
    hull = plan.hull * swell + np.float32(1.5)
    add_section(at, plan.levels, centers, hull, deep)
    add_section(at, plan.levels, centers, (hull + fat).astype(np.float32), whole)
    return deep, whole


def menisci(x: Field, y: Field) -> Field:
    """Return how far inside the ring of a meniscus (x, y) of the mean knee lies, mm (negative outside)."""
    data = read_data("knee_tissues.npz")
    out = np.full(np.broadcast_shapes(x.shape, y.shape), -9.0, np.float32)
    for name in ("medial", "lateral"):
        values = data[f"{name}_meniscus_mm"].astype(np.float32)
        inner, outer = values[2:].reshape(2, -1)
        middle = (inner + outer)[outer > 0].mean() / 2
        inner, outer = np.where(outer > 0, (inner, outer), [[middle + 2], [middle - 2]]).astype(np.float32)
        u, v = x - values[0], y - values[1]
        turn = (np.arctan2(v, u) + np.pi) / (2 * np.pi) * len(inner) - 0.5
        low = np.floor(turn).astype(np.intp) % len(inner)
        part, high = (turn - np.floor(turn)).astype(np.float32), (low + 1) % len(inner)
        r_in = inner[low] + part * (inner[high] - inner[low])
        r_out = outer[low] + part * (outer[high] - outer[low])
        r = np.hypot(u, v)
        out = np.maximum(out, np.minimum(r - r_in, r_out + 0.5 - r))
    return np.asarray(out, np.float32)
