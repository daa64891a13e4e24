"""Bones in a whole image: onto the working grid, through the network, back onto the image's own lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from torch import nn

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.segmentation.config import LEVELS_FACTOR, SegmenterConfig
from srrd_ray.segmentation.grey_values import scale_ct, scale_mr
from srrd_ray.segmentation.inference_kernel import label_lattice
from srrd_ray.segmentation.resampling import resample

GreyValues: TypeAlias = Literal["ct", "mr"]
"""Hounsfield units (also of a synthetic CT), or any others."""
MOST_VOXELS = 2_600_000
"""Of a tile: a knee of 150 × 150 × 112 mm is one; what is larger is cut into tiles that overlap."""
OVERLAP = 0.2
MARGIN = 8
"""Voxels of air that are kept around a limb."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Lattice:
    """The working grid within an image whose axes run along LPS: its first voxel, its steps in voxels."""

    shape: Shape
    steps: tuple[float, float, float]
    firsts: tuple[float, float, float]


def segment(
    network: nn.Module, image: Volume[Scalar], kind: GreyValues, config: SegmenterConfig
) -> Volume[np.uint8]:
    """Return the class of each voxel (`CLASSES`) on the grid of `image`; surfaces are finer than its voxels.

    Raises
    ------
    InputError
        `voxels-not-finite`; `image-too-small` where an axis covers less than 16 mm.
    """
    view = image.in_lps_order()
    work = _working_lattice(image.geometry, view.shape, config.spacing_mm)
    source = view.astype(np.float32)
    if not np.isfinite(source).all():
        raise InputError(
            "voxels-not-finite", "the image holds NaN or infinite voxels", todo="Repair or exclude it."
        )
    array = resample(source, work.shape, work.steps, work.firsts)
    del source
    array = scale_ct(array) if kind == "ct" else scale_mr(array)
    box = _limb_box(array) if kind == "ct" else tuple(slice(0, n) for n in array.shape)
    logits = _run(network, array[box])
    labels = np.zeros(image.geometry.shape, np.uint8)
    out = Volume(array=labels, geometry=image.geometry).in_lps_order()
    _fill(out, logits, work, box)
    return Volume(array=labels, geometry=image.geometry)


def _working_lattice(geometry: Geometry, shape: tuple[int, ...], spacing_mm: float) -> _Lattice:
    """Return the lattice of `spacing_mm` along the image's own axes, centred in its field of view."""
    spacing = np.array(geometry.lps_order().spacing_mm)
    extent = np.array(shape) * spacing
    if extent.min() < LEVELS_FACTOR * spacing_mm:
        raise InputError(
            "image-too-small", "too thin to find bones in", got=f"{extent.min():.0f} mm",
            expected=f"{LEVELS_FACTOR * spacing_mm:.0f} mm or more along each axis",
            todo="Give the whole series of slices.",
        )  # fmt: skip
    counts = np.maximum(np.floor(extent / spacing_mm + 1e-6).astype(int), 2)
    steps = spacing_mm / spacing
    firsts = (np.array(shape) - 1) / 2 - steps * (counts - 1) / 2
    z, y, x = (int(n) for n in counts)
    return _Lattice(
        shape=(z, y, x),
        steps=(float(steps[0]), float(steps[1]), float(steps[2])),
        firsts=(float(firsts[0]), float(firsts[1]), float(firsts[2])),
    )


def _limb_box(array: Floats) -> tuple[slice, ...]:
    """Return the box of what is not air, with a margin: tables of scanners are thin and do no harm."""
    solid = array > 0.0
    box = []
    for axis in range(3):
        share = solid.mean(axis=tuple(a for a in range(3) if a != axis))
        hits = np.flatnonzero(share > 0.01)
        low, high = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, array.shape[axis])
        box.append(slice(max(low - MARGIN, 0), min(high + MARGIN, array.shape[axis])))
    return tuple(box)


def _run(network: nn.Module, array: Floats) -> Floats:
    """Return logits (z, y, x, classes); the image is padded with what lies outside of a field of view: 0."""
    after = [(-n) % LEVELS_FACTOR for n in array.shape]
    wide = np.pad(array, [(0, n) for n in after])
    tile = _tile(wide.shape)
    device = next(network.parameters()).device
    whole = torch.from_numpy(wide[None, None]).to(device).contiguous(memory_format=torch.channels_last_3d)
    network.eval()
    with torch.inference_mode():
        if tile == wide.shape:
            out = network(whole)
        else:
            out = SlidingWindowInferer(tile, overlap=OVERLAP, mode="gaussian")(whole, network)
    z, y, x = array.shape
    logits: Floats = np.ascontiguousarray(out[0, :, :z, :y, :x].permute(1, 2, 3, 0).float().cpu().numpy())
    return logits


def _tile(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of tiles: the image's, its longest side cut until a tile is small enough."""
    sides = list(shape)
    parts = [1, 1, 1]
    while np.prod(sides) > MOST_VOXELS:
        axis = int(np.argmax(sides))
        parts[axis] += 1
        span = shape[axis] / (parts[axis] - OVERLAP * (parts[axis] - 1))
        sides[axis] = int(np.ceil(span / LEVELS_FACTOR)) * LEVELS_FACTOR
    return sides[0], sides[1], sides[2]


def _fill(out: NDArray[np.uint8], logits: Floats, work: _Lattice, box: tuple[slice, ...]) -> None:
    """Write the classes into a view of the image, the part of it that the box covers."""
    steps = 1 / np.array(work.steps)
    firsts = -np.array(work.firsts) * steps - np.array([part.start for part in box])
    size = np.array(logits.shape[:3])
    low = np.maximum(np.ceil((-0.5 - firsts) / steps - 1e-6), 0).astype(int)
    high = np.minimum(np.floor((size - 0.5 - firsts) / steps + 1e-6) + 1, out.shape).astype(int)
    whole = [b.start == 0 and b.stop == n for b, n in zip(box, work.shape, strict=True)]
    low, high = np.where(whole, 0, low), np.where(whole, out.shape, high)
    part = out[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    best = logits.argmax(axis=3).astype(np.uint8)
    made = np.empty(part.shape, np.uint8)
    label_lattice(logits, best, steps, firsts + low * steps, made)
    part[...] = made
