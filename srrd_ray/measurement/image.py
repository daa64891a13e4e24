"""Measures of one image of bone (`srrd measure`): any readable format in, a flat object of numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.masks import read_mask
from srrd_ray.imaging.source import ReadRules
from srrd_ray.measurement.knee_joint import measure_ct, measure_mr
from srrd_ray.measurement.plate_row import plate_row
from srrd_ray.measurement.recipe import Recipe, grey_value
from srrd_ray.measurement.result import (
    Binarization,
    Flat,
    Mapped,
    MeasuredImage,
    describe_binarization,
    write_maps,
)
from srrd_ray.morphometry.binarize import otsu_threshold, smooth_one_voxel
from srrd_ray.morphometry.field import scanned_field
from srrd_ray.morphometry.maps import bone_maps
from srrd_ray.morphometry.measures import measure_maps

Mask: TypeAlias = NDArray[np.bool_]
DEFAULT = Recipe()
ANY_BONE = ReadRules(not_a_knee="flag")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BinaryBone:
    """The bone of an image, how it was binarized, and where the image was scanned (null: everywhere).

    `grey` is the image minus the threshold, positive in bone;
    null for a binary image, and where it is not needed.
    """

    bone: Mask
    grey: NDArray[np.float64] | None
    field: Mask | None
    binarization: Binarization


def measure_image(
    path: Path,
    recipe: Recipe = DEFAULT,
    *,
    roi: Path | None = None,
    bone_mask: Path | None = None,
    maps: Path | None = None,
    threads: int = 0,
) -> Flat:
    """Return the measures of the image at `path` under the symbols of the field.

    `maps` is a folder for maps (`write_maps`), which open in 3D Slicer; the rest as in `measure_with_maps`.
    """
    measured = measure_with_maps(path, recipe, roi=roi, bone_mask=bone_mask, threads=threads)
    if maps is not None:
        write_maps(maps, measured)
    return measured.flat


def measure_with_maps(
    path: Path,
    recipe: Recipe = DEFAULT,
    *,
    roi: Path | None = None,
    bone_mask: Path | None = None,
    threads: int = 0,
) -> MeasuredImage:
    """Return the measures and the maps of the image at `path`.

    Parameters
    ----------
    path
        NIfTI, NRRD, MHA, OME-Zarr, or a folder of DICOM files.
    recipe
        How it is measured; the border is open.
        A sub-voxel surface comes from the grey image, or from the smoothed mask of a binary one.
    roi
        Mask on the same grid; it restricts averaging and is never a wall. Null:
        all that was scanned, or the bone.
    bone_mask
        Inside of one bone, cortex and marrow included, on the same grid;
        of several labels that of the recipe's bone.
    threads
        0 for all cores.

    Raises
    ------
    InputError
        What is wrong with the image or the mask, under the code of the fault.
    """
    image = read_image(path, None if recipe.source == "bone" else recipe.source, rules=ANY_BONE).volume
    region = None if roi is None else read_mask(roi, image.geometry).array
    label = None if recipe.bone is None else BONE_LABELS[recipe.bone]
    inside = None if bone_mask is None else read_mask(bone_mask, image.geometry, label=label).array
    match recipe.source:
        case "mr":
            return measure_mr(image, recipe, inside, region, threads=threads)
        case "ct":
            return measure_ct(image, recipe, inside, region, threads=threads)
        case "bone":
            return _measure_bone(image, recipe, inside, region, threads=threads)


def _measure_bone(
    image: Volume[np.generic], recipe: Recipe, inside: Mask | None, roi: Mask | None, *, threads: int
) -> MeasuredImage:
    binary = binarize(image.array, recipe.threshold, keep_grey=recipe.surface == "subvoxel")
    maps = bone_maps(
        binary.bone,
        nominal(image.geometry.spacing_mm),
        mode=recipe.mode,
        surface=recipe.surface,
        grey=binary.grey,
        field=binary.field,
        threads=threads,
    )
    region = _region(image.geometry, (roi, inside, binary.field))
    return MeasuredImage(
        measures=measure_maps(maps, region, threads=threads),
        binarization=binary.binarization,
        mapped=Mapped(maps=maps, region=region, grid=image.geometry),
        about=plate_row(binary.bone, inside, image.geometry, recipe.bone),
    )


def _region(grid: Geometry, known: tuple[Mask | None, ...]) -> Mask:
    """Return the first region that is known, or all of the image."""
    return next((mask for mask in known if mask is not None), np.ones(grid.shape, dtype=np.bool_))


def binarize(image: NDArray[np.generic], threshold: str, *, keep_grey: bool = False) -> BinaryBone:
    """Return the bone of a grey or binary image; `keep_grey`: with the grey image minus the threshold.

    A grey image with zeros round a scanned cylinder ends at that cylinder (`scanned_field`).
    """
    if threshold == "binary":
        return BinaryBone(
            bone=image != 0,
            grey=None,
            field=None,
            binarization=describe_binarization(threshold, None, field=False),
        )
    field = scanned_field(image)
    if threshold == "auto":
        grey = smooth_one_voxel(image)
        level = otsu_threshold(grey)
    else:
        grey, level = image.astype(np.float64), grey_value(threshold)
    binarization = describe_binarization(threshold, level, field=field is not None)
    return BinaryBone(
        bone=grey > level, grey=grey - level if keep_grey else None, field=field, binarization=binarization
    )


def nominal(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the spacing to six digits: headers hold float32, and 0.01950000040 mm is meant as 0.0195 mm."""
    z, y, x = (float(f"{s:.6g}") for s in spacing_mm)
    return z, y, x
