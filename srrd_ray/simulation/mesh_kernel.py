"""The compiled loops of `meshes`: nearest vertices by sweeps over a grid of nodes, distances to faces."""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel

FAR = np.float32(1e9)

_compiled = kernel(nogil=True, error_model="numpy")
_compiled_fast = kernel(error_model="numpy", fastmath=True)
_inlined = kernel(error_model="numpy", forceinline=True)
_inlined_fast = kernel(error_model="numpy", fastmath=True, forceinline=True)


@_compiled
def sweep_nearest(points, nearest) -> None:  # type: ignore[no-untyped-def]
    """Fill `nearest` with the number of the nearest of `points` (in nodes), from seeds in eight sweeps."""
    nz, ny, nx = nearest.shape
    best = np.full((nz, ny, nx), FAR, np.float32)
    for n in range(len(points)):
        i0, j0, k0 = int(np.floor(points[n, 0])), int(np.floor(points[n, 1])), int(np.floor(points[n, 2]))
        for c in range(8):
            i = min(max(i0 + (c & 1), 0), nx - 1)
            j = min(max(j0 + ((c >> 1) & 1), 0), ny - 1)
            k = min(max(k0 + (c >> 2), 0), nz - 1)
            _try(points, nearest, best, n, k, j, i)
    for direction in range(8):
        di, dj, dk = 1 - 2 * (direction & 1), 1 - 2 * ((direction >> 1) & 1), 1 - 2 * (direction >> 2)
        for k in range(0 if dk > 0 else nz - 1, nz if dk > 0 else -1, dk):
            for j in range(0 if dj > 0 else ny - 1, ny if dj > 0 else -1, dj):
                for i in range(0 if di > 0 else nx - 1, nx if di > 0 else -1, di):
                    if 0 <= i - di < nx:
                        _try(points, nearest, best, nearest[k, j, i - di], k, j, i)
                    if 0 <= j - dj < ny:
                        _try(points, nearest, best, nearest[k, j - dj, i], k, j, i)
                    if 0 <= k - dk < nz:
                        _try(points, nearest, best, nearest[k - dk, j, i], k, j, i)


@_inlined
def _try(points, nearest, best, n, k, j, i) -> None:  # type: ignore[no-untyped-def]
    if n < 0 or n == nearest[k, j, i]:
        return
    x, y, z = points[n, 0] - i, points[n, 1] - j, points[n, 2] - k
    distance = x * x + y * y + z * z
    if distance < best[k, j, i]:
        best[k, j, i], nearest[k, j, i] = distance, n


@_compiled
def point_distances(points, nearest, origin, step, out) -> None:  # type: ignore[no-untyped-def]
    """Fill `out` with the distance of every node to its nearest of `points`; `FAR` where it has none."""
    nz, ny, nx = nearest.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                n = nearest[k, j, i]
                if n < 0:
                    out[k, j, i] = FAR
                    continue
                x = points[n, 0] - origin[0] - i * step
                y = points[n, 1] - origin[1] - j * step
                z = points[n, 2] - origin[2] - k * step
                out[k, j, i] = np.sqrt(x * x + y * y + z * z)


@_compiled_fast
def _closest(p, a, b, c):  # type: ignore[no-untyped-def]
    """Return the weights of a and b of the point of a triangle nearest to p (Ericson 2004, 5.1.5)."""
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1, d2 = abx * apx + aby * apy + abz * apz, acx * apx + acy * apy + acz * apz
    if d1 <= 0 and d2 <= 0:
        return np.float32(1), np.float32(0)
    bpx, bpy, bpz = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3, d4 = abx * bpx + aby * bpy + abz * bpz, acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0 and d4 <= d3:
        return np.float32(0), np.float32(1)
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / (d1 - d3)
        return 1 - v, v
    cpx, cpy, cpz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5, d6 = abx * cpx + aby * cpy + abz * cpz, acx * cpx + acy * cpy + acz * cpz
    if d6 >= 0 and d5 <= d6:
        return np.float32(0), np.float32(0)
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return 1 - d2 / (d2 - d6), np.float32(0)
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return np.float32(0), 1 - w
    total = va + vb + vc
    return va / total, vb / total


@_compiled_fast
def _climb(vertices, faces, start, of_vertex, p, n):  # type: ignore[no-untyped-def]
    """Return the vertex nearest to p, from vertex n on by way of neighbours that are nearer."""
    best = _square(vertices, n, p)
    while True:
        here = n
        for m in range(start[here], start[here + 1]):
            for corner in range(3):
                other = faces[of_vertex[m], corner]
                square = _square(vertices, other, p)
                if square < best:
                    best, n = square, other
        if n == here:
            return n


@_inlined_fast
def _square(vertices, n, p):  # type: ignore[no-untyped-def]
    x, y, z = vertices[n, 0] - p[0], vertices[n, 1] - p[1], vertices[n, 2] - p[2]
    return x * x + y * y + z * z


@_compiled
def face_distances(  # type: ignore[no-untyped-def]
    vertices, normals, faces, start, of_vertex, nearest, origin, step, depth, face, weight, reach
) -> None:
    """Fill `depth`, and `face` and `weight` of the nearest point, from the faces of every node's nearest
    vertex.
    """
    nz, ny, nx = nearest.shape
    p = np.empty(3, np.float32)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                n = nearest[k, j, i]
                if n < 0:
                    depth[k, j, i] = -reach
                    continue
                p[0], p[1], p[2] = origin[0] + i * step, origin[1] + j * step, origin[2] + k * step
                n = _climb(vertices, faces, start, of_vertex, p, n)
                least, side = FAR, np.float32(0)
                for m in range(start[n], start[n + 1]):
                    f = of_vertex[m]
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    u, v = _closest(p, vertices[a], vertices[b], vertices[c])
                    w = 1 - u - v
                    square, along = np.float32(0), np.float32(0)
                    for axis in range(3):
                        q = u * vertices[a, axis] + v * vertices[b, axis] + w * vertices[c, axis]
                        square += (p[axis] - q) ** 2
                        along += (p[axis] - q) * (
                            u * normals[a, axis] + v * normals[b, axis] + w * normals[c, axis]
                        )
                    if square < least:
                        least, side = square, along
                        face[k, j, i], weight[k, j, i, 0], weight[k, j, i, 1] = f, u, v
                distance = np.sqrt(least)
                depth[k, j, i] = distance if side < 0 else max(-distance, -reach)


@_compiled
def interpolate(face, weight, faces, values, out) -> None:  # type: ignore[no-untyped-def]
    """Fill `out` with the values of vertices at the nearest point of every node."""
    nz, ny, nx = face.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                f, u, v = face[k, j, i], weight[k, j, i, 0], weight[k, j, i, 1]
                a, b, c = values[faces[f, 0]], values[faces[f, 1]], values[faces[f, 2]]
                out[k, j, i] = u * a + v * b + (1 - u - v) * c
