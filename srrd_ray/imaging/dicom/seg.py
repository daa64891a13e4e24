"""DICOM segmentations as masks on the grid of the image they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.places import list_files
from srrd_ray.imaging.reasons import explain

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
ON_GRID = 0.02


def read_segmentation(path: Path, like: Geometry) -> Volume[np.bool_]:
    """Return the one segment of a DICOM SEG file (or of the folder that holds it) on the grid `like`.

    Raises
    ------
    InputError
        `mask-format` (not one segmentation), `mask-values` (several segments), `mask-grid` or `dicom-pixels`.
    """
    dataset = _open(path)
    numbers = {int(item.SegmentNumber) for item in dataset.get("SegmentSequence", [])}
    if len(numbers) != 1:
        raise InputError(
            "mask-values",
            "a mask has one segment",
            where=path.name,
            got=f"segments {sorted(numbers)}",
            expected="one",
        )
    try:
        frames = np.asarray(dataset.pixel_array).reshape(-1, int(dataset.Rows), int(dataset.Columns))
    except (ValueError, RuntimeError, OSError, AttributeError, NotImplementedError) as error:
        raise InputError(
            "dicom-pixels", "the mask cannot be decoded", where=path.name, got=explain(error)
        ) from error
    mask = np.zeros(like.shape, dtype=bool)
    for frame, groups in zip(frames, dataset.get("PerFrameFunctionalGroupsSequence", []), strict=True):
        mask[_plane(path, dataset, groups, like, frame.shape)] |= frame != 0
    return Volume(array=mask, geometry=like)


def _open(path: Path) -> FileDataset:
    files = list_files(path) if path.is_dir() else [path]
    found = [dataset for file in files if (dataset := _segmentation(file)) is not None]
    if len(found) != 1:
        raise InputError(
            "mask-format",
            "not one DICOM segmentation",
            where=path.name,
            got=f"{len(found)} segmentations",
            expected="one",
        )
    return found[0]


def _segmentation(file: Path) -> FileDataset | None:
    try:
        dataset = pydicom.dcmread(file)
    except (InvalidDicomError, OSError, ValueError):
        return None
    return dataset if dataset.get("SOPClassUID") == SEGMENTATION else None


def _plane(path: Path, dataset: FileDataset, groups: Dataset, like: Geometry, shape: tuple[int, ...]) -> int:
    """Return the slice of `like` on which a frame lies, refusing frames of another grid."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    position = _numbers(groups, shared, "PlanePositionSequence", "ImagePositionPatient")
    cosines = _numbers(groups, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
    rows_mm, columns_mm = _numbers(groups, shared, "PixelMeasuresSequence", "PixelSpacing")
    corners = np.stack([position, position + cosines[:3] * columns_mm, position + cosines[3:] * rows_mm])
    index = like.lps_to_index(corners)
    k = int(np.rint(index[0, 0]))
    expected = np.array([[k, 0, 0], [k, 0, 1], [k, 1, 0]])
    if shape != like.shape[1:] or not 0 <= k < like.shape[0] or np.abs(index - expected).max() > ON_GRID:
        raise InputError(
            "mask-grid",
            "the mask lies on another grid than its image",
            where=path.name,
            got=(
                f"frame of {shape} at slice {index[0, 0]:.2f}, offset {np.round(index[0, 1:], 2).tolist()} "
                f"voxels"
            ),
            expected=f"frames of {like.shape[1:]} on slices 0 to {like.shape[0] - 1}",
        )
    return k


def _numbers(groups: Dataset, shared: Dataset, sequence: str, tag: str) -> NDArray[np.float64]:
    source = groups if sequence in groups else shared
    return np.asarray(source[sequence][0][tag].value, dtype=np.float64)
