"""The compiled loop of `compose`: brick by brick, its corners first, then every point.

A brick is about `KNOT_MM` wide: its points read neighbouring nodes of the texture's tile,
which then stay in the cache, whatever the direction of the grid.
"""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel
from srrd_ray.simulation.tissue_kernel import FAR_MM, inlined, lerp, soft_label
from srrd_ray.simulation.trabeculae_kernel import HALF, ONE, ZERO, trabecular, trabecular_sharp

KNOT_MM = 1.25
WITH_PATELLA_MM = np.float32(9.0)
"""How far from the patella soft tissue still follows it."""
NEVER_MM = np.float32(-1e9)
COMPACT_MINERAL = np.float32(0.93)
"""Mineralised part of compact bone."""
CYST_RIM_MM = np.float32(0.45)

_FLOATS = {"nnan", "ninf", "nsz"}
# _nrt=False: these functions make no arrays, and counting references to
# those they are given costs more than a point
_compiled = kernel(nogil=True, error_model="numpy", fastmath=_FLOATS, _nrt=False)
_compiled_outermost = kernel(nogil=True, error_model="numpy")


@_compiled
def _sample(table, x, y, z, far, out) -> None:  # type: ignore[no-untyped-def]
    """Read all channels of `table` at (x, y, z) mm into the vector `out`; the border value outside.

    Where the first is below `far` the others are not read.
    """
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
    if out[0] < far:
        out[1:] = 0
        return
    for c in range(1, nc):
        low = w00 * row000[c] + w01 * row010[c] + w10 * row100[c] + w11 * row110[c]
        high = w00 * row001[c] + w01 * row011[c] + w10 * row101[c] + w11 * row111[c]
        out[c] = a * low + b * high


@inlined
def _thickness(table, fraction, rod):  # type: ignore[no-untyped-def]
    """Return T of `trabeculae.thickness_table` for one fraction and λ."""
    u = min(max(fraction * np.float32(100), ZERO), np.float32(94.99))
    v = min(max(rod * np.float32(20), ZERO), np.float32(19.99))
    i, j = int(u), int(v)
    s, t = u - np.float32(i), v - np.float32(j)
    low = table[i, j] + t * (table[i, j + 1] - table[i, j])
    high = table[i + 1, j] + t * (table[i + 1, j + 1] - table[i + 1, j])
    return low + s * (high - low)


@inlined
def _bone(tile, fabric, plates, ends, line, b, w, depth, per_voxel, sharp):  # type: ignore[no-untyped-def]
    """Return mineral fraction and label of a point of bone `b`."""
    shell = HALF + (lerp(line, b, w, 2) - depth) * per_voxel
    if shell >= 1:
        return COMPACT_MINERAL, 9
    cyst = lerp(line, b, w, 6)
    if cyst > -CYST_RIM_MM:
        return (ZERO, 8) if cyst > 0 else (COMPACT_MINERAL, 9)
    fraction, rod = lerp(line, b, w, 3), lerp(line, b, w, 4)
    q, axes, slope, voxel = fabric[0][b], fabric[1][b], fabric[2][b], fabric[3][b]
    thick = _thickness(plates, fraction, rod) / slope
    if sharp:
        mineral = trabecular_sharp(tile, ends, w, q, slope, rod, thick)
    else:
        mineral = trabecular(tile, ends, w, q, axes, voxel, slope, rod, thick)
    if shell > 0:
        mineral = max(mineral, shell * COMPACT_MINERAL)
        if shell > HALF:
            return mineral, 9
    water = int(min(max(lerp(line, b, w, 5), ZERO), ONE) * np.float32(7) + HALF)
    return mineral, 64 + 16 * water + int(min(max(fraction * np.float32(25) + HALF, ZERO), np.float32(15)))


@inlined
def _bone_line(corners, bone, n, s, t, far, out) -> None:  # type: ignore[no-untyped-def]
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
        if c == 0 and low < far and high < far:
            return  # too far outside for any other channel to be read


@inlined
def _tile_ends(m, b, line, first, maps, ijk, stride, n, ends) -> None:  # type: ignore[no-untyped-def]
    """Fill `ends` (2 pairs, 2, 3): start and change in the tile of a line of bone `b`, its warp added,
    for both pairs of fields.

    `m` is (bones, 2, 3, 4), to the tile of `n` cells; `first` and `maps` give the position of (i, j, k) in
    the bone, mm.
    """
    i, j, k = ijk
    for pair in range(2):
        for r in range(3):
            start, change = m[b, pair, r, 3], 0.0
            for c in range(3):
                at = first[b, c] + maps[b, c, 0] * i + maps[b, c, 1] * j + maps[b, c, 2] * k
                start += m[b, pair, r, c] * (at + line[b, 0, 7 + c])
                change += m[b, pair, r, c] * (maps[b, c, 0] * stride + line[b, 1, 7 + c])
            ends[pair, 0, r] = start - n * np.floor(start / n)
            ends[pair, 1, r] = change


@inlined
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
    """Fill `fields` (bones, knots, channels) and `softs` (knots, channels) along one row of knots.

    Soft tissue goes with the femur above the joint, the tibia below it, and the patella around it.
    """
    for n in range(softs.shape[0]):
        for b in range(len(bones)):
            x, y = starts[b, 0] + n * steps[b, 0], starts[b, 1] + n * steps[b, 1]
            z = starts[b, 2] + n * steps[b, 2]
            _sample(bones[b], x, y, z, FAR_MM, fields[b, n])
        t = min(max(0.5 + (starts[1, 2] + n * steps[1, 2]) / 40.0, 0.0), 1.0)
        p = 0.0
        if len(bones) > 3:
            p = min(max(1.0 + fields[3, n, 0] / WITH_PATELLA_MM, 0.0), 1.0)
        r, q = (1 - p) * t, (1 - p) * (1 - t)
        x = r * (starts[0, 0] + n * steps[0, 0]) + q * (starts[1, 0] + n * steps[1, 0])
        y = r * (starts[0, 1] + n * steps[0, 1]) + q * (starts[1, 1] + n * steps[1, 1])
        z = r * (starts[0, 2] + n * steps[0, 2]) + q * (starts[1, 2] + n * steps[1, 2])
        if p > 0:
            x += p * (starts[3, 0] + n * steps[3, 0])
            y += p * (starts[3, 1] + n * steps[3, 1])
            z += p * (starts[3, 2] + n * steps[3, 2])
        _sample(soft, x, y, z, NEVER_MM, softs[n])


@_compiled
def _beam(  # type: ignore[no-untyped-def]
    mineral, label, tile, m, fabric, plates, bricks, softs, first, maps, line, soft, ends, k0, j0,
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
                    _bone_line(bricks, bone, n, s, t, FAR_MM, line)
                b, deepest = _deepest(line)
                if deepest > -voxel:
                    _tile_ends(m, b, line, first, maps, (start, j, k), stride, period, ends)
                if line[b, 0, 0] + min(line[b, 1, 0], ZERO) <= 0:
                    _bone_line(softs, 0, n, s, t, NEVER_MM, soft)
                for i in range(start, stop):
                    w = np.float32(i - start) / np.float32(stride)
                    depth = lerp(line, b, w, 0)
                    outer = HALF + depth * per_voxel
                    solid, code = ZERO, 0
                    if outer > 0:
                        solid, code = _bone(tile, fabric, plates, ends, line, b, w, depth, per_voxel, sharp)
                    if depth <= 0:
                        code = soft_label(line, soft, w, deepest)
                    mineral[k0 + k, j0 + j, i] = solid * min(outer, ONE)
                    label[k0 + k, j0 + j, i] = code


@_compiled_outermost
def compose_bricks(  # type: ignore[no-untyped-def]
    mineral, label, bones, soft, maps, tile, m, fabric, plates, sharp
) -> None:
    """Fill `mineral` and `label` (z, y, x); `maps` (bones, 3, 4) from (i, j, k, 1) to each bone's frame.

    Channels are read at the corners of bricks, `KNOT_MM` apart at most, and interpolated linearly between
    them.
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
                    mineral, label, tile, m, fabric, plates, bricks, softs, first, maps, line, around, ends,
                    k, j,
                    sizes, voxel, sharp,
                )  # fmt: skip
