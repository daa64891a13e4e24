"""DICOM segmentations: the one segment of an image on its grid, or every segment on a grid of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
"""Voxels that a frame may lie off its grid."""
Frames = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """The segments of a DICOM SEG: their labels by number, and the frames, which fill some slices of a grid.

    `numbers` and `slices` have an entry a frame.
    """

    geometry: Geometry
    names: Mapping[int, str]
    numbers: tuple[int, ...]
    slices: tuple[int, ...]
    frames: Frames

    @property
    def present(self) -> tuple[int, ...]:
        """The numbers of segments that have voxels, in order."""
        return tuple(sorted({n for n, frame in zip(self.numbers, self.frames, strict=True) if frame.any()}))

    def where(self, number: int) -> NDArray[np.bool_]:
        """Return where a segment is, (z, y, x)."""
        mask = np.zeros(self.geometry.shape, dtype=np.bool_)
        for its, k, frame in zip(self.numbers, self.slices, self.frames, strict=True):
            if its == number:
                mask[k] |= frame != 0
        return mask


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
    frames = _decode(path, dataset)
    mask = np.zeros(like.shape, dtype=bool)
    for frame, groups in zip(frames, dataset.get("PerFrameFunctionalGroupsSequence", []), strict=True):
        mask[_plane(path, dataset, groups, like, frame.shape)] |= frame != 0
    return Volume(array=mask, geometry=like)


def read_segments(path: Path) -> Segments:
    """Return all segments of a DICOM SEG file (or of the folder that holds it) on the grid of its frames.

    Fractional segments are taken where they are above one half.

    Raises
    ------
    InputError
        `mask-format` (not one segmentation), `mask-grid` (frames on no grid) or `dicom-pixels`.
    """
    dataset = _open(path)
    frames = _decode(path, dataset)
    if dataset.get("SegmentationType") == "FRACTIONAL":
        frames = frames.astype(np.float64) > float(dataset.MaximumFractionalValue) / 2
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence", []))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    geometry, slices = _grid(path, groups, shared, frames.shape[1:])
    names = {
        int(item.SegmentNumber): str(item.get("SegmentLabel", ""))
        for item in dataset.get("SegmentSequence", [])
    }
    return Segments(
        geometry=geometry,
        names=names,
        numbers=tuple(_segment_of(one, shared) for one in groups),
        slices=slices,
        frames=frames,
    )


def _segment_of(groups: Dataset, shared: Dataset) -> int:
    source = groups if "SegmentIdentificationSequence" in groups else shared
    return int(source.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _grid(
    path: Path, groups: list[Dataset], shared: Dataset, plane: tuple[int, ...]
) -> tuple[Geometry, tuple[int, ...]]:
    """Return the grid of all frames, from the lowest to the highest of them, and the slice of each."""
    cosines, spacing = (
        np.stack([_numbers(one, shared, sequence, tag) for one in groups])
        for sequence, tag in (
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
        )
    )
    places = np.stack(
        [_numbers(one, shared, "PlanePositionSequence", "ImagePositionPatient") for one in groups]
    )
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    heights = places @ normal
    gaps = np.diff(np.unique(np.round(heights, 3)))
    step = float(gaps.min()) if gaps.size else float(_thickness(groups[0], shared))
    first = places[int(heights.argmin())]
    off = places - first - np.rint((heights - heights.min()) / step)[:, None] * step * normal
    if (
        np.ptp(cosines, axis=0).max() > 1e-4
        or np.ptp(spacing, axis=0).max() > 1e-4
        or np.abs(off).max() > 0.1
    ):
        raise InputError(
            "mask-grid", "the frames of the segmentation lie on no grid", where=path.name,
            got=f"up to {np.abs(off).max():.2f} mm off slices {step:.3g} mm apart",
            todo="Save it as NIfTI or NRRD, e.g. with 3D Slicer.",
        )  # fmt: skip
    slices = np.rint((heights - heights.min()) / step).astype(int)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[0, :3] * spacing[0, 1], cosines[0, 3:] * spacing[0, 0]
    affine[:3, 2], affine[:3, 3] = normal * step, first
    shape = int(slices.max()) + 1, int(plane[0]), int(plane[1])
    return Geometry.from_affine(shape, affine), tuple(int(k) for k in slices)


def _thickness(groups: Dataset, shared: Dataset) -> float:
    source = groups if "PixelMeasuresSequence" in groups else shared
    return float(source.PixelMeasuresSequence[0].get("SliceThickness", 1.0))


def _decode(path: Path, dataset: FileDataset) -> Frames:
    try:
        return np.asarray(dataset.pixel_array).reshape(-1, int(dataset.Rows), int(dataset.Columns))
    except (ValueError, RuntimeError, OSError, AttributeError, NotImplementedError) as error:
        raise InputError(
            "dicom-pixels", "the mask cannot be decoded", where=path.name, got=explain(error)
        ) from error


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
