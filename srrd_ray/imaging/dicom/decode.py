"""Stored integers of DICOM slices, without the bits that are no image."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.dicom.files import Slice
from srrd_ray.imaging.dicom.library_warnings import unvalidated


def read_stored_values(item: Slice) -> NDArray[np.integer]:
    """Return the stored integers (rows, columns) of one slice."""
    return select_frame(item, decode(item))


def decode(item: Slice) -> NDArray[np.integer]:
    """Return the stored integers of the whole file of a slice, all its frames.

    Uncompressed pixels are read from where the header ended, without parsing the file a second time.

    Raises
    ------
    InputError
        `dicom-pixels` where they cannot be decoded.
    """
    try:
        if item.stored.offset is None:
            with unvalidated():
                return np.asarray(pydicom.dcmread(item.path).pixel_array)
        return _mask_used_bits(item, _read_native(item))
    except (
        ValueError,
        RuntimeError,
        OSError,
        EOFError,
        AttributeError,
        KeyError,
        NotImplementedError,
    ) as error:
        raise InputError(
            "dicom-pixels",
            "the pixels of a slice cannot be decoded",
            where=item.name,
            got=type(error).__name__,
            todo="Copy the series again from its source; for compressed files install srrd-ray[dicom].",
        ) from error


def select_frame(item: Slice, stored: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the frame of one slice out of the values of its file."""
    return stored[item.frame] if item.frame is not None and stored.ndim == 3 else stored


def _read_native(item: Slice) -> NDArray[np.integer]:
    rows, columns = item.shape or (0, 0)
    count = rows * columns if item.frame is None else -1
    values = np.fromfile(item.path, dtype=item.stored.dtype, offset=item.stored.offset or 0, count=count)
    if item.frame is None:
        return values.reshape(rows, columns)
    frames = len(values) // (rows * columns)
    return values[: frames * rows * columns].reshape(frames, rows, columns)


def _mask_used_bits(item: Slice, values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the values of BitsStored bits below HighBit: what lies above (old overlays) is not image."""
    bits, shift = item.stored.bits, item.stored.shift
    if bits >= 8 * values.dtype.itemsize:
        return values
    used = (values.astype(np.int32) >> shift) & ((1 << bits) - 1)
    if values.dtype.kind == "i":
        used = used - ((used >> (bits - 1)) << bits)
    return np.asarray(used, dtype=np.int32)
