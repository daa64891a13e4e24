"""A user's own masks of a knee's bones: any format, any numbering that is named, any grid of one space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from srrd_ray.core.bones import ALL_BONES, BONE_LABELS, BONES, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.geometry import Geometry
from srrd_ray.core.one_line import printable
from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.folder_images import VOLUMES, find_images, is_one_image
from srrd_ray.imaging.label_maps import LabelMap, read_label_map
from srrd_ray.imaging.label_names import NamedBone, bone_in_name, stem_of
from srrd_ray.imaging.masks import describe_grid, find_on_lattice
from srrd_ray.imaging.source import DEFAULT_RULES, Note, ReadRules
from srrd_ray.storage.paths import find_names, local_copy

Mask = NDArray[np.bool_]
Chosen = Mapping[BoneName, int]
ENDINGS: Final = (*VOLUMES, ".ome.zarr", ".zarr", ".dcm", "")
"""Of the file or folder of masks that belongs to an image of a folder."""
TOTAL: Final = {75: NamedBone("femur", "L"), 76: NamedBone("femur", "R")}
"""TotalSegmentator's task ``total``, version 2; its tibia is in another task."""
TOTAL_CLASSES: Final = 117
LEFT_OUT: Final = 0.05
"""Share of a bone that may lie in the label of the other side before it is said."""
SHOWN: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GivenBones:
    """The bones of a knee as somebody else found them: labels on the grid of the image, and the side that
    the names of the labels say (null where they say none).
    """

    labels: Volume[np.uint8]
    side: Side | None
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    """One label of one file on the grid of the image, and what it is."""

    file: str
    label: int
    name: NamedBone
    mask: Mask
    resampled: bool


def read_bone_masks(
    path: Path, like: Geometry, side: Side | None, labels: Chosen, rules: ReadRules = DEFAULT_RULES
) -> GivenBones:
    """Return the bones in a file of labels, or in a folder of files, on the grid `like`.

    Which label is which bone is what `labels` says; else the names in the file, in an nnU-Net
    ``dataset.json`` beside it, or its own name where it holds one label; else the numbers, where they can
    only mean one thing.

    Raises
    ------
    InputError
        `mask-missing`, `mask-label` where no label is known to be a bone, `mask-empty`, `mask-overlap`,
        `side-mismatch`, `side-unknown` (both sides are in the image), `bone-order`, or as the files are read.
    """
    if not path.exists():
        raise InputError(
            "mask-missing", "there is no such mask", where=printable(path.name),
            expected="a file or a folder; for each CT of a folder one of its name",
        )  # fmt: skip
    with local_copy(path) as here:
        maps = [read_label_map(file, rules) for file in _files(here)]
        parts = [part for one in maps for part in _parts(one, like, labels)]
    _require_found(path, parts, maps, labels)
    found = _side(path, parts, side)
    kept = [part for part in parts if part.name.side in (None, found)]
    volume = _combine(path, kept, like)
    doubts = tuple(note for one in maps for note in one.notes)
    return GivenBones(labels=volume, side=found, notes=doubts + _notes(kept, parts, like))


def holds_all_bones(path: Path) -> bool:
    """Return whether the name of a cohort's mask says that it holds all bones: ``…_space-ct_dseg.nii.gz``."""
    return stem_of(path).endswith(f"_{ALL_BONES}")


def find_mask(masks: Path, image: Path) -> Path:
    """Return the file or folder of masks of an image of a folder, under the image's relative path and name.

    nnU-Net leaves out the channel of the image: ``knee_0000.nii.gz`` is segmented in ``knee.nii.gz``. Where
    there is none, a path that is not there: whoever reads it says so.
    """
    stem, folder = stem_of(image), masks / image.parent
    names = (stem, stem.removesuffix("_0000"))
    found = [path for name in names for path in find_names(folder, name, ENDINGS)]
    return found[0] if found else folder / f"{stem}.nii.gz"


def _files(path: Path) -> list[Path]:
    """Return the file, or those of a folder that are named after a bone; all of them where none is."""
    if is_one_image(path):
        return [path]
    files = [path / name for name in find_images(path)]
    if not files:
        raise InputError("mask-missing", "no mask in the folder", where=path.name)
    return [file for file in files if bone_in_name(stem_of(file))] or files


def _parts(one: LabelMap, like: Geometry, labels: Chosen) -> Iterator[_Part]:
    """Yield the bones of one file that have voxels in the image."""
    for label, name in _bones_of(one, labels).items():
        mask, resampled = _onto(one.where(label), one.geometry, like)
        if mask.any():
            yield _Part(file=one.file, label=label, name=name, mask=mask, resampled=resampled)


def _bones_of(one: LabelMap, labels: Chosen) -> dict[int, NamedBone]:
    """Return which of the labels that occur in a file are which bone."""
    if labels:
        return {label: NamedBone(bone, None) for bone, label in labels.items() if label in one.present}
    if one.names:
        named = {label: bone_in_name(one.names.get(label, "")) for label in one.present}
        return {label: name for label, name in named.items() if name is not None}
    by_file = bone_in_name(stem_of(Path(one.file)))
    if by_file is not None and len(one.present) == 1:
        return {one.present[0]: by_file}
    return _by_number(one.present)


def _by_number(present: Sequence[int]) -> dict[int, NamedBone]:
    """Return the bones of labels that nothing names: our own numbers, or TotalSegmentator's.

    >>> _by_number([1, 2])[2].bone, _by_number([75, 80])[75], _by_number([1, 2, 3])
    ('tibia', NamedBone(bone='femur', side='L'), {})
    """
    if set(present) == set(BONE_LABELS.values()):
        return {label: NamedBone(bone, None) for bone, label in BONE_LABELS.items()}
    if present and max(present) <= TOTAL_CLASSES:
        return {label: TOTAL[label] for label in present if label in TOTAL}
    return {}


def _onto(mask: Mask, geometry: Geometry, like: Geometry) -> tuple[Mask, bool]:
    """Return a mask on the grid of an image, and whether it was resampled: its nearest voxel."""
    exact = find_on_lattice(Volume(array=mask, geometry=geometry), like)
    if exact is not None:
        return exact, False
    steps = np.linalg.inv(geometry.affine) @ like.affine
    nearest = ndimage.affine_transform(
        mask.astype(np.uint8),
        steps[:3, :3][::-1, ::-1],
        offset=steps[:3, 3][::-1],
        output_shape=like.shape,
        order=0,
        mode="grid-constant",
    )
    return nearest != 0, True


def _require_found(path: Path, parts: Sequence[_Part], maps: Sequence[LabelMap], labels: Chosen) -> None:
    """Refuse masks in which nothing is known to be a bone, or whose bones lie outside the image."""
    known = [label for one in maps for label in _bones_of(one, labels)]
    absent = [f"{bone}={label}" for bone, label in labels.items() if label not in known]
    if not known or absent:
        raise InputError(
            "mask-label", f"which label is the {' and which the '.join(BONES)}?", where=path.name,
            got="; ".join(_describe(one) for one in maps[:SHOWN]),
            expected=f"{' '.join(absent)} in it" if absent else "names or numbers that say it",
            todo="Name them: --bone-label femur=1 --bone-label tibia=2.",
        )  # fmt: skip
    if not parts:
        raise InputError(
            "mask-empty", "no bone of the mask lies in the image", where=path.name,
            got=describe_grid(maps[0].geometry), todo="Give the mask that was made from this image.",
        )  # fmt: skip


def _describe(one: LabelMap) -> str:
    """Return the labels of a file, with as much of their names as fits into a message."""
    named = {label: printable(one.names.get(label, ""))[:40] for label in one.present[:SHOWN]}
    shown = ", ".join(f"{label} {name}".strip() for label, name in named.items())
    return f"labels {shown or 'none but 0'}{', ...' if len(one.present) > SHOWN else ''}"


def _side(path: Path, parts: Sequence[_Part], given: Side | None) -> Side | None:
    """Return the side that is given or that the names say.

    Raises
    ------
    InputError
        `side-unknown` where the names say both, `side-mismatch` where a bone is of the other side alone.
    """
    said = {part.name.side for part in parts if part.name.side is not None}
    if given is None and len(said) > 1:
        raise InputError(
            "side-unknown", "the mask names bones of both sides", where=path.name,
            todo="Add --side L or --side R; or name the labels with --bone-label, whatever side they say.",
        )  # fmt: skip
    side = given or next(iter(said), None)
    lost = [bone for bone in BONES if _only_other(parts, bone, side)]
    if lost:
        raise InputError(
            "side-mismatch", f"the {' and '.join(lost)} of the mask is of the other side", where=path.name,
            expected=f"a {'left' if side == 'L' else 'right'} knee",
            todo="Correct the side; or name the labels with --bone-label, whatever side they say.",
        )  # fmt: skip
    return side


def _only_other(parts: Sequence[_Part], bone: BoneName, side: Side | None) -> bool:
    sides = [part.name.side for part in parts if part.name.bone == bone]
    return bool(sides) and side is not None and not any(one in (None, side) for one in sides)


def _combine(path: Path, parts: Sequence[_Part], like: Geometry) -> Volume[np.uint8]:
    """Return the labels of both bones; no voxel may be of both, and the femur lies above the tibia."""
    masks = {bone: _union(parts, bone, like) for bone in BONES}
    both = int(np.logical_and.reduce(list(masks.values())).sum())
    if both:
        raise InputError(
            "mask-overlap",
            "masks of two bones overlap",
            where=path.name,
            got=f"{both} voxels",
            expected="none",
        )
    labels = np.zeros(like.shape, dtype=np.uint8)
    for bone, mask in masks.items():
        labels[mask] = BONE_LABELS[bone]
    heights = {
        bone: float(like.index_to_lps(np.argwhere(m).mean(axis=0))[2]) for bone, m in masks.items() if m.any()
    }
    if len(heights) == len(BONES) and heights["femur"] <= heights["tibia"]:
        raise InputError(
            "bone-order", "the femur of the mask lies below the tibia", where=path.name,
            todo="Look at its labels and orientation; --bone-label says which label is which bone.",
        )  # fmt: skip
    return Volume(array=labels, geometry=like)


def _union(parts: Sequence[_Part], bone: BoneName, like: Geometry) -> Mask:
    mask = np.zeros(like.shape, dtype=np.bool_)
    for part in parts:
        if part.name.bone == bone:
            mask |= part.mask
    return mask


def _notes(kept: Sequence[_Part], parts: Sequence[_Part], like: Geometry) -> tuple[Note, ...]:
    """Return which labels were taken, and what a reader of the result should know of them."""
    told = ", ".join(f"{part.name.bone} label {part.label}" for part in kept)
    notes = [Note(severity="INFO", code="mask-given", message=f"bones as the given mask has them: {told}")]
    if any(part.resampled for part in kept):
        text = f"the mask lay on another grid; its nearest voxels were taken on {describe_grid(like)}"
        notes.append(Note(severity="FIX", code="mask-resampled", message=text))
    for bone in BONES:
        if all(part.name.bone != bone for part in kept):
            text = f"there is no {bone} in the mask, that bone is left out"
            notes.append(Note(severity="FLAG", code="mask-empty", message=text))
    own, other = (
        sum(int(p.mask.sum()) for p in some) for some in (kept, [p for p in parts if p not in kept])
    )
    if other > LEFT_OUT * own:
        share = other / (own + other)
        text = f"labels of the other side hold {share:.0%} of the bone in this image and are left out"
        notes.append(Note(severity="FLAG", code="mask-side", message=text))
    return tuple(notes)
