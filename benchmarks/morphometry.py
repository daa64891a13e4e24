"""CPU seconds and peak memory of the Tb.Th and Tb.Sp maps, beside the peers that are installed (porespy, localthickness).

Run: ``python benchmarks/morphometry.py 64 128 256``. The volume is the Gaussian field of the reference table.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry import local_thickness

Mask = NDArray[np.bool_]


def gaussian_field(n: int, sigma: float = 3.0, bvtv: float = 0.2) -> Mask:
    noise = np.random.default_rng(1064).standard_normal((n, n, n))
    k = np.ix_(*[2 * np.pi * np.fft.fftfreq(n)] * 3)
    smooth = np.fft.ifftn(np.fft.fftn(noise) * np.exp(-(k[0] ** 2 + k[1] ** 2 + k[2] ** 2) * sigma**2 / 2)).real
    return np.asarray(smooth > np.quantile(smooth, 1 - bvtv))


def ours(mask: Mask) -> None:
    local_thickness(mask, 0.05, dtype=np.float32)


def peers() -> dict[str, Callable[[Mask], object]]:
    found: dict[str, Callable[[Mask], object]] = {"srrd_ray (exact)": ours}
    if importlib.util.find_spec("porespy"):
        import porespy

        found["porespy (approximate)"] = lambda mask: porespy.filters.local_thickness(mask)
    if importlib.util.find_spec("localthickness"):
        import localthickness

        found["localthickness (approximate)"] = lambda mask: localthickness.local_thickness(mask)
    return found


def main() -> None:
    ours(gaussian_field(16))
    for size in (int(a) for a in sys.argv[1:] or ("64", "128")):
        mask = gaussian_field(size)
        for name, both in peers().items():
            start = time.process_time()
            both(mask)
            both(~mask)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{size}^3 {name}: {time.process_time() - start:.2f} CPU s, peak of the process so far {peak:.0f} MiB"
            )


if __name__ == "__main__":
    main()
