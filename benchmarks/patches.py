"""Patches a minute on two processes: single patches, in batches, and patches of one volume,
from one map of it.

Run: ``OMP_NUM_THREADS=1 python benchmarks/patches.py 32 48 64``. Patches are cut from the Gaussian field of
the reference table. `alone` gives BV/TV, Tb.Th, Tb.Sp and Tb.N of a patch whose edge is the end of what is
known; `full` all measures of such a patch; `map` the first four, exact for the volume, over windows of its
maps side by side. Rates are 60 s x processes / CPU seconds a patch, which load by others changes little;
the wall clock is shown beside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from morphometry import STEP_MM, Mask, gaussian_field

from srrd_ray.morphometry import bone_maps, measure, region_measures

PROCESSES = 2


def cuts(volume: Mask, edge: int) -> list[tuple[slice, slice, slice]]:
    """Return the windows of patches side by side."""
    starts = [range(0, n - edge + 1, edge) for n in volume.shape]
    return [(slice(z, z + edge), slice(y, y + edge), slice(x, x + edge)) for z, y, x in product(*starts)]


def timed(work: Callable[[], int]) -> tuple[int, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def alone(batch: list[Mask]) -> tuple[int, float]:
    return timed(lambda: len([region_measures(bone_maps(patch, STEP_MM)) for patch in batch]))


def full(batch: list[Mask]) -> tuple[int, float]:
    return timed(lambda: len([measure(patch, None, STEP_MM) for patch in batch]))


def by_map(batch: list[Mask], edge: int) -> tuple[int, float]:
    def work() -> int:
        volume = batch[0]
        maps = bone_maps(volume, STEP_MM)
        return len([region_measures(maps.crop(window)) for window in cuts(volume, edge)])

    return timed(work)


def rate(pool: ProcessPoolExecutor, name: str, edge: int, batches: list[list[Mask]]) -> str:
    start = time.monotonic()
    match name:
        case "map":
            found = list(pool.map(by_map, batches, [edge] * len(batches)))
        case "full":
            found = list(pool.map(full, batches))
        case _:
            found = list(pool.map(alone, batches))
    wall = time.monotonic() - start
    count, seconds = sum(n for n, _ in found), sum(s for _, s in found)
    return (
        f"| {edge}^3 | {name} | {count} | {1e3 * seconds / count:.1f} | "
        f"{60 * PROCESSES * count / seconds:.0f} | {60 * count / wall:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("edges", nargs="*", type=int, default=[32, 48, 64])
    parser.add_argument("--volume", type=int, default=192)
    chosen = parser.parse_args()
    volume = gaussian_field(chosen.volume)
    print(
        "| patch | how | patches | CPU ms a patch | patches a minute, two processes | by the clock "
        "|\n|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(PROCESSES) as pool:
        small = [np.ascontiguousarray(volume[:32, :32, :32])]
        for warm in (alone, full):
            list(pool.map(warm, [small] * PROCESSES))
        for edge in chosen.edges:
            patches = [np.ascontiguousarray(volume[window]) for window in cuts(volume, edge)]
            halves = [patches[::2], patches[1::2]]
            for name, batches in (
                ("alone", halves),
                ("full", [half[: 8 * 64**3 // edge**3] for half in halves]),
            ):
                print(rate(pool, name, edge, batches), flush=True)
            print(rate(pool, "map", edge, [[volume], [volume]]), flush=True)


if __name__ == "__main__":
    main()
