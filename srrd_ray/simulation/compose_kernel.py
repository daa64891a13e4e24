"""The compiled loop of `compose`: brick by brick, its corners first, then every point.

A brick is about `KNOT_MM` wide: its points read neighbouring nodes of the texture's tile,
which then stay in the cache, whatever the direction of the grid.
"""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel

KNOT_MM = 1.25
FAR_MM = np.float32(-5.0)
"""A corner deeper outside a bone than this needs no channel but the depth:
no cartilage reaches into its brick.
"""
COMPACT_MINERAL = np.float32(0.93)
"""Mineralised part of compact bone."""
CURVATURE = np.float32(1.15 * (2 * np.pi / 10.0) ** 2 / 72)
"""Half of a third of k² times the mean square offset in a voxel, 1/12;
k of a wave of ten nodes, 1.15 for the ring's width.
"""
CYST_RIM_MM, SKIN_MM = np.float32(0.45), np.float32(1.6)
NEAR_FEMUR_MM, NEAR_TIBIA_MM = np.float32(-3.5), np.float32(-4.5)
"""Between the bones, nearer than this to both, is synovial fluid."""
HALF, QUARTER, ONE, ZERO, TINY = (np.float32(value) for value in (0.5, 0.25, 1, 0, 1e-3))
BLEND_EDGE, BLEND_FULL = np.float32(0.02), np.float32(np.pi / 2 - 0.02)

_FLOATS = {"nnan", "ninf", "nsz"}
# _nrt=False: these functions make no arrays, and counting references to
# those they are given costs more than a point
_compiled = kernel(nogil=True, error_model="numpy", fastmath=_FLOATS, _nrt=False)
_compiled_outermost = kernel(nogil=True, error_model="numpy")
_inlined = kernel(error_model="numpy", fastmath=_FLOATS, forceinline=True, _nrt=False)


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
        out[1:] = 0
        return
    for c in range(1, nc):
        low = w00 * row000[c] + w01 * row010[c] + w10 * row100[c] + w11 * row110[c]
        high = w00 * row001[c] + w01 * row011[c] + w10 * row101[c] + w11 * row111[c]
        out[c] = a * low + b * high


@_inlined
def _corners(tile, c, k, j, i):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile at the corners of the cell (k, j, i), x fastest."""
    f = np.float32
    return (
        f(tile[k, j, i, c]), f(tile[k, j, i + 1, c]), f(tile[k, j + 1, i, c]), f(tile[k, j + 1, i + 1, c]),
        f(tile[k + 1, j, i, c]), f(tile[k + 1, j, i + 1, c]),
        f(tile[k + 1, j + 1, i, c]), f(tile[k + 1, j + 1, i + 1, c]),
    )  # fmt: skip


@_inlined
def _value(tile, c, k, j, i, x, y, z):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile at a fraction of the cell (k, j, i)."""
    a000, a001, a010, a011, a100, a101, a110, a111 = _corners(tile, c, k, j, i)
    b00, b01 = a000 + x * (a001 - a000), a010 + x * (a011 - a010)
    b10, b11 = a100 + x * (a101 - a100), a110 + x * (a111 - a110)
    c0, c1 = b00 + y * (b01 - b00), b10 + y * (b11 - b10)
    return c0 + z * (c1 - c0)


@_inlined
def _value_and_slope(tile, c, k, j, i, x, y, z):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile and its derivatives along x, y, z at a fraction of the cell (k, j, i)."""
    a000, a001, a010, a011, a100, a101, a110, a111 = _corners(tile, c, k, j, i)
    d00, d01, d10, d11 = a001 - a000, a011 - a010, a101 - a100, a111 - a110
    b00, b01, b10, b11 = a000 + x * d00, a010 + x * d01, a100 + x * d10, a110 + x * d11
    e0, e1 = b01 - b00, b11 - b10
    c0, c1 = b00 + y * e0, b10 + y * e1
    dx0, dx1 = d00 + y * (d01 - d00), d10 + y * (d11 - d10)
    return c0 + z * (c1 - c0), dx0 + z * (dx1 - dx0), e0 + z * (e1 - e0), c1 - c0


@_inlined
def _cell(ends, side, w, n):  # type: ignore[no-untyped-def]
    """Return the cell (k, j, i) of the periodic tile at `w` between two ends of a line,
    and the fraction in it.
    """
    x = _wrapped(ends[side, 0, 0] + w * ends[side, 1, 0], n)
    y = _wrapped(ends[side, 0, 1] + w * ends[side, 1, 1], n)
    z = _wrapped(ends[side, 0, 2] + w * ends[side, 1, 2], n)
    i, j, k = int(x), int(y), int(z)
    return k, j, i, x - np.float32(i), y - np.float32(j), z - np.float32(k)


@_inlined
def _wrapped(x, n):  # type: ignore[no-untyped-def]
    """Return `x`, less than one period outside, within the tile of `n` cells."""
    x = x + n if x < 0 else x
    x = x - n if x >= n else x
    return min(max(x, ZERO), n - TINY)


@_inlined
def _values(tile, ends, side, w):  # type: ignore[no-untyped-def]
    """Return f1 and f2 of one compartment's texture."""
    k, j, i, x, y, z = _cell(ends, side, w, np.float32(tile.shape[0] - 1))
    return _value(tile, 0, k, j, i, x, y, z), _value(tile, 1, k, j, i, x, y, z)


@_inlined
def _fields(tile, g, b, ends, side, w):  # type: ignore[no-untyped-def]
    """Return f1, f2 and their derivatives along the grid's (i, j, k) for one compartment's texture:
    8 numbers.
    """
    k, j, i, x, y, z = _cell(ends, side, w, np.float32(tile.shape[0] - 1))
    u, ux, uy, uz = _value_and_slope(tile, 0, k, j, i, x, y, z)
    v, vx, vy, vz = _value_and_slope(tile, 1, k, j, i, x, y, z)
    g00, g01, g02 = g[b, side, 0, 0], g[b, side, 0, 1], g[b, side, 0, 2]
    g10, g11, g12 = g[b, side, 1, 0], g[b, side, 1, 1], g[b, side, 1, 2]
    g20, g21, g22 = g[b, side, 2, 0], g[b, side, 2, 1], g[b, side, 2, 2]
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
def _trabecular_sharp(tile, ends, w, blend, rod, root_t):  # type: ignore[no-untyped-def]
    """Return 1 where the point lies in a trabecula, else 0."""
    u, v = _values(tile, ends, 1 if blend > BLEND_FULL else 0, w)
    if BLEND_EDGE <= blend <= BLEND_FULL:
        a, b = _values(tile, ends, 1, w)
        c, s = np.cos(blend), np.sin(blend)
        u, v = c * u + s * a, c * v + s * b
    v *= rod
    return ONE if u * u + v * v < root_t * root_t else ZERO


@_inlined
def _trabecular(tile, g, bend, bone, ends, w, blend, rod, root_t):  # type: ignore[no-untyped-def]
    """Return the part of a voxel that trabecular bone fills, by eighths:
    layers |f1| < √(t - λ²f2²) between two planes.

    A layer thinner than the voxel counts by its thickness, and both fields fall towards zero around the
    centre as waves do (∇²f = -k²f: `bend` for each bone),
    so that the mean is the volume fraction on any grid.
    """
    u, ui, uj, uk, v, vi, vj, vk = _fields(tile, g, bone, ends, 1 if blend > BLEND_FULL else 0, w)
    if BLEND_EDGE <= blend <= BLEND_FULL:
        a, ai, aj, ak, b, bi, bj, bk = _fields(tile, g, bone, ends, 1, w)
        c, s = np.cos(blend), np.sin(blend)
        u, ui, uj, uk = c * u + s * a, c * ui + s * ai, c * uj + s * aj, c * uk + s * ak
        v, vi, vj, vk = c * v + s * b, c * vi + s * bi, c * vj + s * bj, c * vk + s * bk
    u, v, vi, vj, vk = u * bend[bone], v * rod * bend[bone], vi * rod, vj * rod, vk * rod
    across_u, across_v = abs(ui) + abs(uj) + abs(uk), abs(vi) + abs(vj) + abs(vk)
    reach = HALF * np.sqrt(across_u * across_u + across_v * across_v)
    root = np.sqrt(u * u + v * v)
    if root > root_t + reach:
        return ZERO
    if root < root_t - reach:
        return ONE
    per_width = 2 / (np.sqrt(ui * ui + uj * uj + uk * uk) + TINY)
    total = ZERO
    for n in range(8):
        a, b, c = (
            (QUARTER if n & 1 else -QUARTER),
            (QUARTER if n & 2 else -QUARTER),
            (QUARTER if n & 4 else -QUARTER),
        )
        p, q = u + a * ui + b * uj + c * uk, v + a * vi + b * vj + c * vk
        half = np.sqrt(max(root_t * root_t - q * q, ZERO))
        total += min(max(HALF + (half - p) * per_width, ZERO), ONE)
        total -= min(max(HALF - (half + p) * per_width, ZERO), ONE)
    return total * np.float32(0.125)


@_inlined
def _lerp(line, b, w, c):  # type: ignore[no-untyped-def]
    return line[b, 0, c] + w * line[b, 1, c]


@_inlined
def _soft(line, soft, w, deepest):  # type: ignore[no-untyped-def]
    """Return the label of a point outside every bone."""
    if deepest > FAR_MM:
        for b in range(line.shape[0]):
            if -_lerp(line, b, w, 0) < _lerp(line, b, w, 1):
                return 4
    limb = soft[0, 0, 3] + w * soft[0, 1, 3]
    if limb < SKIN_MM:
        return 0 if limb < 0 else 7
    if soft[0, 0, 0] + w * soft[0, 1, 0] > 0:
        return 5
    if _lerp(line, 0, w, 0) > NEAR_FEMUR_MM and _lerp(line, 1, w, 0) > NEAR_TIBIA_MM:
        return 3
    if soft[0, 0, 1] + w * soft[0, 1, 1] > 0:
        return 6
    return 2 if soft[0, 0, 2] + w * soft[0, 1, 2] > 0 else 1


@_inlined
def _bone(tile, g, bend, roots, ends, line, b, w, depth, per_voxel, sharp):  # type: ignore[no-untyped-def]
    """Return mineral fraction and label of a point of bone `b`."""
    shell = HALF + (_lerp(line, b, w, 2) - depth) * per_voxel
    if shell >= 1:
        return COMPACT_MINERAL, 9
    cyst = _lerp(line, b, w, 7)
    if cyst > -CYST_RIM_MM:
        return (ZERO, 8) if cyst > 0 else (COMPACT_MINERAL, 9)
    fraction, rod, blend = _lerp(line, b, w, 3), _lerp(line, b, w, 4), _lerp(line, b, w, 5)
    root_t = _root(roots, fraction, rod)
    if sharp:
        mineral = _trabecular_sharp(tile, ends, w, blend, rod, root_t)
    else:
        mineral = _trabecular(tile, g, bend, b, ends, w, blend, rod, root_t)
    if shell > 0:
        mineral = max(mineral, shell * COMPACT_MINERAL)
        if shell > HALF:
            return mineral, 9
    water = int(min(max(_lerp(line, b, w, 6), ZERO), ONE) * np.float32(7) + HALF)
    return mineral, 64 + 16 * water + int(min(max(fraction * np.float32(25) + HALF, ZERO), np.float32(15)))


@_inlined
def _bone_line(corners, bone, n, s, t, out) -> None:  # type: ignore[no-untyped-def]
    """Fill `out` (bones, 2, channels) at `bone` with start and change along the line at (s,
    t) of the brick between the knots n and n + 1; `corners` is (bones, 2 of k, 2 of j, knots, channels).
    """
    p, q, r, u = (ONE - s) * (ONE - t), (ONE - s) * t, s * (ONE - t), s * t
    for c in range(out.shape[2]):
        low = p * corners[bone, 0, 0, n, c] + q * corners[bone, 0, 1, n, c]
        low += r * corners[bone, 1, 0, n, c] + u * corners[bone, 1, 1, n, c]
        high = p * corners[bone, 0, 0, n + 1, c] + q * corners[bone, 0, 1, n + 1, c]
        high += r * corners[bone, 1, 0, n + 1, c] + u * corners[bone, 1, 1, n + 1, c]
        out[bone, 0, c], out[bone, 1, c] = low, high - low


@_inlined
def _tile_ends(m, b, line, first, maps, ijk, stride, n, ends) -> None:  # type: ignore[no-untyped-def]
    """Fill `ends` (2 sides, 2, 3): start and change in the tile of a line of bone `b`, its warp added,
    for both textures.

    `m` is (bones, 2, 3, 4), to the tile of `n` cells;
    `first` and `maps` give the position of (i, j, k) in the bone, mm.
    """
    i, j, k = ijk
    for side in range(2):
        for r in range(3):
            start, change = m[b, side, r, 3], 0.0
            for c in range(3):
                at = first[b, c] + maps[b, c, 0] * i + maps[b, c, 1] * j + maps[b, c, 2] * k
                start += m[b, side, r, c] * (at + line[b, 0, 8 + c])
                change += m[b, side, r, c] * (maps[b, c, 0] * stride + line[b, 1, 8 + c])
            ends[side, 0, r] = start - n * np.floor(start / n)
            ends[side, 1, r] = change


@_inlined
def _deepest(line):  # type: ignore[no-untyped-def]
    """Return the bone that reaches deepest on a line, and how deep."""
    best, depth = 0, line[0, 0, 0] + max(line[0, 1, 0], ZERO)
    for b in range(1, line.shape[0]):
        other = line[b, 0, 0] + max(line[b, 1, 0], ZERO)
        if other > depth:
            best, depth = b, other
    return best, depth


@_compiled
def _knots(bones, soft, starts, steps, fields, softs) -> None:  # type: ignore[no-untyped-def]
    """Fill `fields` (bones, knots, channels) and `softs` (knots, channels) along one row of knots."""
    for n in range(softs.shape[0]):
        for b in range(len(bones)):
            x, y = starts[b, 0] + n * steps[b, 0], starts[b, 1] + n * steps[b, 1]
            z = starts[b, 2] + n * steps[b, 2]
            _sample(bones[b], x, y, z, fields[b, n])
        t = min(max(0.5 + (starts[1, 2] + n * steps[1, 2]) / 40.0, 0.0), 1.0)
        x = t * (starts[0, 0] + n * steps[0, 0]) + (1 - t) * (starts[1, 0] + n * steps[1, 0])
        y = t * (starts[0, 1] + n * steps[0, 1]) + (1 - t) * (starts[1, 1] + n * steps[1, 1])
        z = t * (starts[0, 2] + n * steps[0, 2]) + (1 - t) * (starts[1, 2] + n * steps[1, 2])
        _sample(soft, x, y, z, softs[n])


@_compiled
def _beam(  # type: ignore[no-untyped-def]
    mineral, label, tile, m, g, bend, roots, bricks, softs, first, maps, line, soft, ends, k0, j0,
    sizes, voxel, sharp,
) -> None:  # fmt: skip
    """Fill a row of bricks of `mineral` and `label` from plane `k0` and row `j0` on.

    `first` is the position of its first point in each bone's frame; `bricks` are the channels at its corners
    (bones, 2, 2, knots, channel), `softs` (1, 2, 2, knots, channel) those of soft tissue;
    `line`, `soft` and `ends` are room to work in.
    """
    stride, across, deep = sizes
    per_voxel, period = ONE / voxel, tile.shape[0] - 1
    nk, nj, ni = min(deep, mineral.shape[0] - k0), min(across, mineral.shape[1] - j0), mineral.shape[2]
    for n in range(bricks.shape[3] - 1):
        start, stop = n * stride, min((n + 1) * stride, ni)
        for k in range(nk):
            for j in range(nj):
                s, t = np.float32(k) / np.float32(deep), np.float32(j) / np.float32(across)
                for bone in range(bricks.shape[0]):
                    _bone_line(bricks, bone, n, s, t, line)
                b, deepest = _deepest(line)
                if deepest > -voxel:
                    _tile_ends(m, b, line, first, maps, (start, j, k), stride, period, ends)
                if line[b, 0, 0] + min(line[b, 1, 0], ZERO) <= 0:
                    _bone_line(softs, 0, n, s, t, soft)
                for i in range(start, stop):
                    w = np.float32(i - start) / np.float32(stride)
                    depth = _lerp(line, b, w, 0)
                    outer = HALF + depth * per_voxel
                    solid, code = ZERO, 0
                    if outer > 0:
                        solid, code = _bone(tile, g, bend, roots, ends, line, b, w, depth, per_voxel, sharp)
                    if depth <= 0:
                        code = _soft(line, soft, w, deepest)
                    mineral[k0 + k, j0 + j, i] = solid * min(outer, ONE)
                    label[k0 + k, j0 + j, i] = code


@_compiled_outermost
def compose_bricks(  # type: ignore[no-untyped-def]
    mineral, label, bones, soft, maps, tile, m, g, roots, sharp
) -> None:
    """Fill `mineral` and `label` (z, y, x); `maps` (bones, 3, 4) from (i, j, k, 1) to each bone's frame.

    Channels are read at the corners of bricks, `KNOT_MM` apart at most,
    and interpolated linearly between them.
    """
    nk, nj, ni = mineral.shape
    nb, nc, ns = len(bones), bones[0].values.shape[3], soft.values.shape[3]
    size = np.sqrt((maps[0, :, :3] ** 2).sum(axis=0))
    voxel = np.float32((size[0] * size[1] * size[2]) ** (1 / 3))
    stride, across, deep = (
        max(int(KNOT_MM / size[0]), 1),
        max(int(KNOT_MM / size[1]), 1),
        max(int(KNOT_MM / size[2]), 1),
    )
    knots = (ni - 1) // stride + 2
    bricks, softs = np.zeros((nb, 2, 2, knots, nc), np.float32), np.zeros((1, 2, 2, knots, ns), np.float32)
    row = np.zeros((nb, knots, nc), np.float32)
    line, around, ends = (
        np.zeros((nb, 2, nc), np.float32),
        np.zeros((1, 2, ns), np.float32),
        np.zeros((2, 2, 3), np.float32),
    )
    steps = np.ascontiguousarray(maps[:, :, 0]) * stride
    bend = np.ones(nb, np.float32)
    for b in range(nb):
        bend[b] -= CURVATURE * (g[b, 0] ** 2).sum()
    for k in range(0, nk, deep):
        for j in range(-across, nj, across):  # the first turn only reads the knots in front
            for e in range(2):
                bricks[:, e, 0], softs[0, e, 0] = bricks[:, e, 1], softs[0, e, 1]
                starts = maps[:, :, 1] * (j + across) + maps[:, :, 2] * (k + e * deep) + maps[:, :, 3]
                _knots(bones, soft, starts, steps, row, softs[0, e, 1])
                bricks[:, e, 1] = row
            if j >= 0:
                first = maps[:, :, 1] * j + maps[:, :, 2] * k + maps[:, :, 3]
                sizes = stride, across, deep
                _beam(
                    mineral, label, tile, m, g, bend, roots, bricks, softs, first, maps, line, around, ends,
                    k, j,
                    sizes, voxel, sharp,
                )  # fmt: skip
