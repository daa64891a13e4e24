"""What a scanner does to a drawn image: blur, thick slices, coarse pixels, noise, coils, a field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.geometry import Shape
from srrd_ray.segmentation.appearance import Appearance
from srrd_ray.segmentation.resampling import apply_along, axis_weights

Floats = NDArray[np.float32]
COARSEST_MM, THICKEST_MM = 2.0, 4.5
BANDED = 0.5
"""Share of drawn MR with the bands of balanced SSFP."""
NARROWEST_MM = 30.0
"""Least span of a field of view."""
AXES_OF_SLICES = {True: (0.65, 0.15, 0.2), False: (0.15, 0.2, 0.65)}
"""How often slices lie across z, y, x: in CT, and in MR."""


def smooth_field(rng: np.random.Generator, shape: Shape, step: int) -> Floats:
    """Return a smooth random field, of SD near 1, linear between nodes `step` voxels apart."""
    nodes = rng.standard_normal([n // step + 2 for n in shape], dtype=np.float32)
    at = rng.random(3)
    weights = [axis_weights(m, n, 1.0 / step, f) for m, n, f in zip(nodes.shape, shape, at, strict=True)]
    for axis, weight in enumerate(weights):
        nodes = apply_along(nodes, weight, axis)
    return np.ascontiguousarray(nodes) * np.float32(1.4)


def acquire(rng: np.random.Generator, image: Floats, look: Appearance, spacing_mm: float) -> Floats:
    """Return a drawn image as a scanner with random faults would give it, on the same lattice."""
    is_ct = look.kind == "ct"
    if is_ct and rng.random() < 0.2:
        image = _drawn_edges(rng, image)
    if not is_ct:
        image = image * _bias(rng, image.shape)
        if rng.random() < BANDED:
            image = image * _bands(rng, image.shape)
    if rng.random() < 0.7:
        image = ndimage.gaussian_filter(image, rng.uniform(0.1, 0.7, 3), truncate=3.0)
    steps = _steps(rng, spacing_mm, is_ct=is_ct)
    image = _with_noise(rng, image, look, steps)
    if is_ct and rng.random() < 0.3:
        image += rng.uniform(0.2, 0.8) * (image - ndimage.gaussian_filter(image, 1.0, truncate=2.0))
    return image


def _drawn_edges(rng: np.random.Generator, image: Floats) -> Floats:
    """Return the image with bright borders of tissues, as a network that makes CT of MR draws them."""
    soft = np.clip(image, -150, 150)
    edge = ndimage.gaussian_gradient_magnitude(soft, rng.uniform(0.6, 1.2), truncate=3.0)
    patchy = np.clip(smooth_field(rng, image.shape, 24) + 0.3, 0, 1)
    out: Floats = image + np.float32(rng.uniform(1, 6)) * edge * patchy
    return out


def _bias(rng: np.random.Generator, shape: Shape) -> Floats:
    strength = rng.uniform(0, 0.35)
    out: Floats = np.exp(np.float32(strength) * smooth_field(rng, shape, int(rng.integers(48, 100))))
    return out


def _bands(rng: np.random.Generator, shape: Shape) -> Floats:
    """Return what balanced SSFP loses where spins come half a turn off resonance: dark arcs, thin or wide.

    The phase over a repetition is a tilt and a bend across the patch, of some turns at most.
    """
    z, y, x = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True
    )
    tilt, bend = rng.normal(0, 0.6, 3), rng.normal(0, 0.8, 6)
    turns = rng.random() + tilt[0] * z + tilt[1] * y + tilt[2] * x + 0.3 * smooth_field(rng, shape, 40)
    turns = turns + bend[0] * z * z + bend[1] * y * y + bend[2] * x * x
    turns = turns + bend[3] * z * y + bend[4] * z * x + bend[5] * y * x
    signal = np.abs(np.cos(np.float32(np.pi) * turns)) * np.float32(rng.uniform(1.2, 4.0))
    out: Floats = np.clip(signal, np.float32(rng.uniform(0.0, 0.3)), 1.0).astype(np.float32)
    return out


def _steps(rng: np.random.Generator, spacing_mm: float, *, is_ct: bool) -> tuple[float, float, float]:
    """Return the voxel of the scan in voxels of the working grid, none finer than it."""
    pixel = max(rng.uniform(0.3, COARSEST_MM) if rng.random() < 0.5 else 0.0, spacing_mm)
    steps = np.full(3, pixel)
    axis = int(rng.choice(3, p=AXES_OF_SLICES[is_ct]))
    steps[axis] = max(rng.uniform(1.0, THICKEST_MM) if rng.random() < 0.6 else 0.0, spacing_mm)
    z, y, x = steps / spacing_mm
    return float(z), float(y), float(x)


def _with_noise(
    rng: np.random.Generator, image: Floats, look: Appearance, steps: tuple[float, float, float]
) -> Floats:
    """Return the image by way of the lattice of the scan, where noise is added, and back."""
    shape = image.shape
    counts = [max(int(n / s), 2) if s > 1 else n for n, s in zip(shape, steps, strict=True)]
    firsts = [
        rng.uniform(0, max(n - (c - 1) * s - 1, 0)) for n, c, s in zip(shape, counts, steps, strict=True)
    ]
    for axis, (count, step, first) in enumerate(zip(counts, steps, firsts, strict=True)):
        if step > 1:
            image = apply_along(image, axis_weights(shape[axis], count, step, first), axis)
    image = _noisy(rng, np.ascontiguousarray(image), look)
    for axis, (step, first) in enumerate(zip(steps, firsts, strict=True)):
        if step > 1:
            weights = axis_weights(image.shape[axis], shape[axis], 1 / step, -first / step)
            image = apply_along(image, weights, axis)
    return np.ascontiguousarray(image)


def _noisy(rng: np.random.Generator, image: Floats, look: Appearance) -> Floats:
    level = np.float32(look.unit * (rng.uniform(0.003, 0.08) if rng.random() < 0.9 else 0.0))
    noise = level * rng.standard_normal(image.shape, dtype=np.float32)
    if look.kind == "ct":
        if rng.random() < 0.6:
            noise = np.float32(2.0) * ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9), truncate=2.0)
        return image + noise
    other = level * rng.standard_normal(image.shape, dtype=np.float32)
    out: Floats = np.hypot(image + noise, other)
    return out


def sample_field_of_view(rng: np.random.Generator, shape: Shape, spacing_mm: float) -> NDArray[np.bool_]:
    """Return which voxels of a patch the scan covers: half of the time all, else a box in it."""
    least = round(NARROWEST_MM / spacing_mm)
    inside = np.ones(shape, np.bool_)
    if rng.random() < 0.5:
        return inside
    for axis, size in enumerate(shape):
        if rng.random() < 0.6:
            span = int(rng.integers(min(least, size), size + 1))
            start = int(rng.integers(0, size - span + 1))
            keep = np.zeros(size, np.bool_)
            keep[start : start + span] = True
            inside &= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    return inside
