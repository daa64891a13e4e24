"""Painting balls: every voxel of a phase gets the largest squared radius of the balls that cover it.

Balls are painted in descending radius over a bit mask of the voxels not yet painted, one 64-bit word a row of
64 voxels, so that each voxel is written once. Most balls are painted already: the unions of four rows, and of
four planes of these, show it in few tests. Threads own z planes, so there are no locks and the result does
not depend on their number. The radii are painted over the distances themselves:
after the sort these are no longer read.

One kernel serves both units: squared voxels (int32, exact) and mm² (float64).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.balls import (
    SIDE,
    TIE,
    Squared,
    Steps,
    find_uncovered_centres,
    run_over_slabs,
    set_ball_shape,
)
from srrd_ray.morphometry.bricks import Index, Words, first_small, paint_bricks
from srrd_ray.morphometry.compiled import compiled, inlined, trailing_zeros

SHIFT = 2
"""Rows and planes are united by SIDE = 2**SHIFT: four pay more than eight on the fields of the benchmark."""

_BINS = 1 << 14
"""Bins of squared float radius in the table of covered balls;
upper edges count, so that no ball is dropped wrongly.
"""


def paint_voxels(squared: NDArray[np.int32], *, beyond: bool, threads: int) -> None:
    """Replace integer squared distances by the largest squared radius
    that covers each voxel of the phase (> 0).

    `beyond`: balls also paint the voxels of the other phase that they reach (their rim,
    at a distance of just D).
    """
    limit = int(squared.max(initial=0))
    if limit == 0:
        return
    keep = find_uncovered_centres(squared, (1.0, 1.0, 1.0), limit + 1, 1.0, threads)
    order, radii = _descending(squared, keep, limit)
    del keep
    _paint(squared, order, radii, (1.0, 1.0, 1.0), beyond=beyond, threads=threads)


def paint_mm(squared: NDArray[np.float64], spacing_mm: Steps, *, beyond: bool, threads: int) -> None:
    """Replace squared distances in mm² by the largest squared radius that covers each voxel;
    see `paint_voxels`.
    """
    limit = float(squared.max(initial=0.0))
    if limit == 0.0:
        return
    bins = min(_BINS, squared.size)
    kept = np.flatnonzero(
        find_uncovered_centres(squared, spacing_mm, bins, limit * (1 + 1e-9) / bins, threads)
    )
    order = kept[np.argsort(-squared.ravel()[kept], kind="stable")]
    _paint(squared, order, squared.ravel()[order], spacing_mm, beyond=beyond, threads=threads)


def _paint(out: Squared, order: Index, radii: Squared, steps: Steps, *, beyond: bool, threads: int) -> None:
    """Paint the large balls over rows and the small ones over bricks, slab by slab."""
    sizes = np.asarray(steps)
    small = first_small(radii, min(steps))
    rows = pack(out, beyond=beyond)
    united = unite_words(rows, 1)
    blocks = unite_words(united, 0)

    def slab(first: int, last: int) -> None:
        if small > 0:
            _paint_balls(order[:small], radii[:small], rows, united, blocks, sizes, out, first, last)
        if small < len(order):
            paint_bricks(order[small:], radii[small:], rows, sizes, out, first, last)

    run_over_slabs(slab, out.shape[0], threads)


def _descending(
    squared: NDArray[np.int32], keep: NDArray[np.uint8], limit: int
) -> tuple[Index, NDArray[np.int32]]:
    """Return flat indices of the kept centres by descending squared radius (raster order within one),
    and those radii.
    """
    starts = np.zeros(limit + 2, dtype=np.int64)
    _count_centres(squared.ravel(), keep.ravel(), starts)
    np.cumsum(starts, out=starts)
    order: Index = (
        np.zeros(int(starts[-1]), dtype=np.int32)
        if squared.size < 2**31
        else np.zeros(int(starts[-1]), dtype=np.int64)
    )
    radii = np.repeat(np.arange(limit, -1, -1, dtype=np.int32), np.diff(starts))
    _fill(squared.ravel(), keep.ravel(), starts[:-1].copy(), order)
    return order, radii


@compiled
def _count_centres(squared: NDArray[np.int32], keep: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
    limit = starts.shape[0] - 2
    for i in range(squared.shape[0]):
        if keep[i]:
            starts[limit - squared[i] + 1] += 1


@compiled
def _fill(
    squared: NDArray[np.int32], keep: NDArray[np.uint8], cursor: NDArray[np.int64], order: Index
) -> None:
    limit = cursor.shape[0] - 1
    for i in range(squared.shape[0]):
        if keep[i]:
            at = limit - squared[i]
            order[cursor[at]] = i
            cursor[at] += 1


def pack(squared: Squared, *, beyond: bool = False) -> Words:
    """Return (z, y, ceil(x/64)) words whose bit x%64 is set where `squared` is positive;
    on the whole grid where `beyond`.
    """
    nz, ny, nx = squared.shape
    words = np.zeros((nz, ny, (nx + 63) // 64), dtype=np.uint64)
    if beyond:
        words[...] = 2**64 - 1
        words[..., -1] >>= np.uint64(-nx % 64)
    else:
        _pack(squared, words)
    return words


@compiled
def _pack(squared: Squared, words: Words) -> None:
    nz, ny, nx = squared.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if squared[z, y, x] > 0:
                    words[z, y, x >> 6] |= np.uint64(1) << np.uint64(x & 63)


@inlined
def paint_row(words: Words, row: Squared, first: int, last: int, value: float) -> None:
    """Write `value` on the unpainted voxels of a row from `first` to `last`, and clear their bits."""
    full = np.uint64(0xFFFFFFFFFFFFFFFF)
    for w in range(first >> 6, (last >> 6) + 1):
        bits = words[w]
        if bits == 0:
            continue
        if w == first >> 6:
            bits &= full << np.uint64(first & 63)
        if w == last >> 6:
            bits &= full >> np.uint64(63 - (last & 63))
        words[w] ^= bits
        while bits != 0:
            row[(w << 6) + trailing_zeros(bits)] = value
            bits &= bits - np.uint64(1)


@inlined
def _any_left(block: Words, first: int, last: int) -> bool:
    """Return whether a bit from `first` to `last` is set in the united rows of a block."""
    full = np.uint64(0xFFFFFFFFFFFFFFFF)
    found = False
    for w in range(first >> 6, (last >> 6) + 1):
        bits = block[w]
        if w == first >> 6:
            bits &= full << np.uint64(first & 63)
        if w == last >> 6:
            bits &= full >> np.uint64(63 - (last & 63))
        found = found or bits != 0
    return found


@inlined
def _unite(rows: Words, block: Words, first: int, last: int) -> None:
    """Set the words `first` to `last` of `block` to the union of those of its rows."""
    for w in range(first, last + 1):
        bits = np.uint64(0)
        for y in range(rows.shape[0]):
            bits |= rows[y, w]
        block[w] = bits


def unite_words(words: Words, axis: int) -> Words:
    """Return the union of every `SIDE` rows (axis 1) or planes (axis 0)."""
    united: Words = np.bitwise_or.reduceat(words, np.arange(0, words.shape[axis], SIDE), axis=axis)
    return united


@compiled
def _paint_balls(
    order: Index,
    radii: Squared,
    rows: Words,
    united: Words,
    blocks: Words,
    steps: NDArray[np.float64],
    out: Squared,
    first: int,
    last: int,
) -> None:
    _, ny, nx = out.shape
    widest = np.sqrt(radii[0] * (1 + TIE))
    half = np.zeros((int(widest / steps[0]) + 1, int(widest / steps[1]) + 1), np.int32)
    reach = np.zeros(half.shape[0], np.int32)
    value, top = 0 * radii[0], 0
    for i in range(order.shape[0]):
        if radii[i] != value:
            value = radii[i]
            top = set_ball_shape(value * (1 + TIE), steps, half, reach)
        row, cx = divmod(order[i], nx)
        cz, cy = divmod(row, ny)
        low, high = max(cz - top, first), min(cz + top, last - 1)
        for zb in range(low >> SHIFT, (high >> SHIFT) + 1):
            dz = abs(min(max(cz, zb * SIDE), zb * SIDE + SIDE - 1) - cz)
            near, far = max(cy - reach[dz], 0), min(cy + reach[dz], ny - 1)
            for yb in range(near >> SHIFT, (far >> SHIFT) + 1):
                dy = abs(min(max(cy, yb * SIDE), yb * SIDE + SIDE - 1) - cy)
                a, e = max(cx - half[dz, dy], 0), min(cx + half[dz, dy], nx - 1)
                if not _any_left(blocks[zb, yb], a, e):
                    continue
                for z in range(max(low, zb * SIDE), min(high, zb * SIDE + SIDE - 1) + 1):
                    away = abs(z - cz)
                    if dy > reach[away]:
                        continue
                    left, right = max(cx - half[away, dy], 0), min(cx + half[away, dy], nx - 1)
                    if not _any_left(united[z, yb], left, right):
                        continue
                    for y in range(
                        max(cy - reach[away], yb * SIDE),
                        min(cy + reach[away], yb * SIDE + SIDE - 1, ny - 1) + 1,
                    ):
                        wide = half[away, abs(y - cy)]
                        paint_row(rows[z, y], out[z, y], max(cx - wide, 0), min(cx + wide, nx - 1), value)
                    _unite(rows[z, yb * SIDE : (yb + 1) * SIDE], united[z, yb], left >> 6, right >> 6)
                _unite(united[zb * SIDE : (zb + 1) * SIDE, yb], blocks[zb, yb], a >> 6, e >> 6)
