"""The compiled loop of `compose`: row by row, knots first, then every point."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

KNOT_MM = 0.45
POROSITY_LEFT = np.float32(0.93)
CYST_RIM_MM = np.float32(0.45)
BLEND_EDGE = np.float32(0.02)
BLEND_FULL = np.float32(np.pi / 2 - 0.02)


@njit(cache=True)
def _sample(table, p, out) -> None:  # type: ignore[no-untyped-def]
    """Read all channels of `table` at the point `p` (x, y, z) mm into `out`; the border value outside."""
    values = table.values
    u = np.empty(3)
    base = np.empty(3, np.int64)
    for a in range(3):
        last = values.shape[2 - a] - 1
        v = min(max((p[a] - table.origin_mm[a]) / table.step_mm, 0.0), last - 1e-6)
        base[a] = int(v)
        u[a] = v - base[a]
    out[:] = 0
    for c in range(8):
        dx, dy, dz = c & 1, (c >> 1) & 1, c >> 2
        w = (u[0] if dx else 1 - u[0]) * (u[1] if dy else 1 - u[1]) * (u[2] if dz else 1 - u[2])
        row = values[base[2] + dz, base[1] + dy, base[0] + dx]
        for n in range(out.shape[0]):
            out[n] += np.float32(w) * row[n]


@njit(cache=True)
def _gather(tile, p, g) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Return f1 and f2 at the tile position `p` (x, y, z); their gradients go into `g` (2, 3)."""
    n = tile.shape[0]
    fx, fy, fz = np.floor(p[0]), np.floor(p[1]), np.floor(p[2])
    x, y, z = np.float32(p[0] - fx), np.float32(p[1] - fy), np.float32(p[2] - fz)
    i, j, k = int(fx) % n, int(fy) % n, int(fz) % n
    i1, j1, k1 = (i + 1) % n, (j + 1) % n, (k + 1) % n
    f0 = np.float32(0)
    f1 = np.float32(0)
    one = np.float32(1)
    for c in range(2):
        a000, a001, a010, a011 = tile[k, j, i, c], tile[k, j, i1, c], tile[k, j1, i, c], tile[k, j1, i1, c]
        a100, a101, a110, a111 = tile[k1, j, i, c], tile[k1, j, i1, c], tile[k1, j1, i, c], tile[k1, j1, i1, c]
        d00, d01, d10, d11 = a001 - a000, a011 - a010, a101 - a100, a111 - a110
        b00, b01, b10, b11 = a000 + x * d00, a010 + x * d01, a100 + x * d10, a110 + x * d11
        c0, c1 = b00 + y * (b01 - b00), b10 + y * (b11 - b10)
        value = c0 + z * (c1 - c0)
        g[c, 0] = (one - z) * ((one - y) * d00 + y * d01) + z * ((one - y) * d10 + y * d11)
        g[c, 1] = (one - z) * (b01 - b00) + z * (b11 - b10)
        g[c, 2] = c1 - c0
        if c == 0:
            f0 = value
        else:
            f1 = value
    return f0, f1


@njit(cache=True)
def _root(table, fraction, rod):  # type: ignore[no-untyped-def]
    """Return √t of `trabeculae.threshold_table` for one fraction and λ."""
    u = min(max(fraction / np.float32(0.01), np.float32(0)), np.float32(94.999))
    v = min(max(rod * np.float32(20), np.float32(0)), np.float32(19.999))
    i, j = int(u), int(v)
    u -= i
    v -= j
    low = table[i, j] + v * (table[i, j + 1] - table[i, j])
    high = table[i + 1, j] + v * (table[i + 1, j + 1] - table[i + 1, j])
    return low + u * (high - low)


@njit(cache=True)
def _fields(texture, bone, side, q, f):  # type: ignore[no-untyped-def]
    """Write f1, f2 and their derivatives along the grid's (i, j, k) into `f` (2, 4) for one compartment's texture."""
    tile, maps, per_index, _ = texture
    p = np.empty(3)
    m = maps[bone, side]
    for a in range(3):
        p[a] = m[a, 0] * q[0] + m[a, 1] * q[1] + m[a, 2] * q[2] + m[a, 3]
    g = np.empty((2, 3), np.float32)
    f[0, 0], f[1, 0] = _gather(tile, p, g)
    b = per_index[bone, side]
    for c in range(2):
        for a in range(3):
            f[c, 1 + a] = np.float32(g[c, 0] * b[0, a] + g[c, 1] * b[1, a] + g[c, 2] * b[2, a])


@njit(cache=True)
def _trabecular(texture, bone, q, v, f):  # type: ignore[no-untyped-def]
    """Return the anti-aliased mineral fraction of trabecular bone: clip(½ + (√t − √g) / |∇√g|)."""
    blend = v[5]
    if blend < BLEND_EDGE:
        _fields(texture, bone, 0, q, f[0])
    elif blend > BLEND_FULL:
        _fields(texture, bone, 1, q, f[0])
    else:
        _fields(texture, bone, 0, q, f[0])
        _fields(texture, bone, 1, q, f[1])
        cos, sin = np.float32(np.cos(blend)), np.float32(np.sin(blend))
        for c in range(2):
            for a in range(4):
                f[0, c, a] = cos * f[0, c, a] + sin * f[1, c, a]
    f1, f2 = f[0, 0], f[0, 1]
    rod2 = v[4] * v[4]
    root = np.sqrt(f1[0] * f1[0] + rod2 * f2[0] * f2[0]) + np.float32(1e-6)
    width2 = np.float32(0)
    for a in range(1, 4):
        slope = (f1[0] * f1[a] + rod2 * f2[0] * f2[a]) / root
        width2 += slope * slope
    ramp = (_root(texture[3], v[3], v[4]) - root) / (np.sqrt(width2) + np.float32(1e-6))
    return min(max(np.float32(0.5) + ramp, np.float32(0)), np.float32(1))


@njit(cache=True)
def _marrow_label(v) -> int:  # type: ignore[no-untyped-def]
    water = int(min(max(v[6], np.float32(0)), np.float32(1)) * 7 + np.float32(0.5))
    fraction = int(min(max(v[3] / np.float32(0.04) + np.float32(0.5), np.float32(0)), np.float32(15)))
    return 64 + 16 * water + fraction


@njit(cache=True)
def _inside(texture, bone, q, v, work):  # type: ignore[no-untyped-def]
    """Return mineral fraction and label of a point inside a bone; `work` is (f, size of a voxel mm)."""
    f, voxel = work
    shell = np.float32(0.5) + (v[2] - v[0]) / voxel
    if v[7] > -CYST_RIM_MM and shell < 1:
        if v[7] > 0:
            return np.float32(0), 8
        return POROSITY_LEFT, 9
    if shell >= 1:
        return POROSITY_LEFT, 9
    mineral = _trabecular(texture, bone, q, v, f)
    if shell > 0:
        mineral = max(mineral, shell * POROSITY_LEFT)
    return mineral, 9 if shell > np.float32(0.5) else _marrow_label(v)


@njit(cache=True)
def _soft(v, s) -> int:  # type: ignore[no-untyped-def]
    """Return the label of a point outside every bone; `v` (bones, channels), `s` soft channels."""
    for bone in range(v.shape[0]):
        if -v[bone, 0] < v[bone, 1]:
            return 4
    if s[3] < 0:
        return 0
    if s[3] < np.float32(1.6):
        return 7
    if s[0] > 0:
        return 5
    if v[0, 0] > -3.5 and v[1, 0] > -4.5:
        return 3
    if s[1] > 0:
        return 6
    return 2 if s[2] > 0 else 1


@njit(cache=True)
def _knots(bones, soft, starts, steps, out) -> None:  # type: ignore[no-untyped-def]
    """Fill `out` = (bone channels (bones, knots, c), soft channels (knots, s)) along one row."""
    fields, softs = out
    p = np.empty(3)
    r = np.empty(3)
    for n in range(softs.shape[0]):
        for b in range(len(bones)):
            for a in range(3):
                p[a] = starts[b, a] + n * steps[b, a]
            _sample(bones[b], p, fields[b, n])
        z = starts[1, 2] + n * steps[1, 2]
        w = min(max(0.5 + z / 40.0, 0.0), 1.0)
        for a in range(3):
            r[a] = w * (starts[0, a] + n * steps[0, a]) + (1 - w) * (starts[1, a] + n * steps[1, a])
        _sample(soft, r, softs[n])


@njit(cache=True)
def _point(texture, starts, steps, v, s, work):  # type: ignore[no-untyped-def]
    """Return mineral fraction and label of one point; `v` and `s` are its channels, `work` is (f, voxel mm, position)."""
    f, voxel, along = work
    best = 0
    for b in range(1, v.shape[0]):
        if v[b, 0] > v[best, 0]:
            best = b
    depth = v[best, 0]
    outer = np.float32(0.5) + depth / voxel
    if outer <= 0:
        return np.float32(0), _soft(v, s)
    q = np.empty(3)
    for a in range(3):
        q[a] = starts[best, a] + along * steps[best, a] + v[best, 8 + a]
    mineral, label = _inside(texture, best, q, v[best], (f, voxel))
    if outer < 1:
        mineral *= outer
    return mineral, label if depth > 0 else _soft(v, s)


@njit(cache=True, nogil=True)
def compose_rows(mineral, label, bones, soft, maps, texture) -> None:  # type: ignore[no-untyped-def]
    """Fill `mineral` and `label` (z, y, x); `maps` (bones, 3, 4) from (i, j, k, 1) to each bone's frame."""
    nk, nj, ni = mineral.shape
    nb, nc, ns = len(bones), bones[0].values.shape[3], soft.values.shape[3]
    size = np.sqrt((maps[0, :, :3] ** 2).sum(axis=0))
    voxel = np.float32((size[0] * size[1] * size[2]) ** (1 / 3))
    stride = max(int(KNOT_MM / size[0]), 1)
    fields = np.empty((nb, ni // stride + 2, nc), np.float32)
    softs = np.empty((ni // stride + 2, ns), np.float32)
    v, s = np.empty((nb, nc), np.float32), np.empty(ns, np.float32)
    f = np.empty((2, 2, 4), np.float32)
    steps = np.ascontiguousarray(maps[:, :, 0])
    for k in range(nk):
        for j in range(nj):
            starts = maps[:, :, 1] * j + maps[:, :, 2] * k + maps[:, :, 3]
            _knots(bones, soft, starts, steps * stride, (fields, softs))
            for i in range(ni):
                n = i // stride
                w = np.float32(i % stride) / np.float32(stride)
                for b in range(nb):
                    for c in range(nc):
                        v[b, c] = fields[b, n, c] + w * (fields[b, n + 1, c] - fields[b, n, c])
                for c in range(ns):
                    s[c] = softs[n, c] + w * (softs[n + 1, c] - softs[n, c])
                mineral[k, j, i], label[k, j, i] = _point(texture, starts, steps, v, s, (f, voxel, i))
