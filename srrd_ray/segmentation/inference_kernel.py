"""The compiled part of `inference`: labels on the image's own lattice from logits on the working grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srrd_ray.morphometry.compiled import compiled


@compiled
def label_lattice(
    logits: NDArray[np.float32],
    best: NDArray[np.uint8],
    steps: NDArray[np.float64],
    firsts: NDArray[np.float64],
    out: NDArray[np.uint8],
) -> None:
    """Fill `out` (z, y, x) with the class of the largest interpolated logit.

    `logits` is (z, y, x, classes) and `best` its argmax; voxel n of `out` lies at ``firsts + n * steps``,
    ends are continued. Where all eight neighbours agree, as nearly everywhere, nothing is interpolated.
    """
    size, classes = best.shape, logits.shape[3]
    value = np.zeros(classes, np.float32)
    for z in range(out.shape[0]):
        fz = min(max(firsts[0] + z * steps[0], 0.0), size[0] - 1.0)
        k = min(int(fz), size[0] - 2)
        tz = fz - k
        for y in range(out.shape[1]):
            fy = min(max(firsts[1] + y * steps[1], 0.0), size[1] - 1.0)
            j = min(int(fy), size[1] - 2)
            ty = fy - j
            for x in range(out.shape[2]):
                fx = min(max(firsts[2] + x * steps[2], 0.0), size[2] - 1.0)
                i = min(int(fx), size[2] - 2)
                tx = fx - i
                label = best[k, j, i]
                same = True
                for n in range(1, 8):
                    same = same and best[k + (n >> 2), j + ((n >> 1) & 1), i + (n & 1)] == label
                if same:
                    out[z, y, x] = label
                    continue
                value[:] = 0
                for n in range(8):
                    dz, dy, dx = n >> 2, (n >> 1) & 1, n & 1
                    weight = (tz if dz else 1 - tz) * (ty if dy else 1 - ty) * (tx if dx else 1 - tx)
                    for c in range(classes):
                        value[c] += weight * logits[k + dz, j + dy, i + dx, c]
                out[z, y, x] = np.argmax(value)
