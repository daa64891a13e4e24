"""The compiled trabecular structure at one point: four fields, the distances to three walls, and how much
of a voxel they fill. See `trabeculae` for what the structure is.
"""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel

SOFT_SLOPE, STEEPEST = np.float32(0.9), np.float32(2.8)
"""Least and largest slope by which a difference of two fields becomes a distance, in root mean square
slopes of a field: the first keeps flat places from becoming thin rough walls, the second bounds how near a
wall can be.
"""
HALF, QUARTER, ONE, ZERO, TINY = (np.float32(value) for value in (0.5, 0.25, 1, 0, 1e-3))
NEAREST = np.float32(1e-4)
"""Least distance, mm."""

_FLOATS = {"nnan", "ninf", "nsz"}
inlined = kernel(error_model="numpy", fastmath=_FLOATS, forceinline=True, _nrt=False)


@inlined
def _corners(tile, c, k, j, i):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile at the corners of the cell (k, j, i), x fastest."""
    f = np.float32
    return (
        f(tile[k, j, i, c]), f(tile[k, j, i + 1, c]), f(tile[k, j + 1, i, c]), f(tile[k, j + 1, i + 1, c]),
        f(tile[k + 1, j, i, c]), f(tile[k + 1, j, i + 1, c]),
        f(tile[k + 1, j + 1, i, c]), f(tile[k + 1, j + 1, i + 1, c]),
    )  # fmt: skip


@inlined
def _value(tile, c, at):  # type: ignore[no-untyped-def]
    """Return field `c` of the tile at a fraction of a cell."""
    k, j, i, x, y, z = at
    a000, a001, a010, a011, a100, a101, a110, a111 = _corners(tile, c, k, j, i)
    b00, b01 = a000 + x * (a001 - a000), a010 + x * (a011 - a010)
    b10, b11 = a100 + x * (a101 - a100), a110 + x * (a111 - a110)
    c0, c1 = b00 + y * (b01 - b00), b10 + y * (b11 - b10)
    return c0 + z * (c1 - c0)


@inlined
def _slope(tile, c, at):  # type: ignore[no-untyped-def]
    """Return the derivatives of field `c` along the tile's x, y, z at a fraction of a cell."""
    k, j, i, x, y, z = at
    a000, a001, a010, a011, a100, a101, a110, a111 = _corners(tile, c, k, j, i)
    d00, d01, d10, d11 = a001 - a000, a011 - a010, a101 - a100, a111 - a110
    b00, b01, b10, b11 = a000 + x * d00, a010 + x * d01, a100 + x * d10, a110 + x * d11
    e0, e1 = b01 - b00, b11 - b10
    dx0, dx1 = d00 + y * (d01 - d00), d10 + y * (d11 - d10)
    return dx0 + z * (dx1 - dx0), e0 + z * (e1 - e0), b10 + y * e1 - b00 - y * e0


@inlined
def _cell(ends, pair, w, n):  # type: ignore[no-untyped-def]
    """Return the cell (k, j, i) of the periodic tile at `w` between two ends of a line, and the fraction in
    it.
    """
    x = _wrapped(ends[pair, 0, 0] + w * ends[pair, 1, 0], n)
    y = _wrapped(ends[pair, 0, 1] + w * ends[pair, 1, 1], n)
    z = _wrapped(ends[pair, 0, 2] + w * ends[pair, 1, 2], n)
    i, j, k = int(x), int(y), int(z)
    return k, j, i, x - np.float32(i), y - np.float32(j), z - np.float32(k)


@inlined
def _wrapped(x, n):  # type: ignore[no-untyped-def]
    """Return `x`, less than one period outside, within the tile of `n` cells."""
    x = x + n if x < 0 else x
    x = x - n if x >= n else x
    return min(max(x, ZERO), n - TINY)


@inlined
def _first(f, tile, c, at, q):  # type: ignore[no-untyped-def]
    """Return value `f` and slope of field `c` of the first pair along the fabric's axes, a mm."""
    x, y, z = _slope(tile, c, at)
    return f, q[0, 0] * x, q[0, 1] * y, q[0, 2] * z


@inlined
def _second(f, tile, c, at, q):  # type: ignore[no-untyped-def]
    """Return value `f`, slope of field `c` of the second pair: its tile axes are the fabric's (y, z, x)."""
    y, z, x = _slope(tile, c, at)
    return f, q[1, 0] * x, q[1, 1] * y, q[1, 2] * z


@inlined
def _wall(top, other, slope):  # type: ignore[no-untyped-def]
    """Return the distance to the wall between two fields (value, slope x, y, z), mm, and the slope of it."""
    x, y, z = top[1] - other[1], top[2] - other[2], top[3] - other[3]
    soft = SOFT_SLOPE * slope
    per_width = ONE / min(np.sqrt(x * x + y * y + z * z + soft * soft), STEEPEST * slope)
    return max((top[0] - other[0]) * per_width, NEAREST), x * per_width, y * per_width, z * per_width


@inlined
def _swapped(a, b, first):  # type: ignore[no-untyped-def]
    """Return `a` and `b`, in this order where `first`."""
    return (a, b) if first else (b, a)


@inlined
def _is_marrow(f, g, p, q, limit, rod):  # type: ignore[no-untyped-def]
    """Return whether no wall can be so near, however steep, that it reaches the point."""
    # the largest field's own difference is left out: of both pairs the smaller, then the lesser of the larger
    top = max(max(f, g), max(p, q))
    x, y, z = top - min(f, g), top - min(p, q), top - min(max(f, g), max(p, q))
    low, high = min(x, min(y, z)), max(x, max(y, z))
    middle = x + y + z - low - high
    harmonic = x * y * z / (x * y + y * z + z * x + TINY)
    return harmonic * harmonic + rod * rod * middle * middle > limit * limit


@inlined
def _walls(tile, at_one, at_two, values, q, slope):  # type: ignore[no-untyped-def]
    """Return the three walls round a point, the nearest first."""
    f, g, p, r = values
    a, b = _first(f, tile, 0, at_one, q), _first(g, tile, 1, at_one, q)
    c, d = _second(p, tile, 0, at_two, q), _second(r, tile, 1, at_two, q)
    a, b = _swapped(a, b, a[0] >= b[0])
    a, c = _swapped(a, c, a[0] >= c[0])
    a, d = _swapped(a, d, a[0] >= d[0])
    b, c, d = _wall(a, b, slope), _wall(a, c, slope), _wall(a, d, slope)
    b, c = _swapped(b, c, b[0] <= c[0])
    b, d = _swapped(b, d, b[0] <= d[0])
    c, d = _swapped(c, d, c[0] <= d[0])
    return b, c, d


@inlined
def _half(second, third, rod, thick):  # type: ignore[no-untyped-def]
    """Return the half thickness of the nearest wall where the others are so far, mm; 0 in a window."""
    low, high = max(second, NEAREST), max(third, NEAREST)
    plate = np.sqrt(max(thick * thick - rod * rod * low * low, ZERO))
    free = low * high - plate * (low + high)
    return plate * low * high / max(free, NEAREST * NEAREST)


@inlined
def trabecular_sharp(tile, ends, w, q, slope, rod, thick):  # type: ignore[no-untyped-def]
    """Return 1 where the point lies in a trabecula, else 0."""
    n = np.float32(tile.shape[0] - 1)
    one, two = _cell(ends, 0, w, n), _cell(ends, 1, w, n)
    values = _value(tile, 0, one), _value(tile, 1, one), _value(tile, 0, two), _value(tile, 1, two)
    if _is_marrow(values[0], values[1], values[2], values[3], STEEPEST * slope * thick, rod):
        return ZERO
    near, second, third = _walls(tile, one, two, values, q, slope)
    return ONE if near[0] < _half(second[0], third[0], rod, thick) else ZERO


@inlined
def _along(wall, axes):  # type: ignore[no-untyped-def]
    """Return the change of the distance to a wall for a step along (i, j, k), mm."""
    return (
        wall[1] * axes[0, 0] + wall[2] * axes[1, 0] + wall[3] * axes[2, 0],
        wall[1] * axes[0, 1] + wall[2] * axes[1, 1] + wall[3] * axes[2, 1],
        wall[1] * axes[0, 2] + wall[2] * axes[1, 2] + wall[3] * axes[2, 2],
    )


@inlined
def _beyond(d, e, f):  # type: ignore[no-untyped-def]
    """Return the distances to the walls round a point, ascending, given those from the cell beside it:
    negative where the point lies beyond a wall, so that its own walls are that one and those between the
    other cells.
    """
    low = min(min(d, e), min(f, ZERO))
    d = -low if d <= low else d - low
    e = -low if e <= low else e - low
    f = -low if f <= low else f - low
    d, e = min(d, e), max(d, e)
    d, f = min(d, f), max(d, f)
    return d, min(e, f), max(e, f)


@inlined
def trabecular(tile, ends, w, q, axes, voxel, slope, rod, thick):  # type: ignore[no-untyped-def]
    """Return the part of a voxel that trabecular bone fills, from four points in it: at each a layer on both
    sides of a wall.

    A layer thinner than half the voxel counts by its thickness. `voxel` is half the voxel's diagonal, mm,
    and the factor by which distances seen from its centre shrink on average, for slopes grow towards a
    wall.
    """
    n = np.float32(tile.shape[0] - 1)
    one, two = _cell(ends, 0, w, n), _cell(ends, 1, w, n)
    values = _value(tile, 0, one), _value(tile, 1, one), _value(tile, 0, two), _value(tile, 1, two)
    reach, bend = voxel[0], voxel[1]
    reach *= ONE + HALF * rod * rod
    limit = (thick + reach) / bend
    if _is_marrow(values[0], values[1], values[2], values[3], STEEPEST * slope * limit, rod):
        return ZERO
    n0, s0, t0 = _walls(tile, one, two, values, q, slope)
    d0, e0, f0 = n0[0] * bend, s0[0] * bend, t0[0] * bend
    harmonic = d0 * e0 * f0 / (d0 * e0 + e0 * f0 + f0 * d0)
    middle = np.sqrt(harmonic * harmonic + rod * rod * e0 * e0)
    if middle > thick + reach:
        return ZERO
    if middle < thick - reach:
        return ONE
    ni, nj, nk = _along(n0, axes)
    si, sj, sk = _along(s0, axes)
    ti, tj, tk = _along(t0, axes)
    per_width = 2 / (np.sqrt(ni * ni + nj * nj + nk * nk) + NEAREST)
    total = ZERO
    for m in range(4):
        a, b = (QUARTER if m & 1 else -QUARTER), (QUARTER if m & 2 else -QUARTER)
        c = QUARTER if m == 0 or m == 3 else -QUARTER
        d, second, third = _beyond(
            d0 + a * ni + b * nj + c * nk, e0 + a * si + b * sj + c * sk, f0 + a * ti + b * tj + c * tk
        )
        half = _half(second, third, rod, thick)
        total += min(max(HALF + (half - d) * per_width, ZERO), ONE)
        total -= min(max(HALF - (half + d) * per_width, ZERO), ONE)
    return total * QUARTER
