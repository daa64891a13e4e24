"""Painting balls: every voxel of a phase gets the largest squared radius of the balls that cover it.

Balls are painted in descending radius over a bit mask of the voxels not yet painted, one 64-bit word a row of 64 voxels:
O(r²) row tests a ball, and each voxel is written once. Threads own z planes, so there are no locks and the result does
not depend on their number. The radii are painted over the distances themselves: after the sort these are no longer read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled, inlined, trailing_zeros

Words: TypeAlias = NDArray[np.uint64]
Index: TypeAlias = NDArray[np.int32] | NDArray[np.int64]
Squared: TypeAlias = NDArray[np.int32] | NDArray[np.float64]

TIE = 1e-12
"""Relative tolerance within which two float distances are one: equal distances by different sums are ties, and count."""


def over_slabs(work: Callable[[int, int], None], planes: int, threads: int) -> None:
    """Call `work(first, last)` on `threads` slabs of z planes; 0 threads: all cores of this process."""
    count = max(1, min(threads or len(os.sched_getaffinity(0)), planes))
    edges = np.linspace(0, planes, count + 1).astype(int)
    if count == 1:
        work(0, planes)
        return
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work, int(a), int(b)) for a, b in pairwise(edges)]:
            done.result()


def paint_voxels(squared: NDArray[np.int32], *, beyond: bool, threads: int) -> None:
    """Replace integer squared distances by the largest squared radius that covers each voxel of the phase (> 0).

    `beyond`: balls also paint the voxels of the other phase that they reach (their rim, at a distance of just D).
    """
    limit = int(squared.max(initial=0))
    if limit == 0:
        return
    keep = np.zeros(squared.shape, dtype=np.uint8)
    cover = _cover_table(limit)
    over_slabs(lambda a, b: _mark_voxels(squared, cover, keep, a, b), squared.shape[0], threads)
    order, radii = _descending(squared, keep, limit)
    words = pack(squared, beyond=beyond)
    blocks = _blocks_of(words)
    root = np.sqrt(np.arange(limit + 1)).astype(np.int32)
    over_slabs(lambda a, b: _paint_voxels(order, radii, words, blocks, root, squared, a, b), squared.shape[0], threads)


def paint_mm(
    squared: NDArray[np.float64], spacing_mm: tuple[float, float, float], *, beyond: bool, threads: int
) -> None:
    """Replace squared distances in mm² by the largest squared radius that covers each voxel; see `paint_voxels`."""
    flat = squared.ravel()
    kept = np.flatnonzero(flat)
    order = kept[np.argsort(-flat[kept], kind="stable")]
    radii = flat[order]
    words = pack(squared, beyond=beyond)
    steps = np.asarray(spacing_mm, dtype=np.float64)
    over_slabs(lambda a, b: _paint_mm(order, radii, words, steps, squared, a, b), squared.shape[0], threads)


def _cover_table(limit: int) -> NDArray[np.int32]:
    """Return (3, limit+1): the least squared radius of a ball that covers one of squared radius i, one step along 1, 2, 3 axes away."""
    table = np.zeros((3, limit + 1), dtype=np.int32)
    _fill_cover(table)
    np.maximum.accumulate(table, axis=1, out=table)
    return table


@compiled
def _fill_cover(table: NDArray[np.int32]) -> None:
    limit = table.shape[1] - 1
    top = int(np.sqrt(limit)) + 1
    for a in range(top + 1):
        for b in range(a + 1):
            for c in range(b + 1):
                m = a * a + b * b + c * c
                if m > limit:
                    break
                table[0, m] = max(table[0, m], m + 2 * a + 1)
                table[1, m] = max(table[1, m], m + 2 * (a + b) + 2)
                table[2, m] = max(table[2, m], m + 2 * (a + b + c) + 3)


@compiled
def _mark_voxels(
    squared: NDArray[np.int32], cover: NDArray[np.int32], keep: NDArray[np.uint8], first: int, last: int
) -> None:
    nz, ny, nx = squared.shape
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                if squared[z, y, x] > 0:
                    keep[z, y, x] = not _is_covered(squared, cover, z, y, x, nz, ny, nx)


@compiled
def _is_covered(
    squared: NDArray[np.int32], cover: NDArray[np.int32], z: int, y: int, x: int, nz: int, ny: int, nx: int
) -> bool:
    own = squared[z, y, x]
    for dz in range(-1 if z > 0 else 0, 2 if z + 1 < nz else 1):
        for dy in range(-1 if y > 0 else 0, 2 if y + 1 < ny else 1):
            for dx in range(-1 if x > 0 else 0, 2 if x + 1 < nx else 1):
                axes = dz * dz + dy * dy + dx * dx
                if axes > 0 and squared[z + dz, y + dy, x + dx] >= cover[axes - 1, own]:
                    return True
    return False


def _descending(squared: NDArray[np.int32], keep: NDArray[np.uint8], limit: int) -> tuple[Index, NDArray[np.int32]]:
    """Return flat indices of the kept centres by descending squared radius (raster order within one), and those radii."""
    starts = np.zeros(limit + 2, dtype=np.int64)
    _count(squared.ravel(), keep.ravel(), starts)
    np.cumsum(starts, out=starts)
    order: Index = (
        np.zeros(int(starts[-1]), dtype=np.int32) if squared.size < 2**31 else np.zeros(int(starts[-1]), dtype=np.int64)
    )
    radii = np.repeat(np.arange(limit, -1, -1, dtype=np.int32), np.diff(starts))
    _fill(squared.ravel(), keep.ravel(), starts[:-1].copy(), order)
    return order, radii


@compiled
def _count(squared: NDArray[np.int32], keep: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
    limit = starts.shape[0] - 2
    for i in range(squared.shape[0]):
        if keep[i]:
            starts[limit - squared[i] + 1] += 1


@compiled
def _fill(squared: NDArray[np.int32], keep: NDArray[np.uint8], cursor: NDArray[np.int64], order: Index) -> None:
    limit = cursor.shape[0] - 1
    for i in range(squared.shape[0]):
        if keep[i]:
            at = limit - squared[i]
            order[cursor[at]] = i
            cursor[at] += 1


def pack(squared: Squared, *, beyond: bool = False) -> Words:
    """Return (z, y, ceil(x/64)) words whose bit x%64 is set where `squared` is positive; everywhere where `beyond`."""
    nz, ny, nx = squared.shape
    if beyond:
        return np.full((nz, ny, (nx + 63) // 64), 2**64 - 1, dtype=np.uint64)
    words = np.zeros((nz, ny, (nx + 63) // 64), dtype=np.uint64)
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
def _paint_row(words: Words, row: Squared, first: int, last: int, value: float) -> None:
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


@compiled
def _paint_voxels(
    order: Index,
    radii: NDArray[np.int32],
    words: Words,
    blocks: Words,
    root: NDArray[np.int32],
    out: NDArray[np.int32],
    first: int,
    last: int,
) -> None:
    _, ny, nx = out.shape
    for i in range(order.shape[0]):
        squared = radii[i]
        radius = root[squared]
        row, cx = divmod(order[i], nx)
        cz, cy = divmod(row, ny)
        for z in range(max(cz - radius, first), min(cz + radius + 1, last)):
            left = squared - (z - cz) * (z - cz)
            reach = root[left]
            low, high = max(cy - reach, 0), min(cy + reach, ny - 1)
            for b in range(low >> 3, (high >> 3) + 1):
                away = min(max(cy, b << 3), (b << 3) + 7) - cy
                half = root[max(left - away * away, 0)]
                a, e = max(cx - half, 0), min(cx + half, nx - 1)
                if not _any_left(blocks[z, b], a, e):
                    continue
                for y in range(max(low, b << 3), min(high, (b << 3) + 7) + 1):
                    half = root[left - (y - cy) * (y - cy)]
                    _paint_row(words[z, y], out[z, y], max(cx - half, 0), min(cx + half, nx - 1), squared)
                _unite(words[z, b << 3 : min((b << 3) + 8, ny)], blocks[z, b], a >> 6, e >> 6)


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


def _blocks_of(words: Words) -> Words:
    """Return (z, ceil(y/8), words): the union of every eight rows, so that eight painted rows cost one test."""
    nz, ny, nw = words.shape
    padded = np.pad(words, ((0, 0), (0, -ny % 8), (0, 0)))
    united: Words = np.bitwise_or.reduce(padded.reshape(nz, -1, 8, nw), axis=2)
    return united


@compiled
def _paint_mm(
    order: Index,
    radii: NDArray[np.float64],
    words: Words,
    steps: NDArray[np.float64],
    out: NDArray[np.float64],
    first: int,
    last: int,
) -> None:
    _, ny, nx = out.shape
    sz, sy, sx = steps
    for i in range(order.shape[0]):
        squared = radii[i] * (1.0 + TIE)
        row, cx = divmod(order[i], nx)
        cz, cy = divmod(row, ny)
        reach_z = int(np.sqrt(squared) / sz)
        for z in range(max(cz - reach_z, first), min(cz + reach_z + 1, last)):
            left = squared - ((z - cz) * sz) ** 2
            reach = int(np.sqrt(max(left, 0.0)) / sy)
            for y in range(max(cy - reach, 0), min(cy + reach + 1, ny)):
                half = int(np.sqrt(max(left - ((y - cy) * sy) ** 2, 0.0)) / sx)
                _paint_row(words[z, y], out[z, y], max(cx - half, 0), min(cx + half, nx - 1), radii[i])
