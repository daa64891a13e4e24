import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from srrd_ray.simulation.meshes import Mesh, at_nodes, distance_to, signed_depth, subdivision

RADIUS = 10.0


def sphere(count: int) -> Mesh:
    """Return a mesh of a sphere about the origin, its vertices on a spiral."""
    n = np.arange(count) + 0.5
    height, turn = np.arccos(1 - 2 * n / count), np.pi * (1 + 5**0.5) * n
    points = np.column_stack([np.cos(turn) * np.sin(height), np.sin(turn) * np.sin(height), np.cos(height)])
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    inwards = (np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return Mesh(RADIUS * points, faces.astype(np.int32))


def nodes(step: float, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    origin = np.full(3, -step * (count - 1) / 2)
    index = np.moveaxis(np.indices((count,) * 3), 0, -1)[..., ::-1]
    return origin, origin + step * index


def test_depths_under_a_sphere_are_its_radius_less_the_distance_from_its_middle() -> None:
    origin, points = nodes(0.8, 35)
    true = RADIUS - np.linalg.norm(points, axis=-1)
    depth = signed_depth(sphere(3000), origin, 0.8, (35, 35, 35), 5.0).depth
    seen = (true > -4.8) & (true < 8)
    np.testing.assert_allclose(depth[seen], true[seen], atol=0.1)
    assert np.quantile(np.abs(depth - true)[seen], 0.99) < 0.03
    assert (depth[true < -5.1] == -5.0).all()


def test_values_of_vertices_reach_the_nodes_linearly() -> None:
    origin, points = nodes(1.0, 21)
    mesh = sphere(3000)
    surface = signed_depth(mesh, origin, 1.0, (21, 21, 21), 5.0)
    near = np.abs(surface.depth) < 2.5
    foot = RADIUS * points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)
    height = at_nodes(surface, mesh, mesh.vertices[:, 2])
    np.testing.assert_allclose(height[near], foot[near][:, 2], atol=0.15)


def test_distances_to_points_are_those_to_the_nearest() -> None:
    origin, where = nodes(1.0, 15)
    points = np.array([[-4.2, 1.0, 0.3], [5.0, -2.0, 3.3]])
    true = np.linalg.norm(where[..., None, :] - points, axis=-1).min(axis=-1)
    found = distance_to(points, origin, 1.0, (15, 15, 15), 8.0)
    np.testing.assert_allclose(found, np.minimum(true, 8.0), atol=1e-4)


def test_subdivision_keeps_a_flat_place_flat_and_quarters_the_faces() -> None:
    mesh = sphere(100)
    matrix, faces = subdivision(100, mesh.faces)
    assert len(faces) == 4 * len(mesh.faces)
    assert matrix @ np.ones(100) == pytest.approx(np.ones(matrix.shape[0]))
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
