"""Stored integers of DICOM slices, without the bits that are no image."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from srrd_ray.core.errors import InputError
from srrd_ray.imaging.dicom.files import UNREADABLE, Slice
from srrd_ray.imaging.dicom.library_warnings import unvalidated
from srrd_ray.imaging.reasons import explain


def read_stored_values(item: Slice) -> NDArray[np.integer]:
    """Return the stored integers (rows, columns) of one slice."""
    return select_frame(item, decode(item))


def decode(item: Slice) -> NDArray[np.integer]:
    """Return the stored integers of the whole file of a slice, all its frames, as pydicom decodes them.

    Little-endian uncompressed pixels are read from their offset, without parsing the file a second time; a
    test over encodings, bit depths and signs holds that equal to pydicom.

    Raises
    ------
    InputError
        `dicom-pixels` where they cannot be decoded, or are outside what the header says can be stored.
    """
    try:
        if item.stored.offset is not None:
            return _cut_to_bits(item, _read_native(item))
        with unvalidated():
            return _check_range(item, _decode_by_pydicom(item))
    except (*UNREADABLE, RuntimeError, OSError, EOFError) as error:
        raise _pixels_error(item, explain(error)) from error


def _pixels_error(item: Slice, got: str) -> InputError:
    return InputError(
        "dicom-pixels",
        "the pixels of a slice cannot be decoded",
        where=item.name,
        got=got,
        todo="Copy the series again from its source; for compressed files install srrd-ray[dicom].",
    )


def _decode_by_pydicom(item: Slice) -> NDArray[np.integer]:
    dataset = pydicom.dcmread(item.path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return np.asarray(dataset.pixel_array)


def _check_range(item: Slice, values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Refuse values that BitsStored cannot hold: the header and the compressed data contradict each other."""
    low, high = item.stored.limits
    if values.dtype.kind not in "iu" or values.min() < low or values.max() > high:
        raise _pixels_error(item, f"{values.dtype} outside {low} to {high}")
    return values


def select_frame(item: Slice, stored: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the frame of one slice out of the values of its file."""
    return stored[item.frame] if item.frame is not None and stored.ndim == 3 else stored


def _read_native(item: Slice) -> NDArray[np.integer]:
    stored, frames = item.stored, () if item.frame is None else (-1,)
    values = np.fromfile(item.path, dtype=stored.dtype, offset=stored.offset or 0, count=stored.count)
    return values.reshape(*frames, *(item.shape or (0, 0)))


def _cut_to_bits(item: Slice, values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the values of the lowest BitsStored bits, with their sign: old overlays above are no image."""
    unused = 8 * values.dtype.itemsize - item.stored.bits
    return (values << unused) >> unused if unused else values
