"""A large synthetic volume measured in halo blocks through Ray:
memory of every process, and blocks checked against one piece.

Run: ``python benchmarks/blocks.py 1024 FOLDER [--blocks 256] [--cpus 2] [--thickness]``. The volume is a sum
of 48 cosines of random directions, written block by block; the same command again goes on where it stopped.
At the end windows on the corners where blocks meet are computed in one piece with a halo of twice the largest
radius, and their checksums compared with the maps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import resource
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from watching import pss_mb

from srrd_ray.cluster.executor import RayExecutor
from srrd_ray.core.geometry import Geometry
from srrd_ray.execution.config import ClusterConfig
from srrd_ray.imaging import block_store
from srrd_ray.measurement.result import flatten, to_text
from srrd_ray.measurement.volume import Measured, measure_volume
from srrd_ray.morphometry import local_thickness
from srrd_ray.morphometry.blocks import BONE, Window, add_halo, iterate_blocks, locate_within

WAVES = 48
SIGMA = 3.0
STEP_MM = 0.02


def waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wave vectors (n, 3) and phases (n,): those of a Gaussian field smoothed by `SIGMA` voxels."""
    rng = np.random.default_rng(1064)
    vectors = rng.normal(0, 1 / (np.sqrt(2) * SIGMA), (WAVES, 3))
    return vectors.astype(np.float64), rng.uniform(0, 2 * np.pi, WAVES)


def grey_of(window: Window) -> NDArray[np.uint8]:
    """Return the grey values of a window: a sum of cosines by two matrix products,
    bright where it is above 0.84 SD.
    """
    vectors, phases = waves()
    z, y, x = (np.exp(1j * np.outer(np.arange(a.start, a.stop), vectors[:, i])) for i, a in enumerate(window))
    planes = (z[:, None] * y[None] * np.exp(1j * phases)).reshape(-1, WAVES)
    sums = planes.real @ x.real.T - planes.imag @ x.imag.T
    grey = 110 + 90 * np.tanh(2 * (sums / np.sqrt(WAVES / 2) - 0.84))
    shape = tuple(a.stop - a.start for a in window)
    return np.rint(grey).astype(np.uint8).reshape(shape)


def write_volume(path: Path, n: int, edge: int) -> None:
    grid = Geometry.axis_aligned((n, n, n), (STEP_MM,) * 3)
    done = path.with_suffix(".done")
    if done.exists():
        return
    block_store.create_store(path, grid, "<u1", (edge,) * 3, "bone")
    for core in iterate_blocks((n, n, n), edge):
        block_store.write_block(path, core, grey_of(core))
    done.write_text("")


def family(root: int) -> list[int]:
    """Return the processes that descend from `root`: Ray and its workers, and no other job's."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rsplit(") ", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        found += (more := children.get(todo.pop(), []))
        todo += more
    return found


def watch(stop: Event, peaks: dict[str, float]) -> None:
    """Record the largest PSS of the driver, of any other process, and of all together, MB."""
    own = int(Path("/proc/self").resolve().name)
    while not stop.wait(1.0):
        driver, others = pss_mb(own), [pss_mb(pid) for pid in family(own)]
        now = {"driver": driver, "largest other": max(others, default=0.0), "all": driver + sum(others)}
        for name, size in now.items():
            peaks[name] = max(peaks.get(name, 0.0), size)


def corners(n: int, edge: int, count: int = 8) -> list[Window]:
    """Return windows of 32 voxels round points where eight blocks meet."""
    inner = range(edge, n, edge)
    corners = list(product(inner, inner, inner))
    chosen = np.random.default_rng(0).permutation(len(corners))[:count]
    return [tuple(slice(c - 16, c + 16) for c in corners[i]) for i in chosen]  # type: ignore[misc]


def agrees(found: Measured, core: Window, n: int) -> bool:
    """Return whether both maps have in `core` the checksum of the maps of one piece round it."""
    longest = max(found.bone.values[-1], found.marrow.values[-1]) / STEP_MM
    outer = add_halo(core, (int(longest) + 2,) * 3, (n, n, n))
    bone = block_store.read_block(found.root / ".work" / "phases.ome.zarr", outer) & BONE != 0
    same = True
    for phase, name in ((bone, "thickness"), (~bone, "spacing")):
        piece = local_thickness(phase, STEP_MM, dtype=np.float32)[locate_within(core, outer)]
        stored = block_store.read_block(found.root / f"{name}.ome.zarr", core)
        same &= digest(piece) == digest(np.asarray(stored))
    return same


def digest(values: NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=256)
    parser.add_argument("--cpus", type=int, default=0)
    parser.add_argument("--thickness", action="store_true", help="thickness, spacing and ridges only")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    image = chosen.folder / f"{chosen.size}.ome.zarr"
    write_volume(image, chosen.size, chosen.blocks)
    peaks: dict[str, float] = {}
    stop = Event()
    thread = Thread(target=watch, args=(stop, peaks), daemon=True)
    thread.start()
    started = time.monotonic()
    executor = RayExecutor(ClusterConfig(cpus=chosen.cpus, knee_memory_mb=3500))
    found = measure_volume(
        image, chosen.folder / "maps", edge=chosen.blocks, structure=not chosen.thickness, executor=executor
    )
    stop.set()
    thread.join()
    peaks["driver ever"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(to_text(flatten(found.measures, found.binarization, found.notes)))
    checked = [agrees(found, core, chosen.size) for core in corners(chosen.size, chosen.blocks)]
    print(
        json.dumps(
            {"seconds": time.monotonic() - started, "peak_mb": peaks, "corners_equal": checked}, indent=1
        )
    )
    return 0 if all(checked) else 1


if __name__ == "__main__":
    sys.exit(main())
