"""Ingest the images and masks of one knee, as a hospital gave them, into checked OME-Zarr volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srrd_ray.cohort.tables import MODALITIES, with_parsed_paths
from srrd_ray.core.bones import BONE_LABELS, BoneName
from srrd_ray.core.errors import InputError
from srrd_ray.core.hashing import hash_voxels
from srrd_ray.core.records import CohortKnee, Image, Series, StoredVolume
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced, WorkItem
from srrd_ray.imaging.bone_masks import holds_all_bones, read_bone_masks
from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.masks import read_doubted_mask
from srrd_ray.imaging.source import Note
from srrd_ray.stages.shared.ingest_config import IngestConfig
from srrd_ray.storage import omezarr
from srrd_ray.storage.file_hash import hash_file
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.paths import local_copy

__all__ = ["IngestConfig", "ingest", "under_its_name"]


def ingest(knee: CohortKnee, layout: RunLayout, config: IngestConfig) -> list[StoredVolume]:
    """Return the volumes written for one knee: `ct` (HU) and `mr`.

    Also `ct_masks` and `mr_masks` where masks were given.

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
    pseudonym_id = f"sub-{knee.knee.participant}"
    if on_disk in ("", pseudonym_id):
        return error
    texts = (error.what, error.where, error.got, error.expected, error.todo)
    what, where, got, expected, todo = (text.replace(on_disk, pseudonym_id) for text in texts)
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
        scanned=image.scanned,
    )


def _ingest_masks(
    knee: CohortKnee, image: StoredVolume, layout: RunLayout, config: IngestConfig
) -> list[StoredVolume]:
    """Write the given bone masks of one image as labels on its grid."""
    given = {bone: path for bone, modality, path in knee.masks if modality == image.image}
    if not given:
        return []
    masks, empty, doubts = _read_masks(given, image, config)
    name: Image = "ct_masks" if image.image == "ct" else "mr_masks"
    stored = omezarr.write_volume(
        layout.volume(knee.knee, name),
        Volume(array=_labels(masks, image), geometry=image.geometry),
        knee=knee.knee,
        image=name,
        unit="label",
        sources={f"{name}_{bone}": hash_file(path) for bone, path in given.items()},
        notes=[
            *(f"FLAG mask-empty: the mask of the {bone} is empty, that bone is left out" for bone in empty),
            *map(str, doubts),
        ],
    )
    return [stored]


def _read_masks(
    given: Mapping[BoneName, Path], image: StoredVolume, config: IngestConfig
) -> tuple[dict[BoneName, NDArray[np.bool_]], list[BoneName], list[Note]]:
    """Return the masks, the bones whose mask is empty, and what is doubtful of the others; where all are
    empty the knee is refused.
    """
    masks: dict[BoneName, NDArray[np.bool_]] = {}
    empty: list[BoneName] = []
    doubts: list[Note] = []
    first = next(iter(given.values()))
    if holds_all_bones(first):
        found = read_bone_masks(first, image.geometry, image.knee.side, {}, config.rules)
        masks = {bone: found.labels.array == BONE_LABELS[bone] for bone in given}
        lacking = [bone for bone, mask in masks.items() if not mask.any()]
        return {b: mask for b, mask in masks.items() if b not in lacking}, lacking, list(found.notes)
    for bone, path in given.items():
        try:
            with local_copy(path) as here:
                mask, doubted = read_doubted_mask(here, image.geometry, rules=config.rules)
            masks[bone], doubts = mask.array, [*doubts, *doubted]
        except InputError as error:
            if error.code != "mask-empty" or len(empty) + 1 == len(given):
                raise
            empty.append(bone)
    return masks, empty, doubts


def _labels(masks: dict[BoneName, NDArray[np.bool_]], image: StoredVolume) -> NDArray[np.uint8]:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSettings:
    """How images are read."""

    ingest: IngestConfig


def ingest_knee(work: Work[IngestSettings]) -> Produced:
    """Read CT, MR and masks of a knee."""
    knee = paired_source(work.item)
    return Produced(paths=tuple(v.path for v in ingest(knee, work.layout, work.settings.ingest)))


def paired_source(item: WorkItem) -> CohortKnee:
    """Return the knee of a work item as the cohort holds it, with both images.

    Raises
    ------
    InputError
        `pair-incomplete`.
    """
    source = item.source
    missing = " and ".join(
        name.upper() for name in MODALITIES if source is None or source.series(name) is None
    )
    if source is None or missing:
        raise InputError(
            "pair-incomplete",
            f"no {missing} of this knee",
            where=item.name,
            expected="CT and MR",
            todo="The pipeline learns from pairs; for CT alone use srrd infer.",
        )
    return with_parsed_paths(source)


STAGE = Stage(
    name="ingest",
    scope="knee",
    function=ingest_knee,
    settings=IngestSettings,
    outside=("images",),
    outputs=("volumes/ct", "volumes/mr", "volumes/ct_masks", "volumes/mr_masks"),
)
