"""MR of a scene: tissue signal by sequence physics, sampled in k-space, with coil sensitivity and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import Scene, composed_planes
from srrd_ray.simulation.sampling import fourier_crop, padded
from srrd_ray.volume import Volume

Sequence: TypeAlias = Literal["bssfp", "dess", "pd"]
Complex = NDArray[np.complex64]
FAT_SHIFT_HZ = -440.0
"""Chemical shift of fat at 3 T."""
OFFSETS_HZ = np.arange(-80.0, 81.0, 2.0)
OVERSAMPLE_IN_PLANE, OVERSAMPLE_SLICE = 2, 3
MARGIN = 4
"""Voxels acquired beyond each side of the image and cut off: foldover suppression."""
R2_PRIME_PER_FRACTION = 17.0
"""R2' of marrow between trabeculae, 1/s per unit of BV/TV (method notes C4: 10–25)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relaxation:
    """A tissue at 3 T: proton density (fat 1), T1 and T2 in ms, chemical shift in Hz."""

    density: float
    t1: float
    t2: float
    shift: float = 0.0


RELAXATION: dict[int, Relaxation] = {
    tissue.FAT: Relaxation(density=1.0, t1=371, t2=133, shift=FAT_SHIFT_HZ),
    tissue.MUSCLE: Relaxation(density=0.85, t1=1420, t2=32),
    tissue.FLUID: Relaxation(density=1.0, t1=3620, t2=767),
    tissue.CARTILAGE: Relaxation(density=0.8, t1=1240, t2=37),
    tissue.MENISCUS: Relaxation(density=0.7, t1=1000, t2=8),
    tissue.LIGAMENT: Relaxation(density=0.7, t1=1000, t2=8),
    tissue.SKIN: Relaxation(density=0.7, t1=900, t2=25),
    tissue.CYST: Relaxation(density=0.95, t1=2500, t2=300),
    tissue.COMPACT: Relaxation(density=0.2, t1=250, t2=0.5),
}
MARROW_FAT = Relaxation(density=1.0, t1=365, t2=133, shift=FAT_SHIFT_HZ)
MARROW_WATER = Relaxation(density=0.9, t1=1000, t2=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class MrProtocol:
    """How MR is acquired: sequence, TR and TE in ms, flip in degrees, voxel (slice, in-plane) mm."""

    sequence: Sequence = "bssfp"
    tr: float = 9.2
    te: float = 4.6
    flip: float = 50.0
    slice_mm: float = 0.75
    pixel_mm: float = 0.2188


PROTOCOLS: dict[Sequence, MrProtocol] = {
    "bssfp": MrProtocol(),
    "dess": MrProtocol(sequence="dess", tr=16.3, te=4.7, flip=25.0, slice_mm=0.7, pixel_mm=0.365),
    "pd": MrProtocol(sequence="pd", tr=3000.0, te=30.0, flip=90.0, slice_mm=2.5, pixel_mm=0.35),
}


SEQUENCE_CODES: dict[Sequence, tuple[str, str, str]] = {
    "bssfp": ("GR", "SS", "3D"),
    "dess": ("GR", "SS", "3D"),
    "pd": ("SE", "NONE", "2D"),
}
"""How DICOM names each: scanning sequence, its variant (SS: steady state), and whether slices are excited together."""
FIELD_T, LARMOR_MHZ = 3.0, 127.73
"""42.577 MHz/T for protons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MrSession:
    """What differs between scans: signal to noise in marrow, receive bias, field offsets, gain, and the noise's generator seed."""

    snr: float
    bias: float
    field_hz: float
    gain: float
    red_marrow: float
    seed: int


def signal(protocol: MrProtocol, tissue_: Relaxation, offset_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the complex steady-state signal of a tissue at off-resonances in Hz, for unit gain.

    bSSFP: Freeman-Hill with alternating pulses; DESS: the sum of squares of both echoes; PD: a spin echo.
    """
    match protocol.sequence:
        case "bssfp":
            return _bssfp(protocol, tissue_, offset_hz)
        case "dess":
            return np.full(offset_hz.shape, _dess(protocol, tissue_), np.complex128)
        case "pd":
            decay = (1 - np.exp(-protocol.tr / tissue_.t1)) * np.exp(-protocol.te / tissue_.t2)
            return np.full(offset_hz.shape, tissue_.density * decay, np.complex128)


def _bssfp(p: MrProtocol, t: Relaxation, offset_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    beta = 2 * np.pi * (offset_hz + t.shift) * p.tr / 1000 + np.pi
    d = (1 - e1 * np.cos(flip)) * (1 - e2 * np.cos(beta)) - e2 * (e1 - np.cos(flip)) * (e2 - np.cos(beta))
    mx = (1 - e1) * np.sin(flip) * (1 - e2 * np.cos(beta)) / d
    my = (1 - e1) * np.sin(flip) * e2 * np.sin(beta) / d
    refocused = np.exp(1j * np.pi * (beta - np.pi) / np.pi * (p.te / p.tr))
    out: NDArray[np.complex128] = t.density * (mx + 1j * my) * refocused * np.exp(-p.te / t.t2)
    return out


def _dess(p: MrProtocol, t: Relaxation) -> float:
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    cos, half = np.cos(flip), np.tan(flip / 2)
    r = np.sqrt((1 - e2**2) / ((1 - e1 * cos) ** 2 - e2**2 * (e1 - cos) ** 2))
    plus = half * (1 - (e1 - cos) * r) * np.exp(-p.te / t.t2)
    minus = half * (1 - (1 - e1 * cos) * r) * np.exp(min(p.te / t.t2, 50.0))
    return float(t.density * np.hypot(plus, minus if t.t2 > 1 else 0.0))


def signal_table(protocol: MrProtocol, red_marrow: float = 0.1) -> Complex:
    """Return the signal of every tissue label (256, offsets of `OFFSETS_HZ`)."""
    table = np.zeros((256, len(OFFSETS_HZ)), np.complex64)
    for label, relaxation in RELAXATION.items():
        table[label] = signal(protocol, relaxation, OFFSETS_HZ)
    fat, water = signal(protocol, MARROW_FAT, OFFSETS_HZ), signal(protocol, MARROW_WATER, OFFSETS_HZ)
    fraction, lesion = tissue.marrow_fraction_and_water()
    wet = np.clip(red_marrow + lesion, 0, 1)[:, None]
    echo = protocol.te / 1000 if protocol.sequence != "pd" else 0.0
    decay = np.exp(-echo * R2_PRIME_PER_FRACTION * fraction)[:, None]
    table[tissue.MARROW : tissue.MARROW + 128] = ((1 - wet) * fat + wet * water) * decay
    return table


def acquire(
    scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry, protocol: MrProtocol, session: MrSession
) -> Volume[np.uint16]:
    """Return the magnitude image on `grid`, (slice, row, column), scaled so that marrow is near 1000 · gain."""
    rng = np.random.default_rng(session.seed)
    table = signal_table(protocol, session.red_marrow)
    image = k_space_sample(scene, bones_from_world, grid, table, field_map(rng, session.field_hz))
    reference = float(np.abs(table[tissue.MARROW + 5, len(OFFSETS_HZ) // 2]))
    image *= bias_field(rng, grid.shape, session.bias) * np.float32(1 / reference)
    magnitude = rician(rng, image, 1 / session.snr)
    scaled = np.clip(np.rint(magnitude * 1000 * session.gain), 0, 65535).astype(np.uint16)
    return Volume(array=scaled, geometry=grid)


def k_space_sample(
    scene: Scene,
    bones_from_world: NDArray[np.float64],
    grid: Geometry,
    table: Complex,
    field: NDArray[np.float64],
) -> Complex:
    """Return the noiseless complex image: the signal of a finer grid, its spectrum cropped to the acquired one."""
    acquired = tuple(padded(n, MARGIN) for n in grid.shape)
    start = [(n - m) // 2 for n, m in zip(grid.shape, acquired, strict=True)]
    factors = (OVERSAMPLE_SLICE, OVERSAMPLE_IN_PLANE, OVERSAMPLE_IN_PLANE)
    fine_shape = tuple(n * f for n, f in zip(acquired, factors, strict=True))
    fine = grid.crop((start[0], start[1], start[2]), (acquired[0], acquired[1], acquired[2])).rescaled(
        (fine_shape[0], fine_shape[1], fine_shape[2])
    )
    planes = np.empty((fine_shape[0], acquired[1], acquired[2]), np.complex64)
    for k, mineral, label in composed_planes(scene, bones_from_world, fine):
        plane = _plane_signal(mineral, label, table, _field_plane(field, k / fine_shape[0], fine_shape[1:]))
        planes[k] = fourier_crop(fourier_crop(plane, 1, OVERSAMPLE_IN_PLANE), 0, OVERSAMPLE_IN_PLANE)
    image = np.empty(acquired, np.complex64)
    for j in range(acquired[1]):
        image[:, j] = fourier_crop(planes[:, j], 0, OVERSAMPLE_SLICE)
    window = tuple(slice(-a, -a + n) for a, n in zip(start, grid.shape, strict=True))
    return np.ascontiguousarray(image[window])


def _plane_signal(
    mineral: NDArray[np.float32], label: NDArray[np.uint8], table: Complex, offset_hz: NDArray[np.float32]
) -> Complex:
    index = np.rint((offset_hz - OFFSETS_HZ[0]) / 2).astype(np.intp)
    out: Complex = table[label, np.clip(index, 0, len(OFFSETS_HZ) - 1)] * (1 - mineral)
    return out


def field_map(rng: np.random.Generator, field_hz: float) -> NDArray[np.float64]:
    """Return the coefficients (3, 3, 3) of a smooth off-resonance, a quadratic in (z, y, x) ∈ [−1, 1], SD `field_hz`."""
    coefficients = rng.normal(0, 1, (3, 3, 3)) * field_hz * 0.6
    powers = np.indices((3, 3, 3)).sum(axis=0)
    return np.where(powers <= 2, coefficients, 0.0)


def _field_plane(field: NDArray[np.float64], along: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    row, column = (np.linspace(-1, 1, n) for n in shape)
    across = np.polynomial.polynomial.polyval(2 * along - 1, field)
    plane = np.polynomial.polynomial.polygrid2d(row, column, across)
    return np.asarray(plane, np.float32)


def bias_field(rng: np.random.Generator, shape: tuple[int, int, int], size: float) -> NDArray[np.float32]:
    """Return a receive sensitivity around 1: exp of a cubic in the coordinates whose largest excursion is log(1 + size)."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    powers = np.indices((4, 4, 4)).sum(axis=0)
    coefficients = np.where((powers <= 3) & (powers > 0), rng.normal(0, 1, (4, 4, 4)) / (1 + powers), 0.0)
    log = np.polynomial.polynomial.polygrid3d(axes[0], axes[1], axes[2], coefficients)
    log *= np.log1p(size) / np.abs(log).max()
    out: NDArray[np.float32] = np.exp(log.astype(np.float32))
    return out


def rician(rng: np.random.Generator, image: Complex, sigma: float) -> NDArray[np.float32]:
    """Return |image + n|, n complex Gaussian of SD `sigma` in each part."""
    real = image.real + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
    imaginary = image.imag + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
    out: NDArray[np.float32] = np.hypot(real, imaginary)
    return out
