"""Measures of one image of bone (`srrd measure`): any readable format in, a flat object of numbers out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.masks import read_doubted_mask
from srrd_ray.imaging.source import SPACING_ABSENT, Note, ReadRules, SourceImage
from srrd_ray.measurement.cut import Cut, choose_cut, find_values
from srrd_ray.measurement.doubts import Doubt, doubt_region
from srrd_ray.measurement.knee_joint import measure_ct, measure_mr
from srrd_ray.measurement.plate_row import plate_row
from srrd_ray.measurement.recipe import Recipe, given_spacing
from srrd_ray.measurement.result import (
    Binarization,
    Flat,
    Mapped,
    MeasuredImage,
    describe_binarization,
    write_maps,
)
from srrd_ray.morphometry.binarize import otsu_threshold, smooth_one_voxel, smooth_within
from srrd_ray.morphometry.field import end_planes, padding_of, scanned_field
from srrd_ray.morphometry.maps import bone_maps
from srrd_ray.morphometry.measures import measure_maps

Mask: TypeAlias = NDArray[np.bool_]
DEFAULT = Recipe()
ANY_BONE = ReadRules(not_a_knee="flag")
ABOUT_SPACING = (SPACING_ABSENT, "nifti-units", "nrrd-units", "mha-units", "zarr-units", "tiff-units")
"""Codes of notes that a given voxel size settles."""


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
    doubts: tuple[Note, ...] = ()


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
        of several labels that of the recipe: its `bone_label`, or where there are those of both bones and no
        other, that of its bone.
    threads
        0 for all cores.

    Raises
    ------
    InputError
        What is wrong with the image or the mask, under the code of the fault.
    """
    source = read_image(path, None if recipe.kind == "bone" else recipe.kind, rules=ANY_BONE)
    grid, notes = grid_with_spacing(source.volume.geometry, source.notes, recipe)
    image = replace(source.volume, geometry=grid)
    grids = (source.volume.geometry, image.geometry)
    given = (source.notes, grids)
    region, of_roi = (None, ()) if roi is None else _mask(roi, given, None, recipe.roi_label)
    inside, of_bone = (
        (None, ()) if bone_mask is None else _mask(bone_mask, given, recipe.bone, recipe.bone_label)
    )
    match recipe.kind:
        case "mr":
            found = measure_mr(image, recipe, inside, region, threads=threads)
        case "ct":
            found = measure_ct(image, recipe, inside, region, threads=threads)
        case "bone":
            about = replace(source, volume=image, notes=notes)
            found = _measure_bone(path.name, about, recipe, (region, inside), threads)
    return replace(found, notes=(*notes, *of_roi, *of_bone, *found.notes))


def grid_with_spacing(
    grid: Geometry, notes: tuple[Note, ...], recipe: Recipe
) -> tuple[Geometry, tuple[Note, ...]]:
    """Return a grid and what is known of it, with the voxel size that the recipe gives, if any."""
    if recipe.spacing is None:
        return grid, notes
    steps = given_spacing(recipe.spacing)
    affine = grid.affine
    affine[:3, :3] *= np.asarray(steps)[::-1] / np.asarray(grid.spacing_mm)[::-1]
    now, before = (" × ".join(f"{step:.6g}" for step in one) for one in (steps, grid.spacing_mm))
    text = f"voxel size given as {now} mm (z, y, x), the file has {before}"
    note = Note(severity="FIX", code="spacing-given", message=text)
    kept = tuple(one for one in notes if one.code not in ABOUT_SPACING)
    return Geometry.from_affine(grid.shape, affine), (*kept, note)


def _mask(
    path: Path,
    given: tuple[tuple[Note, ...], tuple[Geometry, Geometry]],
    bone: BoneName | None,
    only: int | None,
) -> tuple[Mask, tuple[Note, ...]]:
    """Return a mask on the grid of the file, or on that with the given voxel size: it may have either.
    Also what is doubtful of it. `given` are the notes of the image's reader, and the two grids.
    """
    of_image, (first, second) = given
    try:
        mask, doubts = read_doubted_mask(path, first, bone=bone, only=only, of_image=of_image)
    except InputError as error:
        if error.code != "mask-grid" or first == second:
            raise
        mask, doubts = read_doubted_mask(path, second, bone=bone, only=only, of_image=of_image)
    return mask.array, doubts


def _within(masks: tuple[Mask | None, Mask | None], where: str) -> Mask | None:
    """Return what lies in the region and in the bone, where each is given."""
    given = [mask for mask in masks if mask is not None]
    if len(given) < 2:
        return given[0] if given else None
    both: Mask = np.logical_and(*given)
    if not both.any():
        raise InputError(
            "mask-empty", "the region and the bone mask have no voxel in common", where=where,
            todo="Give masks of the same image, or one of them alone.",
        )  # fmt: skip
    return both


def _measure_bone(
    where: str,
    source: SourceImage,
    recipe: Recipe,
    masks: tuple[Mask | None, Mask | None],
    threads: int,
) -> MeasuredImage:
    """Return the measures of an image that resolves trabeculae; `masks` are the region and the whole bone."""
    image, scanned = source.volume, source.scanned
    values = find_values(image.array if scanned is None else image.array[scanned])
    cut, doubts = choose_cut(recipe.threshold, values, where)
    doubt = Doubt(where=where, grid=image.geometry, recipe=recipe, guessed=cut.smooth, notes=source.notes)
    doubts += doubt.image()
    region = _within(masks, where)
    binary = binarize(image.array, cut, region, scanned=scanned, keep_grey=recipe.surface == "subvoxel")
    maps = bone_maps(
        binary.bone,
        nominal(image.geometry.spacing_mm),
        mode=recipe.mode,
        surface=recipe.surface,
        grey=binary.grey,
        field=binary.field,
        threads=threads,
    )
    averaged = region if region is not None else binary.field
    if averaged is None:
        averaged = np.ones(image.array.shape, dtype=np.bool_)
    measures = measure_maps(maps, averaged, threads=threads)
    return MeasuredImage(
        measures=measures,
        binarization=binary.binarization,
        mapped=Mapped(maps=maps, region=averaged, grid=image.geometry),
        about=plate_row(binary.bone, masks[1], image.geometry, recipe.bone),
        notes=(*doubts, *binary.doubts, *doubt.measures(measures)),
    )


def binarize(
    image: NDArray[np.generic],
    cut: Cut,
    region: Mask | None = None,
    *,
    scanned: Mask | None = None,
    keep_grey: bool = False,
) -> BinaryBone:
    """Return the bone of a grey or binary image; `keep_grey`: with the grey image minus the threshold.

    The image ends where the reader knows that nothing was `scanned` (null: it knows of no such place), and a
    grey image with padding round a scanned cylinder ends at that cylinder (`scanned_field`). A threshold of
    Otsu is that of the voxels of the region in it.

    Raises
    ------
    InputError
        `image-constant`, `region-not-scanned`.
    """
    around = None if cut.binary else scanned_field(image, scanned)
    field = scanned if around is None else around
    padding = None if around is None else padding_of(*end_planes(image, scanned))
    unscanned = 0 if scanned is None else scanned.size - int(np.count_nonzero(scanned))
    counted, doubts = _overlap(region, field)
    if cut.binary:
        bone = image != 0 if field is None else (image != 0) & field
        binarization = describe_binarization(cut, None, None, unscanned)
        return BinaryBone(bone=bone, grey=None, field=field, binarization=binarization, doubts=doubts)
    grey = _smooth(image, field) if cut.smooth else image.astype(np.float64)
    level = cut.level
    if level is None:
        level = otsu_threshold(grey if counted is None else grey[counted])
    above = grey - level if keep_grey else None
    bone = grey > level
    if field is not None:
        bone &= field
        if above is not None:
            np.copyto(above, -float(np.abs(above).max()), where=~field)
    binarization = describe_binarization(cut, level, padding, unscanned)
    return BinaryBone(bone=bone, grey=above, field=field, binarization=binarization, doubts=doubts)


def _smooth(image: NDArray[np.generic], field: Mask | None) -> NDArray[np.float64]:
    return smooth_one_voxel(image) if field is None else smooth_within(image, field)


def _overlap(region: Mask | None, field: Mask | None) -> tuple[Mask | None, tuple[Note, ...]]:
    """Return where both are that are not null, null where both are; and what is doubtful of it."""
    if region is None or field is None:
        return field if region is None else region, ()
    both: Mask = region & field
    return both, doubt_region(int(np.count_nonzero(both)), int(np.count_nonzero(region)))


def nominal(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the spacing to six digits: headers hold float32, and 0.01950000040 mm is meant as 0.0195 mm."""
    z, y, x = (float(f"{s:.6g}") for s in spacing_mm)
    return z, y, x
