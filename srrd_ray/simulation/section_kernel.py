"""The compiled loops of `soft_tissue`: where a node lies in the mean knee, and the depth inside
cross-sections.
"""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel

_compiled = kernel(nogil=True, error_model="numpy", fastmath=True)


@_compiled
def spread_shift(shift, first, step, x, y, z, out) -> None:  # type: ignore[no-untyped-def]
    """Fill `out` (z, y, x, 3) with the nodes' positions plus `shift` between its nodes `step` apart."""
    for k in range(len(z)):
        w = (z[k] - first[2]) / step
        kk = min(max(int(w), 0), shift.shape[0] - 2)
        w -= kk
        for j in range(len(y)):
            v = (y[j] - first[1]) / step
            jj = min(max(int(v), 0), shift.shape[1] - 2)
            v -= jj
            for i in range(len(x)):
                u = (x[i] - first[0]) / step
                ii = min(max(int(u), 0), shift.shape[2] - 2)
                u -= ii
                for c in range(3):
                    a = shift[kk, jj, ii, c] * (1 - u) + shift[kk, jj, ii + 1, c] * u
                    b = shift[kk, jj + 1, ii, c] * (1 - u) + shift[kk, jj + 1, ii + 1, c] * u
                    d = shift[kk + 1, jj, ii, c] * (1 - u) + shift[kk + 1, jj, ii + 1, c] * u
                    e = shift[kk + 1, jj + 1, ii, c] * (1 - u) + shift[kk + 1, jj + 1, ii + 1, c] * u
                    out[k, j, i, c] = (a * (1 - v) + b * v) * (1 - w) + (d * (1 - v) + e * v) * w
                out[k, j, i, 0] += x[i]
                out[k, j, i, 1] += y[j]
                out[k, j, i, 2] += z[k]


@_compiled
def add_section(at, levels, centers, radii, out) -> None:  # type: ignore[no-untyped-def]
    """Raise `out` to the depth inside a structure given by its cross-sections, at positions `at` (…, 3)."""
    step, first, last = levels[1] - levels[0], levels[0], len(levels) - 1
    angles = radii.shape[1]
    widest = np.float32(0)
    for n in range(radii.shape[0]):
        for m in range(angles):
            widest = max(widest, radii[n, m])
    for k in range(at.shape[0]):
        for j in range(at.shape[1]):
            for i in range(at.shape[2]):
                t = min(
                    max((at[k, j, i, 2] - first) / step, np.float32(0)), np.float32(last) - np.float32(1e-3)
                )
                n = int(t)
                t -= n
                u = at[k, j, i, 0] - (centers[n, 0] + t * (centers[n + 1, 0] - centers[n, 0]))
                v = at[k, j, i, 1] - (centers[n, 1] + t * (centers[n + 1, 1] - centers[n, 1]))
                r = np.sqrt(u * u + v * v)
                if widest - r <= out[k, j, i]:
                    continue
                turn = (np.arctan2(v, u) + np.float32(np.pi)) * np.float32(angles / (2 * np.pi)) - np.float32(
                    0.5
                )
                m = int(np.floor(turn))
                s = turn - m
                p, q = (m + angles) % angles, (m + 1 + angles) % angles
                low = radii[n, p] + s * (radii[n, q] - radii[n, p])
                high = radii[n + 1, p] + s * (radii[n + 1, q] - radii[n + 1, p])
                edge = low + t * (high - low)
                if edge < np.float32(0.3):
                    continue
                # a flat section's depth is not the distance along the ray: less where the edge runs askew
                slope = (
                    (radii[n, q] - radii[n, p]) * np.float32(angles / (2 * np.pi)) / max(edge, np.float32(1))
                )
                depth = (edge - r) / np.sqrt(1 + slope * slope)
                out[k, j, i] = max(out[k, j, i], depth)
