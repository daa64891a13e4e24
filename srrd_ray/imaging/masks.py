"""The reader of masks: zero and one other value, or one named label, on the lattice of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry, Shape
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom import seg as dicom_seg
from srrd_ray.imaging.images import image_format, plain_geometry, plain_values
from srrd_ray.imaging.source import DEFAULT_RULES, NO_ORIENTATION, SPACING_ABSENT, Note, ReadRules
from srrd_ray.storage.paths import local_copy

Mask = NDArray[np.bool_]
ON_LATTICE = 0.25
"""Share of a voxel that a mask may lie off the lattice of its image, and never more than `MOST_OFF_MM`."""
MOST_OFF_MM = 0.01
SIGNED_PERMUTATION = 1e-3
"""How far the axes of a mask may be from those of its image, in voxels a voxel."""
SHOWN = 8
MOST_LABELS = 256
"""Labels of a label map: a grey image that was cut to a region has more."""
OF_VOXELS = ("zarr-chunks-missing", "tiff-ignored", "tiff-doubtful", "tiff-axes", "tiff-white-is-zero")
"""Codes of notes that change what a mask holds, not where it lies."""
LACKS = {SPACING_ABSENT: "voxel size", NO_ORIENTATION: "place and orientation"}
"""What a file may not say, by the code of the note."""
DOUBTED = (*OF_VOXELS, NO_ORIENTATION)
"""Codes of notes on a mask whose image has an orientation: nobody knows whether they are alike."""


def read_mask(
    path: Path,
    like: Geometry | None = None,
    *,
    bone: BoneName | None = None,
    only: int | None = None,
    rules: ReadRules = DEFAULT_RULES,
) -> Volume[np.bool_]:
    """Return where a mask is not zero; where `like` is given the mask has to cover that grid voxel by voxel.

    A mask whose axes are stored in another order or direction is turned, which moves no voxel. `bone`
    chooses its label where the file holds those of bones and no others; a mask of one label is taken whatever
    its value, unless it is that of another bone. `only` is the label itself, whatever else there is.

    Raises
    ------
    InputError
        `mask-grid` (another lattice than its image, both are named), `mask-values` (more than one label, no
        zero, NaN), `mask-label` (no such label), `mask-format` or `mask-empty`.
    """
    return read_doubted_mask(path, like, bone=bone, only=only, rules=rules)[0]


def read_doubted_mask(
    path: Path,
    like: Geometry | None = None,
    *,
    bone: BoneName | None = None,
    only: int | None = None,
    rules: ReadRules = DEFAULT_RULES,
    of_image: Iterable[Note] = (),
) -> tuple[Volume[np.bool_], tuple[Note, ...]]:
    """Return a mask and what is doubtful of it; arguments and errors as in `read_mask` and `doubt_mask`."""
    with local_copy(path) as here:
        kind = image_format(here)
        if kind == "dicom":
            return _require_not_empty(here, _read_segmentation(here, like)), ()
        geometry, notes = plain_geometry(here, kind, None, rules)
        if like is not None:  # before the voxels are read
            empty = Volume(array=np.broadcast_to(False, geometry.shape), geometry=geometry)
            lacks = next((words for code, words in LACKS.items() if code in {n.code for n in notes}), "")
            _box_of(here, _turned(empty, like), like, lacks)
        chosen = select_label(plain_values(here, kind, rules), here.name, bone=bone, only=only)
        mask = Volume(array=chosen, geometry=geometry)
        mask = _require_not_empty(here, mask if like is None else _onto(here, mask, like))
    return mask, doubt_labels(path.name, notes, _doubted(of_image))


def doubt_mask(
    path: Path, rules: ReadRules = DEFAULT_RULES, *, of_image: Iterable[Note] = ()
) -> tuple[Note, ...]:
    """Return what is doubtful of a mask: of its voxels, and of its orientation where its image has one.

    Its voxels are not read: `read_doubted_mask` does both. `of_image` are the notes of the image's reader;
    its grid is compared with that of the mask elsewhere.

    Raises
    ------
    InputError
        As its header is read.
    """
    with local_copy(path) as here:
        kind = image_format(here)
        notes = () if kind == "dicom" else plain_geometry(here, kind, None, rules)[1]
    return doubt_labels(path.name, notes, _doubted(of_image))


def _doubted(of_image: Iterable[Note]) -> Sequence[str]:
    """Return the codes of the notes that matter of a mask of an image with these notes."""
    return OF_VOXELS if any(note.code == NO_ORIENTATION for note in of_image) else DOUBTED


def doubt_labels(where: str, notes: Iterable[Note], codes: Sequence[str] = DOUBTED) -> tuple[Note, ...]:
    """Return those of the notes of a reader that matter of a mask, naming it."""
    return tuple(
        replace(note, message=f"mask {where}: {note.message}") for note in notes if note.code in codes
    )


def select_label(
    values: NDArray[np.generic], where: str, *, bone: BoneName | None = None, only: int | None = None
) -> Mask:
    """Return where `values` are the one label of a mask; arguments and errors as in `read_mask`.

    >>> select_label(np.array([0, 255, 255]), "roi.nii").tolist()
    [False, True, True]
    >>> select_label(np.array([0, 1, 2]), "roi.nii", only=2).tolist()
    [False, False, True]
    >>> select_label(np.array([0, 1, 2]), "bones.nii", bone="femur").tolist()
    [False, True, False]
    """
    labels = find_labels(values)
    if only is None and bone is not None:
        only = _label_of(bone, labels, where)
    require_label(labels, where, only)
    return np.asarray(values != 0 if only is None else values == only)


def _label_of(bone: BoneName, labels: NDArray[np.generic], where: str) -> int | None:
    """Return the label of a bone in a mask of both; null where the one label there is may be the bone's.

    A mask that holds others too is numbered otherwise, and the bone may have any of them (`mask-label`). A
    lone 1 is what most programs write for any mask.
    """
    own, inside = BONE_LABELS[bone], {float(label) for label in labels if label != 0}
    lone = len(inside) <= 1 and (inside <= {1.0, float(own)} or not inside <= set(BONE_LABELS.values()))
    if lone or not np.isfinite(list(inside)).all():
        return None
    if inside == set(BONE_LABELS.values()):
        return own
    known = ", ".join(f"{name} {label}" for name, label in BONE_LABELS.items())
    raise InputError(
        "mask-label", f"which label is the {bone}?", where=where, got=f"labels {describe_labels(labels)}",
        expected=f"one label, or those of both bones ({known}) and no other",
        todo="Name it with --bone-label.",
    )  # fmt: skip


def find_labels(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values that occur in an array, sorted; plane by plane, so that no sorted copy is made."""
    return np.unique(np.concatenate([np.unique(plane) for plane in values]))


def require_label(labels: NDArray[np.generic], where: str, only: int | None = None) -> None:
    """Refuse the values of a mask other than zero and one more, or one alone (`mask-values`).

    With `only`: those without that label (`mask-label`). More than `MOST_LABELS` are those of no label map.
    """
    if only is not None and len(labels) <= MOST_LABELS:
        if only not in labels:
            raise InputError(
                "mask-label", "the mask has no such label", where=where, got=str(only),
                expected=f"one of {describe_labels(labels)}",
            )  # fmt: skip
        return
    finite = bool(np.isfinite(labels.astype(np.float64)).all())
    if finite and np.count_nonzero(labels) <= 1:
        return
    raise InputError(
        "mask-values", "a mask has one label", where=where, got=f"labels {describe_labels(labels)}",
        expected="0 and one other", todo=_advice_on(labels, finite=finite),
    )  # fmt: skip


def _advice_on(labels: NDArray[np.generic], *, finite: bool) -> str:
    if not finite:
        return "Set what is outside, or unknown, to 0."
    if len(labels) > MOST_LABELS or (labels != np.rint(labels.astype(np.float64))).any():
        return "These are no labels but values: set a threshold first, and store what lies above it as 1."
    return "Name one with --roi-label (of --roi) or --bone-label (of --bone-mask), or split the mask."


def describe_labels(labels: NDArray[np.generic]) -> str:
    """Return the first few labels as text."""
    shown = ", ".join(f"{value:g}" for value in labels[:SHOWN].astype(np.float64))
    return f"[{shown}{', ...' if len(labels) > SHOWN else ''}]"


def describe_grid(geometry: Geometry) -> str:
    """Return a grid as text for messages; its directions where they are not those of LPS."""
    spacing = tuple(round(s, 4) for s in geometry.spacing_mm)
    first = np.round(geometry.affine[:3, 3], 3).tolist()
    text = f"shape {geometry.shape}, spacing {spacing} mm (z, y, x), first voxel {first} LPS mm"
    turned = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    if np.abs(turned - np.eye(3)).max() < SIGNED_PERMUTATION:
        return text
    x, y, z = (np.round(column, 4).tolist() for column in turned.T + 0.0)
    return f"{text}, x along {x}, y along {y}, z along {z}"


def same_lattice(mask: Geometry, image: Geometry) -> bool:
    """Return whether a mask lies voxel by voxel on its image."""
    return mask.matches(image, tolerance_mm=min(MOST_OFF_MM, ON_LATTICE * min(image.spacing_mm)))


def _read_segmentation(path: Path, like: Geometry | None) -> Volume[np.bool_]:
    if like is None:
        raise InputError("mask-format", "a DICOM segmentation needs the image it belongs to", where=path.name)
    return dicom_seg.read_segmentation(path, like)


def _require_not_empty(path: Path, mask: Volume[np.bool_]) -> Volume[np.bool_]:
    if not mask.array.any():
        raise InputError("mask-empty", "the mask is empty", where=path.name, got=describe_grid(mask.geometry))
    return mask


def find_on_lattice(mask: Volume[np.bool_], like: Geometry) -> NDArray[np.bool_] | None:
    """Return a mask voxel by voxel on the grid of its image; null where it lies on another lattice."""
    turned = _turned(mask, like)
    start = _find_box(turned, like)
    return None if start is None else np.ascontiguousarray(turned.crop(start, like.shape).array)


def _onto(path: Path, mask: Volume[np.bool_], like: Geometry) -> Volume[np.bool_]:
    turned = _turned(mask, like)
    start = _box_of(path, turned, like)
    return Volume(array=np.ascontiguousarray(turned.crop(start, like.shape).array), geometry=like)


def _turned(mask: Volume[np.bool_], like: Geometry) -> Volume[np.bool_]:
    """Return a view of the mask with its axes in the order and direction of `like`."""
    steps = (np.linalg.inv(mask.geometry.affine) @ like.affine)[:3, :3]
    whole = np.rint(steps)
    permutes = (np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all()
    if not permutes or np.abs(steps - whole).max() > SIGNED_PERMUTATION:
        return mask
    source = np.abs(whole).argmax(axis=0)
    backward = whole.sum(axis=0) < 0
    array = mask.array.transpose([2 - int(source[j]) for j in (2, 1, 0)])
    array = array[tuple(slice(None, None, -1 if backward[j] else 1) for j in (2, 1, 0))]
    to_mask = np.eye(4)
    to_mask[:3, :3] = whole
    sizes = np.array(mask.geometry.shape[::-1])
    to_mask[source, 3] = np.where(backward, sizes[source] - 1, 0)
    z, y, x = array.shape
    return Volume(array=array, geometry=Geometry.from_affine((z, y, x), mask.geometry.affine @ to_mask))


def _box_of(path: Path, mask: Volume[np.bool_], like: Geometry, lacks: str = "") -> Shape:
    """Return where `like` begins in a mask that covers it, or refuse the mask (`mask-grid`).

    `lacks` is what its file does not say: it cannot be resampled then.
    """
    start = _find_box(mask, like)
    if start is None:
        what = f"the mask has no {lacks}" if lacks else "the mask lies on another grid than its image"
        resample = "If its header is right resample it (nearest neighbour), else give it that of its image."
        raise InputError(
            "mask-grid", what, where=path.name, got=describe_grid(mask.geometry),
            expected=describe_grid(like),
            todo="Save it with the voxel size and place of its image." if lacks else resample,
        )  # fmt: skip
    return start


def _find_box(mask: Volume[np.bool_], like: Geometry) -> Shape | None:
    """Return where `like` begins in a mask that covers it (both knees are masked in one file)."""
    z, y, x = (int(v) for v in np.rint(mask.geometry.lps_to_index(like.index_to_lps((0, 0, 0)))))
    fits = min(z, y, x) >= 0 and all(
        a + n <= m for a, n, m in zip((z, y, x), like.shape, mask.geometry.shape, strict=True)
    )
    if not fits or not same_lattice(mask.geometry.crop((z, y, x), like.shape), like):
        return None
    return z, y, x
