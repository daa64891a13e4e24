"""Off-resonance of an MR scanner, Hz: the residual of its shim, and the susceptibility of bone,
fat and air at borders.

The susceptibility of every tissue is read on a coarse grid, a little wider than the image, and turned into a
field by the dipole kernel 1/3 − (k·B0)²/k² in the frequency domain (Salomir 2003; Marques & Bowtell 2005).
Beyond that grid all is taken for water. Nodes are points, so that a thin plate hits some and misses others:
their values are smoothed by `BLUR_MM`.
Structure finer than that (single trabeculae) is not in this field but in R2'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import Scene, compose_planes
from srrd_ray.simulation.compose_kernel import COMPACT_MINERAL

Floats = NDArray[np.float32]
STEP_MM, MARGIN_MM, BLUR_MM = 2.0, 16.0, 2.0
"""Of nodes; of the grid beyond the image; SD of the smoothing."""
LARMOR_MHZ = 127.73
"""Of protons at 3 T, 42.577 MHz/T: also Hz a ppm."""
AIR_PPM, WATER_PPM, FAT_PPM, BONE_PPM = 0.36, -9.05, -8.4, -11.3
"""Volume susceptibility (SI). Bone: −0.90 ppm in CGS units, times 4π (Hopkins & Wehrli, Magn Reson Med 1997;
37:494, bovine rib); air, water and fat from memory of the literature.
"""


def susceptibility_table() -> Floats:
    """Return ppm of every tissue label (256); marrow by the bone volume fraction of its label."""
    table = np.full(256, WATER_PPM, np.float32)
    table[tissue.AIR], table[tissue.FAT] = AIR_PPM, FAT_PPM
    table[tissue.COMPACT] = WATER_PPM + COMPACT_MINERAL * (BONE_PPM - WATER_PPM)
    fraction, lesion = tissue.marrow_fraction_and_water()
    marrow = lesion * WATER_PPM + (1 - lesion) * FAT_PPM
    table[tissue.MARROW : tissue.MARROW + 128] = fraction * BONE_PPM + (1 - fraction) * marrow
    return table


def off_resonance(
    scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry, shim: NDArray[np.float64]
) -> Floats:
    """Return Hz at nodes about `STEP_MM` apart that fill the field of view of `grid`.

    `shim` are the coefficients (3, 3, 3) of the residual of the shim, in (z, y, x) ∈ [−1,
    1] over the field of view.
    """
    shape = [max(round(n * mm / STEP_MM), 2) for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)]
    nodes = grid.rescaled((shape[0], shape[1], shape[2]))
    margin = [round(MARGIN_MM / mm) for mm in nodes.spacing_mm]
    wide = nodes.crop(
        (-margin[0], -margin[1], -margin[2]),
        (shape[0] + 2 * margin[0], shape[1] + 2 * margin[1], shape[2] + 2 * margin[2]),
    )
    labels = np.stack([label for _, _, label in compose_planes(scene, bones_from_world, wide)])
    inside = tuple(slice(m, m + n) for m, n in zip(margin, shape, strict=True))
    field = LARMOR_MHZ * dipole_field(susceptibility_table()[labels] - np.float32(WATER_PPM), wide)[inside]
    field = apply_shim(field, labels[inside] != tissue.AIR)
    axes = [np.linspace(-1, 1, n) for n in shape]
    rest = np.polynomial.polynomial.polygrid3d(axes[0], axes[1], axes[2], shim)
    return np.asarray(field + rest, np.float32)


def dipole_field(susceptibility: Floats, grid: Geometry) -> NDArray[np.float64]:
    """Return the relative change of the field, smoothed by `BLUR_MM`, in the unit of `susceptibility`;
    B0 along world z.
    """
    shape = [fft.next_fast_len(n + n // 2) for n in susceptibility.shape]
    toward = grid.affine[2, 2::-1] / np.array(grid.spacing_mm)  # cosine between world z and each array axis
    k = np.meshgrid(
        *(np.fft.fftfreq(n, mm) for n, mm in zip(shape, grid.spacing_mm, strict=True)), indexing="ij"
    )
    k2 = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = k[0] * toward[0] + k[1] * toward[1] + k[2] * toward[2]
    kernel = 1 / 3 - along**2 / np.where(k2 > 0, k2, 1.0)
    kernel *= np.exp(-2 * np.pi**2 * BLUR_MM**2 * k2)
    kernel[0, 0, 0] = 0
    field = fft.ifftn(fft.fftn(susceptibility.astype(np.float64), shape) * kernel).real
    nz, ny, nx = susceptibility.shape
    return np.asarray(field[:nz, :ny, :nx])


def apply_shim(field: NDArray[np.float64], tissue_mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return `field` less its mean and slopes over the tissue, as after a first-order shim;
    unchanged without tissue.
    """
    if tissue_mask.sum() < 8:
        return field
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in field.shape), indexing="ij", sparse=True)
    terms = [np.ones(1), *axes]
    weight = tissue_mask.astype(np.float64)
    normal = np.array([[float((weight * a * b).sum()) for b in terms] for a in terms])
    weights = np.linalg.solve(normal, np.array([float((weight * a * field).sum()) for a in terms]))
    out: NDArray[np.float64] = field - sum(c * term for c, term in zip(weights, terms, strict=True))
    return out


def interpolate_plane(field: Floats, along: float, shape: tuple[int, int]) -> Floats:
    """Return one plane (y, x) of `shape`, linear between the nodes;
    `along` is its position in the field of view, 0 to 1.
    """
    plane: Floats = _between(field, np.array([along * field.shape[0] - 0.5]), 0)[0]
    rows, columns = ((np.arange(n) + 0.5) * (m / n) - 0.5 for n, m in zip(shape, plane.shape, strict=True))
    return _between(_between(plane, rows, 0), columns, 1)


def _between(values: Floats, at: NDArray[np.float64], axis: int) -> Floats:
    position = np.clip(at, 0, values.shape[axis] - 1)
    low = np.minimum(position.astype(np.intp), values.shape[axis] - 2)
    part = (position - low).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(values.ndim)])
    first, second = np.take(values, low, axis), np.take(values, low + 1, axis)
    return np.asarray(first + part * (second - first), np.float32)
