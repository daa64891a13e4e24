"""Voxels of a checked DICOM stack: stored bits to Hounsfield units or MR signal, slice by slice."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.records import Unit
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.decode import decode, select_frame
from srrd_ray.imaging.dicom.files import Slice
from srrd_ray.imaging.dicom.series import Stack, orthogonalize
from srrd_ray.imaging.source import AIR_HU, Note, Pixels

NOT_HOUNSFIELD = "dicom-no-rescale"
"""Code of the note on values that are no Hounsfield units."""
_LOWEST_HU = -1024
_STREAKS = 0.01
"""Share of the voxels that metal or a kernel may push below `_LOWEST_HU`."""


def read_voxels(stack: Stack) -> tuple[Volume[np.int16] | Volume[np.float32], tuple[Note, ...]]:
    """Return the volume of `stack` in HU (CT) or stored signal (MR), and what was corrected.

    Raises
    ------
    InputError
        `dicom-pixels` where a slice cannot be decoded.
    """
    whole = all(_is_whole(item) for item in stack.slices)
    shape = stack.geometry.shape
    values: Pixels = np.empty(shape, dtype=np.int16) if whole else np.empty(shape, dtype=np.float32)
    padded = 0
    order = {id(item): i for i, item in enumerate(stack.slices)}
    for _, group in groupby(sorted(stack.slices, key=lambda s: str(s.path)), key=lambda s: s.path):
        frames = list(group)
        stored = decode(frames[0])
        for item in frames:
            values[order[id(item)]], count = _physical(
                stack.unit, item, select_frame(item, stored), whole=whole
            )
            padded += count
    lifted, doubts = _lift_below_air(stack, values)
    notes = _notes(stack, padded + lifted)
    return _resample(stack, values), (*notes, *doubts)


def _is_whole(item: Slice) -> bool:
    """Whether every value that the slice can hold becomes a whole number that fits into 16 bits."""
    slope, intercept = item.slope or 1.0, item.intercept or 0.0
    if not (slope.is_integer() and intercept.is_integer()) or item.inverted:
        return False
    ends = [slope * limit + intercept for limit in item.stored.limits]
    return min(ends) >= -(2**15) and max(ends) < 2**15


def _physical(unit: Unit, item: Slice, stored: NDArray[np.integer], *, whole: bool) -> tuple[Pixels, int]:
    """Return HU or signal, and how many voxels were declared to be padding."""
    values = _rescale(item, stored, whole=whole)
    fill = AIR_HU if unit == "HU" else 0
    padded = 0
    if item.padding is not None:
        pad = (stored >= item.padding[0]) & (stored <= item.padding[1])
        padded = int(pad.sum())
        values[pad] = fill
    return values, padded


def _lift_below_air(stack: Stack, values: Pixels) -> tuple[int, tuple[Note, ...]]:
    """Set what is below air to air: one value is padding that nobody declared, a few others are streaks.

    Many others are no Hounsfield units; they are left as they are, and a cohort refuses them.
    """
    if stack.unit != "HU" or values.min() >= _LOWEST_HU:
        return 0, ()
    below = values < _LOWEST_HU
    found, counts = np.unique(values[below], return_counts=True)
    others = int(counts.sum() - counts.max())
    if others > _STREAKS * values.size:
        share = 100 * counts.sum() / values.size
        text = f"{share:.0f} % of the voxels are below {_LOWEST_HU} HU, down to {found[0]:g}"
        text += ": no Hounsfield units, values are taken as stored"
        return 0, (Note(severity="FLAG", code=NOT_HOUNSFIELD, message=text),)
    values[below] = AIR_HU
    return int(counts.sum()), ()


def _rescale(item: Slice, stored: NDArray[np.integer], *, whole: bool) -> Pixels:
    slope, intercept = item.slope or 1.0, item.intercept or 0.0
    if whole:
        values = stored.astype(np.int16)
        if (slope, intercept) != (1.0, 0.0):
            values = (values.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
        return values
    signal = stored.astype(np.float64)
    if item.inverted and item.modality == "mr":
        signal = sum(item.stored.limits) - signal  # about one value in all slices, so that none is shifted
    return (signal * slope + intercept).astype(np.float32)


def _notes(stack: Stack, padded: int) -> tuple[Note, ...]:
    notes = []
    if padded:
        fill = f"{AIR_HU} HU" if stack.unit == "HU" else "0"
        notes.append(
            Note(severity="FIX", code="dicom-padding", message=f"{padded} padding voxels set to {fill}")
        )
    if stack.slices[0].inverted:
        done = "Hounsfield units are unaffected" if stack.modality == "ct" else "signal inverted"
        notes.append(Note(severity="FIX", code="dicom-monochrome1", message=f"MONOCHROME1: {done}"))
    return tuple(notes)


def _resample(stack: Stack, values: Pixels) -> Volume[np.int16] | Volume[np.float32]:
    if not stack.resample_from_mm and not stack.tilted and values.dtype == np.int16:
        return Volume(array=values.astype(np.int16, copy=False), geometry=stack.geometry)
    fill = float(AIR_HU) if stack.unit == "HU" else 0.0
    geometry = stack.geometry
    if stack.resample_from_mm:
        values, geometry = _resample_evenly(values, geometry, np.array(stack.resample_from_mm))
    volume = Volume(array=values.astype(np.float32, copy=False), geometry=geometry)
    if stack.tilted:
        volume = volume.resample_onto(orthogonalize(geometry), fill=fill)
    return compact(volume)


def _resample_evenly(
    values: Pixels, geometry: Geometry, positions_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float32], Geometry]:
    """Return slices interpolated linearly at even steps of the smallest gap between `positions_mm` (mm)."""
    step = float(np.diff(positions_mm).min())
    wanted = np.arange(positions_mm[0], positions_mm[-1] + 1e-6, step)
    sampled = interpolate.interp1d(
        positions_mm, values, axis=0, copy=False, bounds_error=False, fill_value="extrapolate"
    )(wanted)
    affine = geometry.affine
    along = affine[:3, 2] * (len(positions_mm) - 1) / (positions_mm[-1] - positions_mm[0])
    affine[:3, 2] = along * step
    return sampled.astype(np.float32), Geometry.from_affine((len(wanted), *geometry.shape[1:]), affine)


def compact(volume: Volume[np.float32]) -> Volume[np.int16] | Volume[np.float32]:
    """Return int16 where every value is a whole number that fits, else the float32 volume itself."""
    values = volume.array
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < -(2**15) or high > 2**15 - 1:
        return volume
    whole = values.astype(np.int16)
    return Volume(array=whole, geometry=volume.geometry) if np.array_equal(whole, values) else volume
