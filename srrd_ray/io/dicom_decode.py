"""Stored integers of DICOM slices, without the bits that are no image."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from srrd_ray.errors import InputError
from srrd_ray.io.dicom_files import Slice


def stored_values(item: Slice) -> NDArray[np.int32]:
    """Return the stored integers (rows, columns) of one slice, with unused bits removed."""
    return frame_of(item, decode(item))


def decode(item: Slice) -> NDArray[np.int32]:
    """Return the stored integers of the whole file of a slice, all its frames.

    Raises
    ------
    InputError
        `dicom-pixels` where they cannot be decoded.
    """
    try:
        dataset = pydicom.dcmread(item.path)
        return _used_bits(dataset, np.asarray(dataset.pixel_array))
    except (ValueError, RuntimeError, OSError, EOFError, AttributeError, KeyError, NotImplementedError) as error:
        raise InputError(
            "dicom-pixels",
            "the pixels of a slice cannot be decoded",
            where=item.name,
            got=type(error).__name__,
            todo="Copy the series again from its source; for compressed files install srrd-ray[dicom].",
        ) from error


def frame_of(item: Slice, stored: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the frame of one slice out of the values of its file."""
    return stored[item.frame] if item.frame is not None and stored.ndim == 3 else stored


def _used_bits(dataset: FileDataset, pixels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the values of BitsStored bits below HighBit: what lies above (old overlays) is not image."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    values = pixels.astype(np.int32)
    if stored >= allocated or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return values
    shift = int(dataset.get("HighBit", stored - 1)) - stored + 1
    values = (values >> shift) & ((1 << stored) - 1)
    if dataset.PixelRepresentation == 1:
        values = values - ((values >> (stored - 1)) << stored)
    return np.asarray(values, dtype=np.int32)
