"""An array on the grid of a CT as the frames of a result: which source images they lie on."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from highdicom import CoordinateSystemNames
from highdicom import Volume as FramesInSpace
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from srrd_ray.imaging.dicom.source_series import SourceSeries


class Frames(TypedDict):
    """Pixels, and the images that they were made from."""

    source_images: list[Dataset]
    pixel_array: NDArray[np.generic] | FramesInSpace


def place(source: SourceSeries, array: NDArray[np.generic], marked: NDArray[np.bool_]) -> Frames:
    """Return the slices of `array` from the first to the last that is `marked` anywhere.

    The array is (z, y, x) or (z, y, x, segment). Slices take the positions of the CT's files, digit by digit;
    where the CT was resampled, or is one file with many frames, those of its grid.
    """
    slices = np.flatnonzero(marked.reshape(len(marked), -1).any(axis=1))
    first, end = int(slices[0]), int(slices[-1]) + 1
    if source.as_stored:
        return Frames(source_images=list(source.images[first:end]), pixel_array=array[first:end])
    affine = source.geometry.crop((first, 0, 0), (end - first, *source.geometry.shape[1:])).affine
    in_space = FramesInSpace(
        array=array[first:end],
        affine=affine[:, [2, 1, 0, 3]],
        coordinate_system=CoordinateSystemNames.PATIENT,
        frame_of_reference_uid=str(source.images[0].FrameOfReferenceUID),
        channels={"SegmentNumber": range(1, array.shape[3] + 1)} if array.ndim == 4 else None,
    )
    return Frames(source_images=list(source.images), pixel_array=in_space)
