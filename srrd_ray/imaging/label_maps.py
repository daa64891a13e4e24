"""One file of labels in any readable format: which labels it holds, their names, and where each is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.dicom import seg
from srrd_ray.imaging.images import image_format, plain_geometry, plain_values
from srrd_ray.imaging.label_names import Names, names_beside, names_in_file
from srrd_ray.imaging.masks import describe_labels, doubt_labels, find_labels
from srrd_ray.imaging.source import Note, ReadRules

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelMap:
    """The labels of one file.

    Parameters
    ----------
    file
        Its name, for messages.
    present
        The labels that occur, without zero, in order.
    names
        What the file, or the list beside it, calls its labels.
    where
        Returns where a label is, (z, y, x).
    notes
        What is doubtful of its voxels.
    """

    file: str
    geometry: Geometry
    present: tuple[int, ...]
    names: Names
    where: Callable[[int], Mask]
    notes: tuple[Note, ...] = ()


def read_label_map(path: Path, rules: ReadRules) -> LabelMap:
    """Return the labels of a file: NIfTI, NRRD, MHA, TIFF, OME-Zarr, or a DICOM segmentation (or its folder).

    Raises
    ------
    InputError
        As the format's reader; `mask-values` for what are no labels, `mask-format`, `mask-grid`.
    """
    kind = image_format(path)
    if kind == "dicom":
        segments = seg.read_segments(path)
        return LabelMap(
            file=path.name,
            geometry=segments.geometry,
            present=segments.present,
            names=segments.names,
            where=segments.where,
        )
    geometry, notes = plain_geometry(path, kind, None, rules)
    values = plain_values(path, kind, rules)
    return LabelMap(
        file=path.name,
        geometry=geometry,
        present=_labels(values, path.name),
        names=names_in_file(path, kind) or names_beside(path),
        where=lambda label: np.asarray(values == label),
        notes=doubt_labels(path.name, notes),
    )


def _labels(values: NDArray[np.generic], where: str) -> tuple[int, ...]:
    """Return the whole numbers in an array, without zero."""
    found = find_labels(values).astype(np.float64)
    if not np.isfinite(found).all() or (found != np.rint(found)).any() or (found < 0).any():
        raise InputError(
            "mask-values", "a mask holds labels", where=where, got=f"values {describe_labels(found)}",
            expected="whole numbers from 0", todo="Give the labels, not probabilities or the image itself.",
        )  # fmt: skip
    return tuple(int(label) for label in found if label)
