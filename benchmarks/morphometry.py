"""CPU seconds and memory of the Tb.Th and Tb.Sp maps together, beside the peers that are installed,
each in its own process.

Run: ``pip install -e .[bench]`` and ``python benchmarks/morphometry.py 128 256``. The volume is the Gaussian
field of the reference table. CPU seconds are those of the process, all threads, after a warm-up on a small
volume; memory is the peak above what the process holds with the mask loaded.
``--only NAME`` measures one tool, for volumes that the others take too long for.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Maps = Callable[[Mask], object]
STEP_MM = 0.05
SLOW = {"bone-microarchitecture": 128}  # largest side that it is asked for: 256^3 takes minutes
MODULES = {
    "srrd-ray": "srrd_ray",
    "porespy": "porespy",
    "localthickness": "localthickness",
    "bone-microarchitecture": "bone_microarchitecture",
}


def gaussian_field(n: int, sigma: float = 3.0, bvtv: float = 0.2) -> Mask:
    """Return the field plane by plane: 512^3 fits into 4 GB."""
    field = np.random.default_rng(1064).standard_normal((n, n, n))
    damp = np.exp(-((2 * np.pi * np.fft.rfftfreq(n) * sigma) ** 2) / 2)
    for axis in range(3):
        planes = field.swapaxes(0, 1) if axis == 0 else field
        for plane in planes:
            lines = plane.T if axis < 2 else plane
            lines[...] = np.fft.irfft(np.fft.rfft(lines) * damp, n)
    return np.asarray(field > np.quantile(field, 1 - bvtv))


def maps_of(tool: str) -> Maps:
    """Return what makes both maps of a mask."""
    match tool:
        case "srrd-ray":
            from srrd_ray.morphometry import bone_maps

            return lambda mask: bone_maps(mask, STEP_MM)
        case "porespy":
            import porespy

            porespy.settings.tqdm["disable"] = True
            one: Maps = porespy.filters.local_thickness
        case "localthickness":
            import localthickness

            one = localthickness.local_thickness
        case _:
            from bone_microarchitecture import hildebrand_thickness_map

            def one(mask: Mask) -> object:
                return hildebrand_thickness_map(mask, (STEP_MM,) * 3, backend="cpu")

    return lambda mask: (one(mask), one(~mask))


def held_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure_here(tool: str, path: str) -> None:
    both = maps_of(tool)
    both(gaussian_field(24))
    mask = np.load(path)
    held, start = held_mib(), time.process_time()
    both(mask)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - held
    print(f"{seconds:.3f} {peak * 2**20 / mask.size:.1f}")


def measured(tool: str, path: Path) -> tuple[float, float]:
    """Return CPU seconds and bytes a voxel above the input, in a process of its own."""
    command = [sys.executable, __file__, "--here", tool, str(path)]
    seconds, size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(seconds), float(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[64, 128])
    parser.add_argument("--only", choices=MODULES)
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        measure_here(*given.here)
        return
    found = (
        [given.only]
        if given.only
        else [tool for tool, name in MODULES.items() if importlib.util.find_spec(name)]
    )
    print("volume  tool                    CPU s  ns/voxel  bytes/voxel  srrd-ray takes")
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.npy"
            np.save(path, gaussian_field(size))
            ours = None
            for tool in (t for t in found if size <= SLOW.get(t, size)):
                seconds, weight = measured(tool, path)
                ours = ours or seconds
                line = f"{size}^3".ljust(8) + tool.ljust(23)
                print(
                    f"{line}{seconds:6.2f}{1e9 * seconds / size**3:10.0f}{weight:13.1f}  "
                    f"1/{seconds / ours:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
