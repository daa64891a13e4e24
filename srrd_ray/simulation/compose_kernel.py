"""The compiled loop of `compose`: row by row, knots first, then every point. No arrays are made inside the loops."""

from __future__ import annotations

import numpy as np
from numba import njit

KNOT_MM = 0.9
FAR_MM = np.float32(-4.5)
"""A knot deeper outside a bone than this needs no channel but the depth: cartilage ends before."""
COMPACT_MINERAL = np.float32(0.93)
CYST_RIM_MM, SKIN_MM = np.float32(0.45), np.float32(1.6)
NEAR_FEMUR_MM, NEAR_TIBIA_MM = np.float32(-3.5), np.float32(-4.5)
"""Between the bones, nearer than this to both, is synovial fluid."""
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
BLEND_EDGE, BLEND_FULL = np.float32(0.02), np.float32(np.pi / 2 - 0.02)

_FLOATS = {"nnan", "ninf", "nsz"}
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FLOATS)
_inlined = njit(cache=True, error_model="numpy", fastmath=_FLOATS, forceinline=True)


@_compiled
def _sample(table, x, y, z, out) -> None:  # type: ignore[no-untyped-def]
    """Read all channels of `table` at (x, y, z) mm into the vector `out`; the border value outside."""
    values = table.values
    nz, ny, nx, nc = values.shape
    u = min(max((x - table.origin_mm[0]) / table.step_mm, 0.0), nx - 1.000001)
    v = min(max((y - table.origin_mm[1]) / table.step_mm, 0.0), ny - 1.000001)
    w = min(max((z - table.origin_mm[2]) / table.step_mm, 0.0), nz - 1.000001)
    i, j, k = int(u), int(v), int(w)
    u, v, w = u - i, v - j, w - k
    w00, w01 = np.float32((1 - w) * (1 - v)), np.float32((1 - w) * v)
    w10, w11 = np.float32(w * (1 - v)), np.float32(w * v)
    b, a = np.float32(u), np.float32(1 - u)
    row000, row001 = values[k, j, i], values[k, j, i + 1]
    row010, row011 = values[k, j + 1, i], values[k, j + 1, i + 1]
    row100, row101 = values[k + 1, j, i], values[k + 1, j, i + 1]
    row110, row111 = values[k + 1, j + 1, i], values[k + 1, j + 1, i + 1]
    first = a * (w00 * row000[0] + w01 * row010[0] + w10 * row100[0] + w11 * row110[0])
    out[0] = first + b * (w00 * row001[0] + w01 * row011[0] + w10 * row101[0] + w11 * row111[0])
    if out[0] < FAR_MM and nc > 4:
        return
    for c in range(1, nc):
        low = w00 * row000[c] + w01 * row010[c] + w10 * row100[c] + w11 * row110[c]
        high = w00 * row001[c] + w01 * row011[c] + w10 * row101[c] + w11 * row111[c]
        out[c] = a * low + b * high


@_compiled
def _knots(bones, soft, starts, steps, fields, softs) -> None:  # type: ignore[no-untyped-def]
    """Fill `fields` (bones, knots, channels) and `softs` (knots, channels) along one row."""
    for n in range(softs.shape[0]):
        for b in range(len(bones)):
            x, y, z = (starts[b, 0] + n * steps[b, 0], starts[b, 1] + n * steps[b, 1], starts[b, 2] + n * steps[b, 2])
            _sample(bones[b], x, y, z, fields[b, n])
        t = min(max(0.5 + (starts[1, 2] + n * steps[1, 2]) / 40.0, 0.0), 1.0)
        x = t * (starts[0, 0] + n * steps[0, 0]) + (1 - t) * (starts[1, 0] + n * steps[1, 0])
        y = t * (starts[0, 1] + n * steps[0, 1]) + (1 - t) * (starts[1, 1] + n * steps[1, 1])
        z = t * (starts[0, 2] + n * steps[0, 2]) + (1 - t) * (starts[1, 2] + n * steps[1, 2])
        _sample(soft, x, y, z, softs[n])


@_inlined
def _trilinear(tile, c, k, j, i, x, y, z):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile and its derivatives along x, y, z at a fraction of the cell (k, j, i)."""
    a000, a001, a010, a011 = tile[k, j, i, c], tile[k, j, i + 1, c], tile[k, j + 1, i, c], tile[k, j + 1, i + 1, c]
    a100, a101 = tile[k + 1, j, i, c], tile[k + 1, j, i + 1, c]
    a110, a111 = tile[k + 1, j + 1, i, c], tile[k + 1, j + 1, i + 1, c]
    d00, d01, d10, d11 = a001 - a000, a011 - a010, a101 - a100, a111 - a110
    b00, b01, b10, b11 = a000 + x * d00, a010 + x * d01, a100 + x * d10, a110 + x * d11
    e0, e1 = b01 - b00, b11 - b10
    c0, c1 = b00 + y * e0, b10 + y * e1
    dx0, dx1 = d00 + y * (d01 - d00), d10 + y * (d11 - d10)
    return c0 + z * (c1 - c0), dx0 + z * (dx1 - dx0), e0 + z * (e1 - e0), c1 - c0


@_inlined
def _fields(tile, m, g, bone, side, x, y, z):  # type: ignore[no-untyped-def]
    """Return f1, f2 and their derivatives along the grid's (i, j, k) for one compartment's texture: 8 numbers."""
    n = tile.shape[0] - 1
    px = m[bone, side, 0, 0] * x + m[bone, side, 0, 1] * y + m[bone, side, 0, 2] * z + m[bone, side, 0, 3]
    py = m[bone, side, 1, 0] * x + m[bone, side, 1, 1] * y + m[bone, side, 1, 2] * z + m[bone, side, 1, 3]
    pz = m[bone, side, 2, 0] * x + m[bone, side, 2, 1] * y + m[bone, side, 2, 2] * z + m[bone, side, 2, 3]
    turn = 1.0 / n
    px, py, pz = px - n * np.floor(px * turn), py - n * np.floor(py * turn), pz - n * np.floor(pz * turn)
    i, j, k = min(int(px), n - 1), min(int(py), n - 1), min(int(pz), n - 1)
    tx, ty, tz = np.float32(px - i), np.float32(py - j), np.float32(pz - k)
    u, ux, uy, uz = _trilinear(tile, 0, k, j, i, tx, ty, tz)
    v, vx, vy, vz = _trilinear(tile, 1, k, j, i, tx, ty, tz)
    g00, g01, g02 = g[bone, side, 0, 0], g[bone, side, 0, 1], g[bone, side, 0, 2]
    g10, g11, g12 = g[bone, side, 1, 0], g[bone, side, 1, 1], g[bone, side, 1, 2]
    g20, g21, g22 = g[bone, side, 2, 0], g[bone, side, 2, 1], g[bone, side, 2, 2]
    return (
        u, ux * g00 + uy * g10 + uz * g20, ux * g01 + uy * g11 + uz * g21, ux * g02 + uy * g12 + uz * g22,
        v, vx * g00 + vy * g10 + vz * g20, vx * g01 + vy * g11 + vz * g21, vx * g02 + vy * g12 + vz * g22,
    )  # fmt: skip


@_inlined
def _root(table, fraction, rod):  # type: ignore[no-untyped-def]
    """Return √t of `trabeculae.threshold_table` for one fraction and λ."""
    u = min(max(fraction * np.float32(100), ZERO), np.float32(94.99))
    v = min(max(rod * np.float32(20), ZERO), np.float32(19.99))
    i, j = int(u), int(v)
    s, t = u - np.float32(i), v - np.float32(j)
    low = table[i, j] + t * (table[i, j + 1] - table[i, j])
    high = table[i + 1, j] + t * (table[i + 1, j + 1] - table[i + 1, j])
    return low + s * (high - low)


@_inlined
def _trabecular(tile, m, g, bone, x, y, z, blend, rod, root_t, sharp):  # type: ignore[no-untyped-def]
    """Return the anti-aliased mineral fraction of trabecular bone: clip(½ + (√t − √g) / |∇√g|)."""
    side = 1 if blend > BLEND_FULL else 0
    u, ui, uj, uk, v, vi, vj, vk = _fields(tile, m, g, bone, side, x, y, z)
    if BLEND_EDGE <= blend <= BLEND_FULL:
        a, ai, aj, ak, b, bi, bj, bk = _fields(tile, m, g, bone, 1, x, y, z)
        c, s = np.cos(blend), np.sin(blend)
        u, ui, uj, uk = c * u + s * a, c * ui + s * ai, c * uj + s * aj, c * uk + s * ak
        v, vi, vj, vk = c * v + s * b, c * vi + s * bi, c * vj + s * bj, c * vk + s * bk
    v *= rod * rod
    root = np.sqrt(u * u + v * v / max(rod * rod, np.float32(1e-6))) + np.float32(1e-6)
    if sharp:
        return ONE if root < root_t else ZERO
    si, sj, sk = u * ui + v * vi, u * uj + v * vj, u * uk + v * vk
    width = np.sqrt(si * si + sj * sj + sk * sk) / root + np.float32(1e-6)
    return min(max(HALF + (root_t - root) / width, ZERO), ONE)


@_inlined
def _lerp(fields, b, n, w, c):  # type: ignore[no-untyped-def]
    return fields[b, n, c] + w * (fields[b, n + 1, c] - fields[b, n, c])


@_inlined
def _soft(fields, softs, n, w, deepest):  # type: ignore[no-untyped-def]
    """Return the label of a point outside every bone, between the knots n and n + 1."""
    if deepest > FAR_MM:
        for b in range(fields.shape[0]):
            if -_lerp(fields, b, n, w, 0) < _lerp(fields, b, n, w, 1):
                return 4
    limb = softs[n, 3] + w * (softs[n + 1, 3] - softs[n, 3])
    if limb < SKIN_MM:
        return 0 if limb < 0 else 7
    if softs[n, 0] + w * (softs[n + 1, 0] - softs[n, 0]) > 0:
        return 5
    if _lerp(fields, 0, n, w, 0) > NEAR_FEMUR_MM and _lerp(fields, 1, n, w, 0) > NEAR_TIBIA_MM:
        return 3
    if softs[n, 1] + w * (softs[n + 1, 1] - softs[n, 1]) > 0:
        return 6
    return 2 if softs[n, 2] + w * (softs[n + 1, 2] - softs[n, 2]) > 0 else 1


@_inlined
def _bone(tile, m, g, roots, fields, b, n, w, depth, per_voxel, x, y, z, sharp):  # type: ignore[no-untyped-def]
    """Return mineral fraction and label of a point of bone `b` at (x, y, z) mm in its frame."""
    shell = HALF + (_lerp(fields, b, n, w, 2) - depth) * per_voxel
    if shell >= 1:
        return COMPACT_MINERAL, 9
    cyst = _lerp(fields, b, n, w, 7)
    if cyst > -CYST_RIM_MM:
        return (ZERO, 8) if cyst > 0 else (COMPACT_MINERAL, 9)
    fraction, rod = _lerp(fields, b, n, w, 3), _lerp(fields, b, n, w, 4)
    x += _lerp(fields, b, n, w, 8)
    y += _lerp(fields, b, n, w, 9)
    z += _lerp(fields, b, n, w, 10)
    blend = _lerp(fields, b, n, w, 5)
    mineral = _trabecular(tile, m, g, b, x, y, z, blend, rod, _root(roots, fraction, rod), sharp)
    if shell > 0:
        mineral = max(mineral, shell * COMPACT_MINERAL)
        if shell > HALF:
            return mineral, 9
    water = int(min(max(_lerp(fields, b, n, w, 6), ZERO), ONE) * np.float32(7) + HALF)
    return mineral, 64 + 16 * water + int(min(max(fraction * np.float32(25) + HALF, ZERO), np.float32(15)))


@_compiled
def _mix(low, high, t, out) -> None:  # type: ignore[no-untyped-def]
    """Fill the flat `out` with the mean of `low` and `high`, weights 1 − t and t."""
    for n in range(out.size):
        out[n] = low[n] + t * (high[n] - low[n])


@_inlined
def _deepest(fields, n):  # type: ignore[no-untyped-def]
    """Return the bone that reaches deepest between the knots n and n + 1, and how deep."""
    best, depth = 0, max(fields[0, n, 0], fields[0, n + 1, 0])
    for b in range(1, fields.shape[0]):
        other = max(fields[b, n, 0], fields[b, n + 1, 0])
        if other > depth:
            best, depth = b, other
    return best, depth


@_compiled
def _row(mineral, label, fields, softs, starts, steps, texture, voxel, sharp) -> None:  # type: ignore[no-untyped-def]
    """Fill one row of `mineral` and `label` from the channels at its knots."""
    tile, m, g, roots, stride = texture
    per_voxel, per_stride = ONE / voxel, ONE / np.float32(stride)
    for n in range(fields.shape[1] - 1):
        b, deepest = _deepest(fields, n)
        for i in range(n * stride, min((n + 1) * stride, mineral.shape[0])):
            w = np.float32(i - n * stride) * per_stride
            depth = _lerp(fields, b, n, w, 0)
            outer = HALF + depth * per_voxel
            mineral[i] = 0
            if depth <= 0:
                label[i] = _soft(fields, softs, n, w, deepest)
            if outer > 0:
                x, y = starts[b, 0] + i * steps[b, 0], starts[b, 1] + i * steps[b, 1]
                z = starts[b, 2] + i * steps[b, 2]
                solid, code = _bone(tile, m, g, roots, fields, b, n, w, depth, per_voxel, x, y, z, sharp)
                mineral[i] = solid * min(outer, ONE)
                if depth > 0:
                    label[i] = code


@_compiled
def compose_rows(mineral, label, bones, soft, maps, texture, sharp) -> None:  # type: ignore[no-untyped-def]
    """Fill `mineral` and `label` (z, y, x); `maps` (bones, 3, 4) from (i, j, k, 1) to each bone's frame.

    Knots lie `KNOT_MM` apart at most along rows and across them; rows between two rows of knots take their mean.
    """
    nk, nj, ni = mineral.shape
    nb, nc, ns = len(bones), bones[0].values.shape[3], soft.values.shape[3]
    size = np.sqrt((maps[0, :, :3] ** 2).sum(axis=0))
    voxel = np.float32((size[0] * size[1] * size[2]) ** (1 / 3))
    stride, across = max(int(KNOT_MM / size[0]), 1), max(int(KNOT_MM / size[1]), 1)
    knots = (ni - 1) // stride + 2
    fields, softs = np.zeros((3, nb, knots, nc), np.float32), np.zeros((3, knots, ns), np.float32)
    steps = np.ascontiguousarray(maps[:, :, 0])
    line = (texture[0], texture[1], texture[2], texture[3], stride)
    for k in range(nk):
        for j in range(nj):
            starts = maps[:, :, 1] * j + maps[:, :, 2] * k + maps[:, :, 3]
            behind = j % across
            if behind == 0:
                if j == 0:
                    _knots(bones, soft, starts, steps * stride, fields[1], softs[1])
                fields[0], softs[0] = fields[1], softs[1]
                ahead = starts + maps[:, :, 1] * across
                _knots(bones, soft, ahead, steps * stride, fields[1], softs[1])
            t = np.float32(behind) / np.float32(across)
            _mix(fields[0].reshape(-1), fields[1].reshape(-1), t, fields[2].reshape(-1))
            _mix(softs[0].reshape(-1), softs[1].reshape(-1), t, softs[2].reshape(-1))
            _row(mineral[k, j], label[k, j], fields[2], softs[2], starts, steps, line, voxel, sharp)
