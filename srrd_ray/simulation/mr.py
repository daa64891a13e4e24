"""MR of a scene: tissue signal by sequence physics, sampled in k-space, with coil sensitivity and Rician
noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import Scene, compose_planes
from srrd_ray.simulation.motion import Motion, add_motion
from srrd_ray.simulation.off_resonance import interpolate_plane, off_resonance
from srrd_ray.simulation.sampling import fourier_crop, inner, widen

Sequence: TypeAlias = Literal["bssfp", "dess", "pd", "pd-fs", "t1", "t2", "t2-fs"]
FatSuppression: TypeAlias = Literal["none", "water-excitation", "saturation"]
Complex = NDArray[np.complex64]
FAT_SHIFT_HZ = -440.0
"""Chemical shift of fat at 3 T."""
SATURATED, SATURATION_HZ = 0.95, 180.0
"""What a saturation pulse at the frequency of fat takes off there, and half the width of its band."""
OFFSET_STEP_HZ = 2.0
OFFSETS_HZ = np.arange(-200.0, 201.0, OFFSET_STEP_HZ)
"""Off-resonances of the tables; the field is clipped to them."""
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
    tissue.BLOOD: Relaxation(density=0.4, t1=1650, t2=150),  # of which much flows away between pulses
}
MARROW_FAT = Relaxation(density=1.0, t1=365, t2=133, shift=FAT_SHIFT_HZ)
MARROW_WATER = Relaxation(density=0.9, t1=1000, t2=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class MrProtocol:
    """How MR is acquired: sequence, TR and TE in ms, flip in degrees, voxel (slice, in-plane) mm.

    Parameters
    ----------
    fat
        Fat is not suppressed, not excited (pulses half a period of fat apart), or saturated before.
        Either fails where the field is off.
    bandwidth_hz
        Hz a pixel along the readout (the columns' direction): fat lies 440 Hz / bandwidth pixels away from
        water. None leaves fat at its position:
        marrow is fat, and its shift would move what lies inside of bone against the rigid truth.
    """

    sequence: Sequence = "bssfp"
    tr: float = 9.2
    te: float = 4.6
    flip: float = 50.0
    slice_mm: float = 0.75
    pixel_mm: float = 0.2188
    fat: FatSuppression = "none"
    bandwidth_hz: float | None = None

    @property
    def fat_shift_px(self) -> float:
        """Displacement of fat along the readout, pixels."""
        return FAT_SHIFT_HZ / self.bandwidth_hz if self.bandwidth_hz else 0.0


PROTOCOLS: dict[Sequence, MrProtocol] = {
    "bssfp": MrProtocol(),
    "dess": MrProtocol(
        sequence="dess", tr=16.3, te=4.7, flip=25.0, slice_mm=0.7, pixel_mm=0.365, fat="water-excitation"
    ),
    "pd": MrProtocol(sequence="pd", tr=3000.0, te=30.0, flip=90.0, slice_mm=2.5, pixel_mm=0.35),
    "pd-fs": MrProtocol(
        sequence="pd-fs", tr=3200.0, te=30.0, flip=90.0, slice_mm=3.0, pixel_mm=0.35, fat="saturation"
    ),
    "t1": MrProtocol(sequence="t1", tr=650.0, te=12.0, flip=90.0, slice_mm=3.0, pixel_mm=0.4),
    "t2": MrProtocol(sequence="t2", tr=4000.0, te=80.0, flip=90.0, slice_mm=3.0, pixel_mm=0.4),
    "t2-fs": MrProtocol(
        sequence="t2-fs", tr=4000.0, te=70.0, flip=90.0, slice_mm=3.0, pixel_mm=0.4, fat="saturation"
    ),
}
"""DESS as the Osteoarthritis Initiative has it (voxels too); the spin echoes as clinics have them."""


SEQUENCE_CODES: dict[Sequence, tuple[str, str, str]] = {
    name: ("SE", "NONE", "2D") if name not in ("bssfp", "dess") else ("GR", "SS", "3D") for name in PROTOCOLS
}
"""How DICOM names each: scanning sequence, its variant (SS: steady state), and whether slices are excited
together.
"""
FIELD_T = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MrSession:
    """What differs between scans: signal to noise (see `reference_signal`), receive bias, field offsets,
    gain, and the noise's generator seed.

    Parameters
    ----------
    scale
        Error of the gradients along the scanner's x, y, z:
        a voxel that the header places at p mm from the middle of the field of view shows what lies at scale ·
        p. It is not part of the rigid truth.
    motion
        How the knee moves during the scan; none where it lies still.
    """

    snr: float
    bias: float
    field_hz: float
    gain: float
    red_marrow: float
    seed: int
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    motion: Motion | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """What turns tissue into k-space: signal tables of water and fat (256, offsets) and how far fat is
    shifted along the columns (pixels), off-resonance in Hz on coarse nodes (`off_resonance`), and motion.
    """

    tables: tuple[Complex, ...]
    fat_shift_px: float
    field_hz: NDArray[np.float32]
    motion: Motion | None


def signal(
    protocol: MrProtocol, tissue_: Relaxation, offset_hz: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Return the complex steady-state signal of a tissue at off-resonances in Hz, for unit gain.

    bSSFP: Freeman-Hill with alternating pulses; DESS: the sum of squares of both echoes; the others: a spin
    echo.
    """
    excited = excitation(protocol.fat, offset_hz + tissue_.shift)
    match protocol.sequence:
        case "bssfp":
            return np.asarray(excited * _bssfp(protocol, tissue_, offset_hz), np.complex128)
        case "dess":
            return np.asarray(excited * np.hypot(*dess_echoes(protocol, tissue_)), np.complex128)
        case "pd" | "pd-fs" | "t1" | "t2" | "t2-fs":
            decay = (1 - np.exp(-protocol.tr / tissue_.t1)) * np.exp(-protocol.te / tissue_.t2)
            return np.asarray(excited * tissue_.density * decay, np.complex128)


def excitation(fat: FatSuppression, frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of the magnetisation that is seen at frequencies in Hz from water.

    Water excitation: three pulses of 1 : 2 : 1, half a period of fat apart, which add up to cos²(π f / 2 ·
    440 Hz) (Hore, J. Magn. Reson. 55:283, 1983). Saturation: a band round fat, with flat top.
    """
    match fat:
        case "none":
            return np.ones(frequency_hz.shape)
        case "water-excitation":
            return np.cos(np.pi / 2 * frequency_hz / FAT_SHIFT_HZ) ** 2
        case "saturation":
            return 1 - SATURATED * np.exp(-(((frequency_hz - FAT_SHIFT_HZ) / SATURATION_HZ) ** 4))


def _bssfp(p: MrProtocol, t: Relaxation, offset_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    beta = 2 * np.pi * (offset_hz + t.shift) * p.tr / 1000 + np.pi
    d = (1 - e1 * np.cos(flip)) * (1 - e2 * np.cos(beta)) - e2 * (e1 - np.cos(flip)) * (e2 - np.cos(beta))
    mx = (1 - e1) * np.sin(flip) * (1 - e2 * np.cos(beta)) / d
    my = (1 - e1) * np.sin(flip) * e2 * np.sin(beta) / d
    refocused = np.exp(1j * np.pi * (beta - np.pi) / np.pi * (p.te / p.tr))
    out: NDArray[np.complex128] = t.density * (mx + 1j * my) * refocused * np.exp(-p.te / t.t2)
    return out


def dess_echoes(p: MrProtocol, t: Relaxation) -> tuple[float, float]:
    """Return both echoes of a double-echo steady state, S+ and S−."""
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    cos, half = np.cos(flip), np.tan(flip / 2)
    r = np.sqrt((1 - e2**2) / ((1 - e1 * cos) ** 2 - e2**2 * (e1 - cos) ** 2))
    plus = half * (1 - (e1 - cos) * r) * np.exp(-p.te / t.t2)
    minus = half * (1 - (1 - e1 * cos) * r) * np.exp(p.te / t.t2)
    return float(t.density * plus), float(t.density * minus)


def signal_tables(protocol: MrProtocol, red_marrow: float = 0.1) -> tuple[Complex, Complex]:
    """Return the signal of water and that of fat for every tissue label (256, offsets of `OFFSETS_HZ`)."""
    water, fat = (np.zeros((256, len(OFFSETS_HZ)), np.complex64) for _ in range(2))
    for label, relaxation in RELAXATION.items():
        (fat if relaxation.shift else water)[label] = signal(protocol, relaxation, OFFSETS_HZ)
    fraction, lesion = tissue.marrow_fraction_and_water()
    wet = np.clip(red_marrow + lesion, 0, 1)[:, None]
    echo = protocol.te / 1000 if protocol.sequence in ("bssfp", "dess") else 0.0
    decay = np.exp(-echo * R2_PRIME_PER_FRACTION * fraction)[:, None]
    marrow = slice(tissue.MARROW, tissue.MARROW + 128)
    water[marrow] = wet * signal(protocol, MARROW_WATER, OFFSETS_HZ) * decay
    fat[marrow] = (1 - wet) * signal(protocol, MARROW_FAT, OFFSETS_HZ) * decay
    return water, fat


def acquire(
    scene: Scene,
    bones_from_world: NDArray[np.float64],
    grid: Geometry,
    protocol: MrProtocol,
    session: MrSession,
) -> Volume[np.uint16]:
    """Return the magnitude image on `grid` (slice, row, column), scaled to 1000 · gain where the signal is
    that of `reference_signal`.
    """
    rng = np.random.default_rng(session.seed)
    shim = sample_shim_residual(rng, session.field_hz)
    tables, stretched = signal_tables(protocol, session.red_marrow), stretch_grid(grid, session.scale)
    readout = Readout(
        tables=tables if protocol.fat_shift_px else (tables[0] + tables[1],),
        fat_shift_px=protocol.fat_shift_px,
        field_hz=off_resonance(scene, bones_from_world, widen(stretched, MARGIN), shim),
        motion=session.motion,
    )
    image = k_space_sample(scene, bones_from_world, stretched, readout)
    image *= sample_bias_field(rng, grid.shape, session.bias) * np.float32(
        1 / reference_signal(protocol, tables)
    )
    magnitude = add_rician_noise(rng, image, 1 / session.snr)
    whole = np.clip(np.rint(magnitude * 1000 * session.gain), 0, 65535).astype(np.uint16)
    return Volume(array=whole, geometry=grid)


def reference_signal(protocol: MrProtocol, tables: tuple[Complex, Complex]) -> float:
    """Return the magnitude, on resonance, that signal to noise refers to: of marrow between trabeculae of a
    volume fraction of 0.2, or of cartilage where fat is suppressed.
    """
    label = tissue.MARROW + 5 if protocol.fat == "none" else tissue.CARTILAGE
    return float(np.abs(sum(table[label, len(OFFSETS_HZ) // 2] for table in tables)))


def stretch_grid(grid: Geometry, scale: tuple[float, float, float]) -> Geometry:
    """Return the grid stretched by `scale` along world x, y, z about its middle."""
    middle = grid.index_to_lps((np.array(grid.shape) - 1) / 2)
    stretch = np.diag([*scale, 1.0])
    stretch[:3, 3] = middle - np.array(scale) * middle
    return Geometry.from_affine(grid.shape, stretch @ grid.affine)


def k_space_sample(
    scene: Scene, bones_from_world: NDArray[np.float64], grid: Geometry, readout: Readout
) -> Complex:
    """Return the noiseless complex image: the signal of a finer grid, its spectrum cropped to the acquired
    one.
    """
    acquired = widen(grid, MARGIN)
    nz, ny, nx = acquired.shape
    fine = acquired.rescaled((nz * OVERSAMPLE_SLICE, ny * OVERSAMPLE_IN_PLANE, nx * OVERSAMPLE_IN_PLANE))
    planes = np.empty((fine.shape[0], ny, nx), np.complex64)
    for k, mineral, label in compose_planes(scene, bones_from_world, fine):
        planes[k] = _sample_plane(mineral, label, readout, (k + 0.5) / fine.shape[0])
    image = np.empty(acquired.shape, np.complex64)
    for j in range(ny):
        image[:, j] = fourier_crop(planes[:, j], 0, OVERSAMPLE_SLICE)
    if readout.motion:
        image = add_motion(image, grid.spacing_mm[1:], readout.motion)
    return np.ascontiguousarray(image[inner(grid.shape, image.shape)])


def _sample_plane(
    mineral: NDArray[np.float32], label: NDArray[np.uint8], readout: Readout, along: float
) -> Complex:
    """Return one plane sampled in both directions; fat, the second table, is shifted along the columns."""
    ny, nx = mineral.shape
    offset = interpolate_plane(readout.field_hz, along, (ny, nx))
    index = np.rint((offset - np.float32(OFFSETS_HZ[0])) / np.float32(OFFSET_STEP_HZ)).astype(np.intp)
    np.clip(index, 0, len(OFFSETS_HZ) - 1, out=index)
    soft, phases = 1 - mineral, _shift_phases(nx // OVERSAMPLE_IN_PLANE, readout.fat_shift_px)
    rows = sum(
        fourier_crop(table[label, index] * soft, 1, OVERSAMPLE_IN_PLANE, phase)
        for table, phase in zip(readout.tables, (None, phases), strict=False)
    )
    return fourier_crop(np.asarray(rows, np.complex64), 0, OVERSAMPLE_IN_PLANE)


def _shift_phases(count: int, pixels: float) -> Complex:
    return np.asarray(np.exp(-2j * np.pi * np.fft.fftfreq(count) * pixels), np.complex64)


def sample_shim_residual(rng: np.random.Generator, field_hz: float) -> NDArray[np.float64]:
    """Return the coefficients (3, 3, 3) of a smooth off-resonance, a quadratic in (z, y, x) ∈ [−1, 1],
    SD `field_hz`.
    """
    coefficients = rng.normal(0, 1, (3, 3, 3)) * field_hz * 0.6
    powers = np.indices((3, 3, 3)).sum(axis=0)
    return np.where(powers <= 2, coefficients, 0.0)


def sample_bias_field(
    rng: np.random.Generator, shape: tuple[int, int, int], size: float
) -> NDArray[np.float32]:
    """Return a receive sensitivity around 1: exp of a cubic in the coordinates whose largest excursion is
    log(1 + size).
    """
    axes = [np.linspace(-1, 1, n) for n in shape]
    powers = np.indices((4, 4, 4)).sum(axis=0)
    coefficients = np.where((powers <= 3) & (powers > 0), rng.normal(0, 1, (4, 4, 4)) / (1 + powers), 0.0)
    log = np.polynomial.polynomial.polygrid3d(axes[0], axes[1], axes[2], coefficients)
    log *= np.log1p(size) / np.abs(log).max()
    out: NDArray[np.float32] = np.exp(log.astype(np.float32))
    return out


def add_rician_noise(rng: np.random.Generator, image: Complex, sigma: float) -> NDArray[np.float32]:
    """Return |image + n|, n complex Gaussian of SD `sigma` in each part."""
    real = image.real + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
    imaginary = image.imag + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
    out: NDArray[np.float32] = np.hypot(real, imaginary)
    return out
