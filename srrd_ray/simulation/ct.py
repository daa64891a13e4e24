"""CT of a scene: HU by composition and beam energy, kernel, slice profile, correlated noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import Scene, compose_planes
from srrd_ray.simulation.compose_kernel import COMPACT_MINERAL
from srrd_ray.simulation.sampling import fourier_crop, inner, widen

Floats = NDArray[np.float32]
OVERSAMPLE_IN_PLANE, OVERSAMPLE_SLICE = 2, 3
MARGIN = 4
CUPPING_MM, DENSE_HU = 8.0, 300.0
"""Beam hardening: how far bone is felt (SD), and from where on bone is dense."""
BONE_KEV, BONE_HU = (60.0, 65.0, 70.0, 75.0, 80.0), (1936.0, 1723.0, 1559.0, 1431.0, 1330.0)
"""HU of mineralised bone tissue of 1.92 g/cm³ by effective energy (NIST attenuation, ICRU-44 composition)."""
MINERAL_SD, MARROW_HU, MARROW_SD_HU, DRIFT_SD_HU = 0.16, -30.0, 60.0, 12.0
"""Patients: density of bone tissue (a factor around 1), HU of marrow. Days: shift of the HU scale."""
MARROW_RANGE_HU = (-80.0, 35.0)
"""Fat alone, and red marrow in an inflamed knee: nothing lies outside."""
BLUR_SD, NOISE_SD = 0.22, 0.25
"""Scans: width of the kernel in the image (field of view, small movements) and noise (dose, build),
factors around 1.
"""
SOFT_HU: dict[int, float] = {
    tissue.AIR: -1000.0,
    tissue.FAT: -80.0,
    tissue.MUSCLE: 50.0,
    tissue.FLUID: 15.0,
    tissue.CARTILAGE: 103.0,
    tissue.MENISCUS: 95.0,
    tissue.LIGAMENT: 90.0,
    tissue.SKIN: 60.0,
    tissue.CYST: 25.0,
    tissue.COMPACT: 30.0,
    tissue.BLOOD: 45.0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CtProtocol:
    """One hospital's knee CT: voxel (slice spacing, pixel), slice profile and in-plane PSF (FWHM) mm;
    overshoot of the kernel at edges; noise SD HU; effective energy keV; shift of the HU scale;
    and what beam hardening takes off inside of dense bone, HU (about 20 where a scanner corrects it badly; 0:
    corrected).
    """

    slice_mm: float
    pixel_mm: float
    thickness_mm: float
    psf_mm: float
    overshoot: float
    noise_hu: float
    energy_kev: float
    offset_hu: float
    cupping_hu: float = 0.0


PROTOCOLS: tuple[CtProtocol, ...] = (
    CtProtocol(
        slice_mm=0.6,
        pixel_mm=0.40,
        thickness_mm=0.75,
        psf_mm=0.85,
        overshoot=0.15,
        noise_hu=95.0,
        energy_kev=68,
        offset_hu=-3.0,
    ),
    CtProtocol(
        slice_mm=0.8,
        pixel_mm=0.45,
        thickness_mm=1.25,
        psf_mm=1.45,
        overshoot=0.00,
        noise_hu=28.0,
        energy_kev=72,
        offset_hu=4.0,
    ),
    CtProtocol(
        slice_mm=1.0,
        pixel_mm=0.49,
        thickness_mm=1.25,
        psf_mm=1.25,
        overshoot=0.10,
        noise_hu=45.0,
        energy_kev=64,
        offset_hu=8.0,
        cupping_hu=15.0,
    ),
    CtProtocol(
        slice_mm=0.7,
        pixel_mm=0.35,
        thickness_mm=0.90,
        psf_mm=1.05,
        overshoot=0.08,
        noise_hu=65.0,
        energy_kev=75,
        offset_hu=-7.0,
    ),
)
"""The protocols of the simulated hospitals; fields of view of 180-250 mm on 512 pixels. Noise of a sharp
kernel as measured in muscle and fat of a clinical knee (94-102 HU, 0.6 mm slices), of soft ones as
published for 1 mm slices.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CtSession:
    """What differs between scans and patients: mineral density factor, marrow HU, noise factor, drift of
    the HU scale since its last calibration, width of the kernel against the protocol's, seed of the noise.
    """

    mineral_density: float
    marrow_hu: float
    noise_factor: float
    seed: int
    drift_hu: float = 0.0
    blur: float = 1.0


def tube_kv(protocol: CtProtocol) -> int:
    """Return the tube voltage of nearest effective energy, kV: 120 kV has 65 to 75 keV (method notes C5)."""
    if protocol.energy_kev < 65:
        return 100
    return 120 if protocol.energy_kev <= 74 else 140


def kernel_name(protocol: CtProtocol) -> str:
    """Return the name of the kernel by how much it enhances edges: STANDARD, DETAIL or BONE."""
    if protocol.overshoot == 0:
        return "STANDARD"
    return "DETAIL" if protocol.overshoot <= 0.1 else "BONE"


def hu_table(protocol: CtProtocol, session: CtSession) -> tuple[Floats, float]:
    """Return HU of what fills each label (256), and HU of mineralised tissue."""
    table = np.full(256, SOFT_HU[tissue.FLUID], np.float32)
    for label, value in SOFT_HU.items():
        table[label] = value
    _, water = tissue.marrow_fraction_and_water()
    table[tissue.MARROW : tissue.MARROW + 128] = (1 - water) * session.marrow_hu + water * 30.0
    bone = float(np.interp(protocol.energy_kev, BONE_KEV, BONE_HU)) * session.mineral_density
    return table, bone


def mtf(frequency: NDArray[np.float64], psf_mm: float, overshoot: float) -> Floats:
    """Return the kernel's transfer at frequencies in 1/mm: a Gaussian PSF, with a bump for edge enhancement.

    An edge of height 1 is then Φ(u) + c·u·φ(u), u in SDs of the PSF: it peaks `overshoot` above 1 for c =
    0.36 + 4.85 · overshoot (within 0.01 up to 0.2). The mean is kept.
    """
    phase = (2 * np.pi * psf_mm / 2.3548 * frequency) ** 2
    bump = 0.36 + 4.85 * overshoot if overshoot > 0 else 0.0
    out: Floats = (np.exp(-phase / 2) * (1 + bump * phase)).astype(np.float32)
    return out


def slice_profile(frequency: NDArray[np.float64], thickness_mm: float) -> Floats:
    """Return the transfer of a slice profile, a rectangle convolved with a triangle,
    of FWHM about `thickness_mm`.
    """
    out: Floats = (np.sinc(frequency * thickness_mm) * np.sinc(frequency * thickness_mm / 2) ** 2).astype(
        np.float32
    )
    return out


def acquire(
    scene: Scene,
    bones_from_world: NDArray[np.float64],
    grid: Geometry,
    protocol: CtProtocol,
    session: CtSession,
) -> Volume[np.int16]:
    """Return the image in HU on `grid`, which is axial: (slice, row, column)."""
    rng = np.random.default_rng(session.seed)
    table = hu_table(protocol, session)
    blurred = replace(protocol, psf_mm=protocol.psf_mm * session.blur)
    hu = acquire_noiseless(scene, bones_from_world, grid, blurred, table)
    if protocol.cupping_hu:
        hu -= protocol.cupping_hu * hardening(hu, grid.spacing_mm[1:], table[1])
    hu += sample_noise(rng, grid, protocol, protocol.noise_hu * session.noise_factor)
    rounded = np.clip(np.rint(hu + protocol.offset_hu + session.drift_hu), -1024, 3071).astype(np.int16)
    return Volume(array=rounded, geometry=grid)


def hardening(image: Floats, pixel_mm: tuple[float, float], mineral_hu: float) -> Floats:
    """Return how much bone lies in each voxel's surroundings in its slice: 0 far from bone, 1 deep inside a
    wide block of it.

    Times a protocol's `cupping_hu` it is what beam hardening takes off: most in the middle of dense bone,
    some between two condyles. An approximation of the polychromatic projection,
    whose error grows with the bone along the rays.
    """
    dense = np.clip((image - DENSE_HU) / (float(COMPACT_MINERAL) * mineral_hu - DENSE_HU), 0, 1)
    sigma = [0.0, *(CUPPING_MM / mm for mm in pixel_mm)]
    out: Floats = ndimage.gaussian_filter(dense.astype(np.float32), sigma, mode="nearest")
    return out


def acquire_noiseless(
    scene: Scene,
    bones_from_world: NDArray[np.float64],
    grid: Geometry,
    protocol: CtProtocol,
    hu: tuple[Floats, float],
) -> Floats:
    """Return the image before noise: composition on a finer grid, kernel and slice profile,
    sampled on `grid`.
    """
    acquired = widen(grid, MARGIN)
    nz, ny, nx = acquired.shape
    fine = acquired.rescaled((nz * OVERSAMPLE_SLICE, ny * OVERSAMPLE_IN_PLANE, nx * OVERSAMPLE_IN_PLANE))
    dz, dy, dx = grid.spacing_mm
    kernels = [mtf(frequencies(n, d), protocol.psf_mm, 0.0) for n, d in ((ny, dy), (nx, dx))]
    planes = np.empty((fine.shape[0], ny, nx), np.complex64)
    for k, mineral, label in compose_planes(scene, bones_from_world, fine):
        plane = (mineral * np.float32(hu[1]) + (1 - mineral) * hu[0][label]).astype(np.complex64)
        plane = fourier_crop(plane, 1, OVERSAMPLE_IN_PLANE, kernels[1])
        planes[k] = fourier_crop(plane, 0, OVERSAMPLE_IN_PLANE, kernels[0])
    image = _apply_slice_profile(planes, dz, protocol.thickness_mm)
    image = _enhance_edges(image, (dy, dx), protocol)
    return np.ascontiguousarray(image[inner(grid.shape, image.shape)].real)


def _apply_slice_profile(
    planes: NDArray[np.complex64], slice_mm: float, thickness_mm: float
) -> NDArray[np.complex64]:
    """Return slices of the given thickness: the profile on the fine planes, then every
    `OVERSAMPLE_SLICE`-th of them.

    Slices are reconstructed wherever they are wanted: what is finer than two of them is not cut off, as in
    MR, but folds.
    """
    profile = slice_profile(frequencies(len(planes), slice_mm / OVERSAMPLE_SLICE), thickness_mm)[:, None]
    out = np.empty((len(planes) // OVERSAMPLE_SLICE, *planes.shape[1:]), np.complex64)
    for row in range(planes.shape[1]):
        smooth = fft.ifft(fft.fft(planes[:, row], axis=0) * profile, axis=0)
        out[:, row] = smooth[OVERSAMPLE_SLICE // 2 :: OVERSAMPLE_SLICE]
    return out


def folded_profile(count: int, slice_mm: float, thickness_mm: float) -> Floats:
    """Return the root of a slice profile's power at the frequencies of `count` slices,
    what lies beyond them folded in.
    """
    base = frequencies(count, slice_mm)
    power = sum(
        slice_profile(base + fold / slice_mm, thickness_mm).astype(np.float64) ** 2 for fold in range(-3, 4)
    )
    return np.sqrt(power).astype(np.float32)


def _enhance_edges(
    image: NDArray[np.complex64], pixel_mm: tuple[float, float], protocol: CtProtocol
) -> NDArray[np.complex64]:
    """Return the image with the kernel's bump, which depends on the radial frequency and is not separable."""
    if protocol.overshoot == 0:
        return image
    radius = radial_frequency((image.shape[1], image.shape[2]), pixel_mm)
    gain = mtf(radius, protocol.psf_mm, protocol.overshoot) / np.maximum(
        mtf(radius, protocol.psf_mm, 0.0), 1e-6
    )
    out: NDArray[np.complex64] = fft.ifft2(fft.fft2(image, axes=(1, 2)) * gain, axes=(1, 2))
    return out


def frequencies(count: int, step_mm: float) -> NDArray[np.float64]:
    """Return the frequencies of a transform of `count` samples, 1/mm."""
    return np.asarray(np.fft.fftfreq(count, step_mm), np.float64)


def radial_frequency(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Return √(fy² + fx²) in 1/mm on the grid of a 2-D transform."""
    fy, fx = (frequencies(n, d) for n, d in zip(shape, pixel_mm, strict=True))
    return np.asarray(np.hypot(fy[:, None], fx[None, :]))


def noise_power(frequency: NDArray[np.float64], protocol: CtProtocol) -> NDArray[np.float64]:
    """Return the in-plane noise power at radial frequencies, any scale: the ramp times MTF² (Kijewski &
    Judy 1987).
    """
    return frequency * mtf(frequency, protocol.psf_mm, protocol.overshoot).astype(np.float64) ** 2


def sample_noise(rng: np.random.Generator, grid: Geometry, protocol: CtProtocol, sigma_hu: float) -> Floats:
    """Return noise of SD `sigma_hu`: `noise_power` within a slice, the slice profile's correlation between
    slices.
    """
    shape = widen(grid, MARGIN).shape
    dz, dy, dx = grid.spacing_mm
    spectrum = fft.fftn(rng.standard_normal(shape, np.float32))
    plane = np.sqrt(noise_power(radial_frequency((shape[1], shape[2]), (dy, dx)), protocol)).astype(
        np.float32
    )
    along = folded_profile(shape[0], dz, protocol.thickness_mm)
    noise = fft.ifftn(spectrum * plane * along[:, None, None], overwrite_x=True).real
    scale = sigma_hu / np.sqrt(
        float((plane.astype(np.float64) ** 2).mean() * (along.astype(np.float64) ** 2).mean())
    )
    return np.ascontiguousarray(noise[inner(grid.shape, shape)] * np.float32(scale))
