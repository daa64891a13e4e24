"""Painting the many small balls: the voxels not yet painted as bricks of 4x4x4, one 64-bit word each.

A ball is a short list of bricks and masks, the same for all centres with one radius and one position in their
brick. The common case 'all painted already' costs one AND per brick and no branch:
a third of the time of rows.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.balls import SIDE, TIE, Reach, Squared, set_ball_shape
from srrd_ray.morphometry.compiled import compiled, inlined, trailing_zeros

Words: TypeAlias = NDArray[np.uint64]
Index: TypeAlias = NDArray[np.int32] | NDArray[np.int64]

WIDEST = 10
"""Radius in voxels up to which bricks are used: above, rows and their unions are faster."""
FEWEST = 300
"""Balls of one radius from which on its lists pay."""


def first_small(radii: Squared, finest: float) -> int:
    """Return where in the descending squared `radii` bricks begin to pay; their number where nowhere."""
    starts = np.concatenate([[0], np.flatnonzero(radii[1:] != radii[:-1]) + 1, [len(radii)]])
    pays = (np.diff(starts) >= FEWEST) & (radii[starts[:-1]] <= (WIDEST * finest) ** 2)
    return int(starts[np.argmax(pays)]) if pays.any() else len(radii)


@compiled
def paint_bricks(
    order: Index, radii: Squared, rows: Words, steps: NDArray[np.float64], out: Squared, first: int, last: int
) -> None:
    """Paint balls on the planes `first` to `last` of `out`: only the voxels whose bit is set in `rows`."""
    _, ny, nx = out.shape
    tz, ty, tx = (np.sqrt(radii[0] * (1 + TIE)) / steps).astype(np.int64)
    margin = ((2 * tz) // SIDE + 2, ty // SIDE + 2, tx // SIDE + 2)
    bricks = _pack_bricks(rows, first, last, margin, nx)
    _, by, bx = bricks.shape
    flat = bricks.ravel()
    most = ((2 * tz) // SIDE + 2) * ((2 * ty) // SIDE + 2) * ((2 * tx) // SIDE + 2)
    offsets, masks = np.empty((64, most), np.int32), np.empty((64, most), np.uint64)
    counts = np.zeros(64, np.int64)
    half, reach = np.zeros((tz + 1, ty + 1), np.int32), np.zeros(tz + 1, np.int32)
    value, top = 0 * radii[0], 0
    for i in range(order.shape[0]):
        if radii[i] != value:
            value = radii[i]
            top = set_ball_shape(value * (1 + TIE), steps, half, reach)
            counts[:] = 0
        row, cx = divmod(order[i], nx)
        cz, cy = divmod(row, ny)
        if cz + top < first or cz - top >= last:
            continue
        position = (cz & 3) << 4 | (cy & 3) << 2 | (cx & 3)
        if counts[position] == 0:
            counts[position] = _list_bricks(
                position, half, reach, (top, by * bx, bx), offsets[position], masks[position]
            )
        base = (
            (((cz - first) >> 2) + margin[0]) * by * bx + ((cy >> 2) + margin[1]) * bx + (cx >> 2) + margin[2]
        )
        unpainted = np.uint64(0)
        for j in range(counts[position]):
            unpainted |= flat[base + offsets[position, j]] & masks[position, j]
        if unpainted == 0:
            continue
        for j in range(counts[position]):
            at = base + offsets[position, j]
            bits = flat[at] & masks[position, j]
            if bits != 0:
                flat[at] ^= bits
                z, rest = divmod(at, by * bx)
                y, x = divmod(rest, bx)
                _write(
                    out,
                    first + (z - margin[0]) * SIDE,
                    (y - margin[1]) * SIDE,
                    (x - margin[2]) * SIDE,
                    bits,
                    value,
                )


@compiled
def _pack_bricks(rows: Words, first: int, last: int, margin: tuple[int, int, int], nx: int) -> Words:
    """Return the bricks of a slab, bit ``16 z + 4 y + x`` of each,
    with `margin` empty bricks before and after each axis.
    """
    mz, my, mx = margin
    ny = rows.shape[1]
    across = (nx + SIDE - 1) // SIDE
    shape = ((last - first + SIDE - 1) // SIDE + 2 * mz, (ny + SIDE - 1) // SIDE + 2 * my, across + 2 * mx)
    bricks = np.zeros(shape, np.uint64)
    for z in range(first, last):
        for y in range(ny):
            shift = np.uint64((z & 3) * 16 + (y & 3) * 4)
            line = bricks[((z - first) >> 2) + mz, (y >> 2) + my]
            for b in range(across):
                four = (rows[z, y, b >> 4] >> np.uint64((b & 15) * 4)) & np.uint64(15)
                line[b + mx] |= four << shift
    return bricks


@compiled
def _list_bricks(
    position: int,
    half: Reach,
    reach: Reach,
    sizes: tuple[int, int, int],
    offsets: NDArray[np.int32],
    masks: Words,
) -> int:
    """Set flat offsets and masks of the bricks of a ball with its centre at `position` in its brick;
    return their number.

    `sizes`: reach of the ball along z, bricks a plane, bricks a row.
    """
    top, plane, line = sizes
    cz, cy, cx = position >> 4, position >> 2 & 3, position & 3
    count = 0
    for z in range((cz - top) >> 2, ((cz + top) >> 2) + 1):
        for y in range((cy - reach[0]) >> 2, ((cy + reach[0]) >> 2) + 1):
            for x in range((cx - half[0, 0]) >> 2, ((cx + half[0, 0]) >> 2) + 1):
                bits = _mask(z * SIDE - cz, y * SIDE - cy, x * SIDE - cx, half, reach, top)
                if bits != 0:
                    offsets[count] = z * plane + y * line + x
                    masks[count] = bits
                    count += 1
    return count


@compiled
def _mask(z: int, y: int, x: int, half: Reach, reach: Reach, top: int) -> np.uint64:
    """Return the bits of the ball in a brick whose first voxel lies (z, y, x) from the centre."""
    bits = np.uint64(0)
    for k in range(SIDE):
        dz = abs(z + k)
        for j in range(SIDE if dz <= top else 0):
            dy = abs(y + j)
            if dy <= reach[dz]:
                a, e = max(-half[dz, dy] - x, 0), min(half[dz, dy] - x, SIDE - 1)
                if a <= e:
                    run = (np.uint64(1) << np.uint64(e - a + 1)) - np.uint64(1)
                    bits |= run << np.uint64(k * 16 + j * 4 + a)
    return bits


@inlined
def _write(out: Squared, z: int, y: int, x: int, bits: np.uint64, value: float) -> None:
    while bits != 0:
        at = trailing_zeros(bits)
        out[z + (at >> 4), y + (at >> 2 & 3), x + (at & 3)] = value
        bits &= bits - np.uint64(1)
