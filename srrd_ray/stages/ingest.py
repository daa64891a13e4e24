"""Ingest: the images and masks of one knee, as a hospital gave them, to checked OME-Zarr volumes of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.cohort.tables import MODALITIES
from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import hash_voxels
from srrd_ray.core.records import BONE_LABELS, Bone, CohortKnee, Image, Series, StoredVolume
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.images import read_image, read_mask
from srrd_ray.imaging.source import ReadRules
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import local_copy


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """How images are read. `rules` are what a reader may do where the input leaves a choice."""

    rules: ReadRules = field(default_factory=ReadRules)


def ingest(knee: CohortKnee, layout: RunLayout, config: IngestConfig) -> list[StoredVolume]:
    """Return the volumes written for one knee: `ct` (HU), `mr`, and `ct_bones`, `mr_bones` where masks were given.

    Raises
    ------
    InputError
        Any fault of an image or mask, by its code; `knee-no-image` where there is neither CT nor MR.
    """
    try:
        written = _ingest(knee, layout, config)
    except InputError as error:
        raise under_its_name(error, knee) from None
    if not written:
        raise InputError("knee-no-image", "neither CT nor MR is there", where=knee.knee.key)
    return written


def under_its_name(error: InputError, knee: CohortKnee) -> InputError:
    """Return `error` with the name of the knee on disk replaced by its key, which may be a pseudonym."""
    series = knee.ct or knee.mr
    on_disk = series.path.name.split("_side-")[0] if series else ""
    own = f"sub-{knee.knee.participant}"
    if on_disk in ("", own):
        return error
    texts = (error.what, error.where, error.got, error.expected, error.todo)
    what, where, got, expected, todo = (text.replace(on_disk, own) for text in texts)
    return InputError(error.code, what, where=where, got=got, expected=expected, todo=todo)


def _ingest(knee: CohortKnee, layout: RunLayout, config: IngestConfig) -> list[StoredVolume]:
    written: list[StoredVolume] = []
    for modality in MODALITIES:
        series = knee.series(modality)
        if series is not None:
            image = _ingest_image(series, layout, config)
            written.append(image)
            written += _ingest_masks(knee, image, layout, config)
    return written


def _ingest_image(series: Series, layout: RunLayout, config: IngestConfig) -> StoredVolume:
    with local_copy(series.path) as path:
        image = read_image(path, series.modality, side=series.knee.side, rules=config.rules)
        source = hash_file(path)
    return omezarr.write_volume(
        layout.volume(series.knee, series.modality),
        image.volume,
        knee=series.knee,
        image=series.modality,
        unit=image.unit,
        sources={series.modality: source},
        notes=[str(note) for note in image.notes],
        technique=image.technique,
        voxels_sha256=hash_voxels(image.volume),
    )


def _ingest_masks(knee: CohortKnee, image: StoredVolume, layout: RunLayout, config: IngestConfig) -> list[StoredVolume]:
    """Write the given bone masks of one image as labels on its grid."""
    given = {bone: path for bone, modality, path in knee.masks if modality == image.image}
    if not given:
        return []
    masks, empty = _read_masks(given, image, config)
    name: Image = "ct_bones" if image.image == "ct" else "mr_bones"
    stored = omezarr.write_volume(
        layout.volume(knee.knee, name),
        Volume(array=_labels(masks, image), geometry=image.geometry),
        knee=knee.knee,
        image=name,
        unit="label",
        sources={f"{name}_{bone}": hash_file(path) for bone, path in given.items()},
        notes=[f"FLAG mask-empty: the mask of the {bone} is empty, that bone is left out" for bone in empty],
    )
    return [stored]


def _read_masks(
    given: Mapping[Bone, Path], image: StoredVolume, config: IngestConfig
) -> tuple[dict[Bone, NDArray[np.bool_]], list[Bone]]:
    """Return the masks, and the bones whose mask is empty; where all are empty the knee is refused."""
    masks: dict[Bone, NDArray[np.bool_]] = {}
    empty: list[Bone] = []
    for bone, path in given.items():
        try:
            masks[bone] = read_mask(path, image.geometry, rules=config.rules).array
        except InputError as error:
            if error.code != "mask-empty" or len(empty) + 1 == len(given):
                raise
            empty.append(bone)
    return masks, empty


def _labels(masks: dict[Bone, NDArray[np.bool_]], image: StoredVolume) -> NDArray[np.uint8]:
    """Return femur 1, tibia 2; two bones may not claim one voxel."""
    labels = np.zeros(image.geometry.shape, dtype=np.uint8)
    claimed = sum((mask.astype(np.uint8) for mask in masks.values()), labels.copy())
    if claimed.max() > 1:
        raise InputError(
            "mask-overlap",
            "masks of two bones overlap",
            where=image.knee.key,
            got=f"{int((claimed > 1).sum())} voxels",
            expected="none",
        )
    for bone, mask in masks.items():
        labels[mask] = BONE_LABELS[bone]
    return labels
