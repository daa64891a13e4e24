"""Closed triangle meshes: subdivision to a smooth surface, normals, and signed distances on a grid of
nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from srrd_ray.simulation.mesh_kernel import face_distances, interpolate, point_distances, sweep_nearest

Points = NDArray[np.float64]
Faces = NDArray[np.int32]


class Mesh(NamedTuple):
    """A closed surface: vertices (n, 3) x, y, z in mm and faces (m, 3), counterclockwise seen from
    outside.
    """

    vertices: Points
    faces: Faces

    def normals(self) -> Points:
        """Return the unit normals of the vertices, outwards: the mean over faces weighted by their area."""
        a, b, c = (self.vertices[self.faces[:, n]] for n in range(3))
        areas = np.cross(b - a, c - a)
        total = np.stack(
            [np.bincount(self.faces.ravel(), np.repeat(areas[:, n], 3), len(self.vertices)) for n in range(3)]
        )
        return np.asarray((total / np.maximum(np.linalg.norm(total, axis=0), 1e-12)).T, np.float64)


def subdivision(count: int, faces: Faces) -> tuple[sparse.csr_matrix, Faces]:
    """Return the matrix (new, `count`) of one Loop subdivision of a closed mesh, and its four times as many
    faces; the first `count` of the new vertices are the old ones (Loop 1987).
    """
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, which = np.unique(edges, axis=0, return_inverse=True)
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    which = which.ravel()
    middle = count + which.reshape(3, -1)
    rows = [count + np.arange(len(unique)).repeat(2), count + which]
    columns = [unique.ravel(), opposite]
    weights = [np.full(2 * len(unique), 3 / 8), np.full(len(which), 1 / 8)]
    valence = np.bincount(unique.ravel(), minlength=count)
    ring = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / valence) / 4) ** 2) / valence
    rows += [np.arange(count), unique[:, 0], unique[:, 1]]
    columns += [np.arange(count), unique[:, 1], unique[:, 0]]
    weights += [1 - valence * ring, ring[unique[:, 0]], ring[unique[:, 1]]]
    matrix = sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(count + len(unique), count),
    )
    a, b, c = faces.T
    ab, bc, ca = middle
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return matrix, np.concatenate([np.stack(part, axis=1) for part in parts]).astype(np.int32)


class Surface(NamedTuple):
    """A surface at the nodes of a grid (z, y, x): depth under it in mm (negative outside), and the nearest
    point as its face and the weights of that face's first and second vertex.
    """

    depth: NDArray[np.float32]
    face: NDArray[np.int32]
    weight: NDArray[np.float32]


def signed_depth(
    mesh: Mesh, origin: Points, step: float, shape: tuple[int, int, int], reach: float
) -> Surface:
    """Return depths under `mesh` at nodes: exact distances (to its faces) within `reach` mm outside and
    anywhere inside, -`reach` beyond.

    Nearest vertices spread from the surface in sweeps (Danielsson 1980) and move on to nearer neighbours;
    the distance is that to the nearest of their faces, its sign that of the interpolated normal.
    """
    nearest = _nearest_vertices(mesh.vertices, origin, step, shape, reach)
    start, faces = _faces_of_vertices(mesh)
    depth = np.empty(shape, np.float32)
    face = np.zeros(shape, np.int32)
    weight = np.zeros((*shape, 2), np.float32)
    vertices, normals = mesh.vertices.astype(np.float32), mesh.normals().astype(np.float32)
    where = np.asarray(origin, np.float32)
    face_distances(
        vertices, normals, mesh.faces, start, faces, nearest, where, np.float32(step), depth, face, weight,
        np.float32(reach),
    )  # fmt: skip
    _agree_on_sides(depth, np.float32(1.5 * step))
    return Surface(depth, face, weight)


def _agree_on_sides(depth: NDArray[np.float32], near: np.float32) -> None:
    """Give all nodes of a connected region away from the surface the sign of most of them: far from it the
    vertex that sweeps bring is not always the nearest, and its normal may point the other way.
    """
    regions, count = ndimage.label(np.abs(depth) >= near)
    inside = np.bincount(regions.ravel(), (depth > 0).ravel(), count + 1)
    whole = np.bincount(regions.ravel(), minlength=count + 1)
    sign = np.where(2 * inside > whole, np.float32(1), np.float32(-1))[regions]
    np.copyto(depth, sign * np.abs(depth), where=regions > 0)


def at_nodes(surface: Surface, mesh: Mesh, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return `values` of the vertices at every node's nearest point, linear within its face."""
    out = np.empty(surface.depth.shape, np.float32)
    interpolate(surface.face, surface.weight, mesh.faces, values.astype(np.float32), out)
    return out


def distance_to(
    points: Points, origin: Points, step: float, shape: tuple[int, int, int], reach: float
) -> NDArray[np.float32]:
    """Return the distance of every node to the nearest of `points`, mm, at most `reach`."""
    nearest = _nearest_vertices(points, origin, step, shape, reach)
    out = np.empty(shape, np.float32)
    point_distances(points.astype(np.float32), nearest, np.asarray(origin, np.float32), np.float32(step), out)
    return np.minimum(out, np.float32(reach))


def _faces_of_vertices(mesh: Mesh) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    order = np.argsort(mesh.faces.ravel(), kind="stable")
    count = np.bincount(mesh.faces.ravel(), minlength=len(mesh.vertices))
    start = np.concatenate([[0], np.cumsum(count)])
    return start.astype(np.int32), (order // 3).astype(np.int32)


def _nearest_vertices(
    vertices: Points, origin: Points, step: float, shape: tuple[int, int, int], reach: float
) -> NDArray[np.int32]:
    nearest = np.full(shape, -1, np.int32)
    index = (vertices - origin) / step
    low, high = np.floor(index.min(axis=0) - 1), np.ceil(index.max(axis=0) + 1)
    margin = np.ceil(reach / step)
    first = np.maximum(low - margin, 0).astype(np.intp)
    last = np.minimum(high + margin + 1, np.array(shape[::-1])).astype(np.intp)
    if (last - first < 1).any():
        return nearest
    box = tuple(slice(int(a), int(b)) for a, b in zip(first[::-1], last[::-1], strict=True))
    part = np.ascontiguousarray(nearest[box])
    # what lies outside the box by more than this is not nearest to anything in it
    near = ((index > first - margin) & (index < last + margin)).all(axis=1)
    ids = np.flatnonzero(near).astype(np.int32)
    sweep_nearest((index[ids] - first).astype(np.float32), part)
    nearest[box] = np.where(part >= 0, ids[np.maximum(part, 0)] if len(ids) else -1, -1)
    return nearest
