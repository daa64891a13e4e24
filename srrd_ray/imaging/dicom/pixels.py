"""Voxels of a checked DICOM stack: stored bits to Hounsfield units or MR signal, slice by slice."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.scanned import TOUCHED, resample_scanned
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.decode import decode, select_frame
from srrd_ray.imaging.dicom.files import Slice
from srrd_ray.imaging.dicom.padding import Mask, find_padding
from srrd_ray.imaging.dicom.series import Stack, orthogonalize
from srrd_ray.imaging.source import AIR_HU, Note, Pixels, SourceImage

NOT_HOUNSFIELD = "dicom-no-rescale"
"""Code of the note on values that are no Hounsfield units."""
_LOWEST_HU = -1024
_STREAKS = 0.01
"""Share of the voxels that metal or a kernel may push below `_LOWEST_HU`."""


def read_voxels(stack: Stack) -> SourceImage:
    """Return the image of `stack` in HU (CT) or stored signal (MR), where it was scanned, what was corrected.

    Raises
    ------
    InputError
        `dicom-pixels` where a slice cannot be decoded.
    """
    values, candidates = _read_slices(stack)
    padding, padded, doubts = _set_padding(stack, values, candidates)
    below, lifted, more = _lift_below_air(stack, values)
    if below is not None:
        padding = below if padding is None else padding | below
    volume, scanned = _resample(stack, values, None if padding is None else ~padding)
    notes = (*_notes(stack, padded + lifted), *doubts, *more)
    return SourceImage(volume=volume, unit=stack.unit, scanned=scanned, notes=notes)


def _read_slices(stack: Stack) -> tuple[Pixels, Mask | None]:
    """Return the values in order of position, and the voxels of a declared padding value (null for none)."""
    whole = all(_is_whole(item) for item in stack.slices)
    shape = stack.geometry.shape
    values: Pixels = np.empty(shape, dtype=np.int16) if whole else np.empty(shape, dtype=np.float32)
    candidates = None
    order = {id(item): i for i, item in enumerate(stack.slices)}
    for _, group in groupby(sorted(stack.slices, key=lambda s: str(s.path)), key=lambda s: s.path):
        frames = list(group)
        decoded = decode(frames[0])
        for item in frames:
            stored, place = select_frame(item, decoded), order[id(item)]
            values[place] = _rescale(item, stored, whole=whole)
            padded = _find_declared(item, stored)
            if padded is not None:
                candidates = np.zeros(shape, dtype=np.bool_) if candidates is None else candidates
                candidates[place] = padded
    return values, candidates


def _is_whole(item: Slice) -> bool:
    """Whether every value that the slice can hold becomes a whole number that fits into 16 bits."""
    slope, intercept = item.slope or 1.0, item.intercept or 0.0
    if not (slope.is_integer() and intercept.is_integer()) or item.inverted:
        return False
    ends = [slope * limit + intercept for limit in item.stored.limits]
    return min(ends) >= -(2**15) and max(ends) < 2**15


def _find_declared(item: Slice, stored: NDArray[np.integer]) -> Mask | None:
    """Return the voxels of the padding value that a slice declares; null where there is none."""
    if item.padding is None:
        return None
    padded: Mask = (stored >= item.padding[0]) & (stored <= item.padding[1])
    return padded if padded.any() else None


def _set_padding(
    stack: Stack, values: Pixels, candidates: Mask | None
) -> tuple[Mask | None, int, tuple[Note, ...]]:
    """Set declared padding to air (CT) or 0 (MR); return where and how much it was, and what is doubtful."""
    if candidates is None:
        return None, 0, ()
    zero = any(item.padding and item.padding[0] <= 0 <= item.padding[1] for item in stack.slices)
    found = find_padding(values, candidates, real=zero)
    values[found.where] = AIR_HU if stack.unit == "HU" else 0
    return found.where, int(np.count_nonzero(found.where)), found.doubts


def _lift_below_air(stack: Stack, values: Pixels) -> tuple[Mask | None, int, tuple[Note, ...]]:
    """Set what is below air to air: one value is padding that nobody declared, a few others are streaks.

    Many others are no Hounsfield units; they are left as they are, and a cohort refuses them. Return the
    padding, how many voxels were set, and what is doubtful.
    """
    if stack.unit != "HU" or values.min() >= _LOWEST_HU:
        return None, 0, ()
    below = values < _LOWEST_HU
    found, counts = np.unique(values[below], return_counts=True)
    others = int(counts.sum() - counts.max())
    if others > _STREAKS * values.size:
        share = 100 * counts.sum() / values.size
        text = f"{share:.0f} % of the voxels are below {_LOWEST_HU} HU, down to {found[0]:g}"
        text += ": no Hounsfield units, values are taken as stored"
        return None, 0, (Note(severity="FLAG", code=NOT_HOUNSFIELD, message=text),)
    padding = find_padding(values, values == found[counts.argmax()])
    values[below] = AIR_HU
    return padding.where, int(counts.sum()), padding.doubts if padding.apart else ()


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


def _resample(
    stack: Stack, values: Pixels, scanned: Mask | None
) -> tuple[Volume[np.int16] | Volume[np.float32], Mask | None]:
    """Return the volume on an even grid at right angles, and what of it was scanned; null for all of it."""
    if not stack.resample_from_mm and not stack.tilted and values.dtype == np.int16:
        return Volume(array=values.astype(np.int16, copy=False), geometry=stack.geometry), scanned
    fill = float(AIR_HU) if stack.unit == "HU" else 0.0
    geometry = stack.geometry
    if stack.resample_from_mm:
        positions = np.array(stack.resample_from_mm)
        values, geometry = _resample_evenly(values, geometry, positions)
        if scanned is not None:
            share, _ = _resample_evenly(scanned.astype(np.float32), stack.geometry, positions)
            scanned = share > 1 - TOUCHED
    volume = Volume(array=values.astype(np.float32, copy=False), geometry=geometry)
    if stack.tilted:
        volume = volume.resample_onto(orthogonalize(geometry), fill=fill)
        scanned = resample_scanned(scanned, geometry, volume.geometry)
    return compact(volume), scanned


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
