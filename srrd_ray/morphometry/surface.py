"""The bone surface as triangles: its area, the change of area when it moves outwards, and its directions.

Marching cubes in slabs of planes with a margin, so that memory does not grow with the volume.
The faces of the image border are no surface. Lengths are mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from srrd_ray.morphometry.compiled import compiled

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]
Spacing = tuple[float, float, float]

SLAB = 48
MARGIN = 6
FACETS = 48
SMOOTHING = 1.0
"""Voxels of the Gaussian before the mesh whose normals are used (SMI, Tb.Pf, DA);
the area itself is of the raw mask.
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Triangles:
    """Triangles of a surface: areas mm² (n,), unit normals (n, 3) as (z, y, x),
    and d(area)/d(offset along normals) mm (n,).
    """

    area: Real
    normal: Real
    growth: Real


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """Area of the bone surface in a region:
    of the raw mask (`bs_mm2`), and of the smoothed one with its growth.

    `orientation` is Σ area · |n·d| over the directions of `anisotropy.DIRECTIONS`.
    """

    bs_mm2: float
    smooth_mm2: float
    smooth_bv_mm3: float
    growth_mm: float
    orientation: tuple[float, ...]

    @property
    def smi(self) -> float | None:
        """Structure model index 6·BV·S'/S² (Hildebrand & Rüegsegger 1997b): plate 0, rod 3, sphere 4;
        null without surface.
        """
        return 6.0 * self.smooth_bv_mm3 * self.growth_mm / self.smooth_mm2**2 if self.smooth_mm2 else None

    @property
    def tb_pf_per_mm(self) -> float | None:
        """Trabecular pattern factor dBS/dBV = S'/S, 1/mm (Hahn et al., Bone 13:327, 1992, in 3D);
        null without surface.
        """
        return self.growth_mm / self.smooth_mm2 if self.smooth_mm2 else None


def surface(bone: Mask, roi: Mask, spacing_mm: Spacing, directions: Real) -> Surface:
    """Return the surface of `bone` within `roi`; triangles belong to the voxel that holds their centre."""
    raw = smooth = growth = 0.0
    facets = np.zeros((0, 3))
    for part in iterate_slabs(bone, roi, spacing_mm, 0.0):
        raw += float(part.area.sum())
    for part in iterate_slabs(bone, roi, spacing_mm, SMOOTHING):
        smooth += float(part.area.sum())
        growth += float(part.growth.sum())
        facets = merge_directions(np.concatenate([facets, part.area[:, None] * part.normal]))
    volume = float(np.count_nonzero(bone & roi)) * float(np.prod(spacing_mm))
    return Surface(
        bs_mm2=raw,
        smooth_mm2=smooth,
        smooth_bv_mm3=volume,
        growth_mm=growth,
        orientation=tuple(float(v) for v in sum_facing(facets, directions)),
    )


def sum_facing(vectors: Real, directions: Real) -> Real:
    """Return Σ |v·d| over area vectors (n, 3) for each direction d."""
    out = np.zeros(len(directions))
    _add_facing(np.ascontiguousarray(vectors), np.ascontiguousarray(directions.T), out)
    return out


@compiled
def _add_facing(vectors: Real, directions: Real, out: Real) -> None:
    for n in range(vectors.shape[0]):
        a, b, c = vectors[n, 0], vectors[n, 1], vectors[n, 2]
        for d in range(out.shape[0]):
            out[d] += abs(a * directions[0, d] + b * directions[1, d] + c * directions[2, d])


def merge_directions(vectors: Real) -> Real:
    """Return area vectors (n, 3) summed where their directions, or the opposite ones, agree to 1/`FACETS`.

    Within a facet the sum keeps every |v·d|; only directions at right angles to it lose some 10⁻⁴.
    """
    half = vectors * np.where(vectors @ (1.0, 1e-3, 1e-6) < 0, -1.0, 1.0)[:, None]
    unit = half / np.maximum(np.linalg.norm(half, axis=1), 1e-30)[:, None]
    cells = (np.rint(unit * FACETS).astype(np.int64) + FACETS) @ (16 * FACETS**2, 4 * FACETS, 1)
    facets, facet = np.unique(cells, return_inverse=True)
    return np.stack([np.bincount(facet, half[:, axis], minlength=len(facets)) for axis in range(3)], axis=1)


def iterate_slabs(bone: Mask, roi: Mask, spacing_mm: Spacing, smoothing: float) -> Iterator[Triangles]:
    """Yield the triangles whose centres lie in `roi`, slab by slab along z;
    `smoothing` in voxels of the finest axis.
    """
    depth = bone.shape[0]
    for first in range(0, depth, SLAB):
        last = min(first + SLAB, depth)
        low, high = max(first - MARGIN, 0), min(last + MARGIN, depth)
        block = _triangles(bone[low:high], spacing_mm, smoothing)
        if block is None:
            continue
        triangles, centres = block
        at = np.round(
            centres / np.asarray(spacing_mm), 3
        )  # a centre just between two voxels belongs to one in every slab
        voxel = np.minimum(np.floor(at + 0.5).astype(np.int64), np.array(bone.shape) - 1)
        z = voxel[:, 0] + low
        kept = (z >= first) & (z < last) & roi[np.minimum(z, depth - 1), voxel[:, 1], voxel[:, 2]]
        yield Triangles(
            area=triangles.area[kept], normal=triangles.normal[kept], growth=triangles.growth[kept]
        )


def _triangles(bone: Mask, spacing_mm: Spacing, smoothing: float) -> tuple[Triangles, Real] | None:
    """Return all triangles of a block and their centres (mm from the centre of its first voxel);
    null without surface.
    """
    field = bone.astype(np.float32)
    if smoothing > 0:
        sigma = [smoothing * min(spacing_mm) / s for s in spacing_mm]
        field = ndimage.gaussian_filter(field, sigma, mode="nearest")
    if min(bone.shape) < 2 or not field.min() < 0.5 < field.max():
        return None
    vertices, faces, _, _ = marching_cubes(field, 0.5, spacing=spacing_mm, allow_degenerate=True)
    corners: Real = vertices.astype(np.float64)[faces]
    # outwards, away from bone
    doubled = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0])
    length = np.linalg.norm(doubled, axis=1)
    normal = doubled / np.maximum(length, 1e-30)[:, None]
    outward = _vertex_normals(doubled, faces, len(vertices))
    triangles = Triangles(area=length / 2, normal=normal, growth=_growth(corners, normal, outward[faces]))
    return triangles, corners.mean(axis=1)


def _vertex_normals(doubled: Real, faces: NDArray[np.int32], count: int) -> Real:
    """Return unit normals of the vertices: the sum of those of the triangles round them, by area."""
    out = np.stack(
        [np.bincount(faces.ravel(), np.repeat(doubled[:, axis], 3), minlength=count) for axis in range(3)],
        axis=1,
    )
    unit: Real = out / np.maximum(np.linalg.norm(out, axis=1), 1e-30)[:, None]
    return unit


def _growth(corners: Real, normal: Real, moves: Real) -> Real:
    """Return d(area)/dr of each triangle when its corners move along `moves`: exact, no finite step."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    da, db = moves[:, 1] - moves[:, 0], moves[:, 2] - moves[:, 0]
    change: Real = 0.5 * np.einsum("ij,ij->i", normal, np.cross(b, da) + np.cross(db, a))
    return change
