"""A training patch from a simulated label map: contrast, resolution, faults and pose drawn, the truth exact.

After SynthSeg (Billot et al., Med. Image Anal. 86:102789, 2023): a network that has seen any contrast needs
no real labels. Here bone also has texture, gradients and a cortex of its own, and a part of the images is CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.geometry import Shape
from srrd_ray.segmentation.acquisition import acquire, sample_field_of_view, smooth_field
from srrd_ray.segmentation.appearance import Appearance, sample_appearance
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.contrast_kernel import gather
from srrd_ray.segmentation.deformation import sample_placement
from srrd_ray.segmentation.grey_values import scale_ct, scale_mr
from srrd_ray.segmentation.simulated_classes import class_of_label

Floats = NDArray[np.float32]
FLOOR_HU = -125.0
"""Of what varies within a tissue: nothing in a limb but air is darker than its fat."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """A patch: what the network sees (z, y, x), and how many eighths of each voxel belong to each class
    (classes, z, y, x); none at all where the scan or the simulated knee ends.
    """

    image: Floats
    eighths: NDArray[np.uint8]


def draw(
    rng: np.random.Generator, labels: NDArray[np.uint8], map_mm: float, shape: Shape, spacing_mm: float
) -> Example:
    """Return a random patch of a knee; the same for the same state of `rng`.

    Parameters
    ----------
    labels
        Label map (`simulation.labels.LABELS`, cortex apart), axes along LPS, isotropic voxels of `map_mm`.
    shape, spacing_mm
        Of the patch.
    """
    look = sample_appearance(rng)
    place = sample_placement(rng, shape, spacing_mm, labels.shape, map_mm)
    eighths = np.zeros((len(CLASSES), *shape), np.uint8)
    sums = np.zeros((len(look.tables), *shape), np.float32)
    gather(labels, place.to_map, place.bend, class_of_label(), look.tables, eighths, sums)
    image = acquire(rng, _paint(rng, sums, look), look, spacing_mm)
    seen = sample_field_of_view(rng, shape, spacing_mm)
    known = seen & (eighths.sum(axis=0) == 8)
    image = scale_ct(image) if look.kind == "ct" else _gamma(rng, scale_mr(image, known))
    eighths[:, ~known] = 0
    return Example(image=np.where(known, image, np.float32(0)), eighths=eighths)


def _paint(rng: np.random.Generator, sums: Floats, look: Appearance) -> Floats:
    """Return the image of tissues with their texture, before any scanner."""
    mean, fine, smooth, deep, marrow = sums
    shape = mean.shape
    grain = rng.standard_normal(shape, dtype=np.float32)
    sigma = np.array([rng.uniform(0.4, 2.5), *rng.uniform(0.3, 1.2, 2)])
    grain = ndimage.gaussian_filter(grain, sigma, truncate=2.5)
    grain /= max(float(grain.std()), 1e-6)
    middle = ndimage.gaussian_filter(marrow, rng.uniform(2, 6), truncate=2.0)
    out: Floats = (
        mean
        + fine * grain
        + smooth * smooth_field(rng, shape, int(rng.integers(6, 30)))
        + deep * (2 * middle - 1.5)
    )
    floor = np.float32(FLOOR_HU if look.kind == "ct" else 0.0)
    clipped: Floats = np.maximum(out, np.minimum(mean, floor))
    return clipped


def _gamma(rng: np.random.Generator, image: Floats) -> Floats:
    """Return the image through a random curve from 0 to 1."""
    out: Floats = image ** np.float32(np.exp(rng.normal(0, 0.25)))
    return out
