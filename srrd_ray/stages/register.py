"""The pose of femur and tibia of one knee, CT to MR.

Also the bones' labels in both images, and the figures of the synthesis. Order of trust: surfaces of the bones
in CT and synthetic CT find candidates from any flexion; grey values of the synthetic CT bring them near;
mutual information with the MR itself decides between them and finishes (`RegistrationConfig.refine_on_mr`);
the inner structure decides whether the result is accepted. A bone without a trustworthy pose is written with
`accepted` false and the reason: the matrix of such a record is no result.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srrd_ray.core.bones import BONE_LABELS, BONES, CUT_OFF, BoneName
from srrd_ray.core.errors import InputError, RegistrationError
from srrd_ray.core.geometry import Geometry, Matrix4, matrix4
from srrd_ray.core.records import BoneTransform, Fault, Image, Knee, Outcome, RegistrationQuality
from srrd_ray.core.volume import Volume
from srrd_ray.execution.stage import Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.knee_bones.find import FoundBones, cannot_be_bones, find_bones, shows_whole_joint
from srrd_ray.registration.quality import assess, refusal_error, refuse, refuse_bones
from srrd_ray.registration.rigid import RegistrationConfig, RigidResult, register_bone
from srrd_ray.registration.search import find_pose
from srrd_ray.stages.shared.first_round import first_bones_path, read_choice, read_first_poses
from srrd_ray.stages.shared.poses import write_pose
from srrd_ray.storage import omezarr
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.tables import write_table
from srrd_ray.synthesis.bias import flatten_bias
from srrd_ray.synthesis.metrics import SynthesisMetrics, compare

log = logging.getLogger(__name__)

Hu = Volume[np.float32]
Labels = Volume[np.uint8]
Mask = NDArray[np.bool_]
COLUMNS = (
    "participant", "side", "bone", "accepted", "reason", "dice", "surface_mm", "correlation", "mae_hu",
    "psnr_db", "ssim",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scan:
    """The images of a knee, and the bones of its CT."""

    ct: Hu
    mr: Hu
    sct: Hu
    ct_bones: Labels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeImages:
    """What the registration of a knee looks at; `flat_mr` is the MR over its local marrow level."""

    ct: Hu
    flat_mr: Hu
    sct: Hu
    ct_bones: Labels
    moving_bones: Labels


def register_knee(knee: Knee, layout: RunLayout, config: RegistrationConfig) -> list[BoneTransform]:
    """Return one transform a bone, accepted or refused with its reason.

    Written are ``ct_bones`` (the masks given with the cohort, else found in the CT),
    ``transform_<bone>.json``, ``mr_bones`` (labels of the accepted bones on the MR grid: given masks, else
    mapped from CT), and the part of table ``registration``. A pose that was accepted in round one is final:
    it was finished on the MR itself. The others are looked for again where there is a round two.

    Raises
    ------
    InputError
        As `find_bones`, where the CT itself cannot be used. A poor synthetic CT or MR is no error: its bones
        are refused.
    """
    ct_bones = ct_labels(knee, layout, config)
    scan = Scan(ct_bones=ct_bones, **{name: read_hu(knee, layout, name) for name in ("ct", "mr", "sct")})
    found, moving = find_poses(knee, scan, config, known=_known_poses(knee, layout))
    figures = [_figures(transform, scan) for transform in found]
    _write(knee, layout, found, figures, ct_bones, moving=moving)
    return found


def find_poses(
    knee: Knee, scan: Scan, config: RegistrationConfig, known: Mapping[BoneName, BoneTransform]
) -> tuple[list[BoneTransform], FoundBones | None]:
    """Return one transform a bone, those `known` as they are, and the bones found on the MR's side."""
    if all(bone in known for bone in BONES):
        return [known[bone] for bone in BONES], None
    try:
        moving = _moving_bones(knee, scan.mr, scan.sct, config)
    except InputError as error:
        quality = refuse_bones("mr" if config.moving_bones == "mr" else "synthetic", error)
        return [known.get(bone) or _transform(knee, bone, np.eye(4), quality) for bone in BONES], None
    images = KneeImages(
        ct=scan.ct,
        flat_mr=flatten_bias(scan.mr),
        sct=scan.sct,
        ct_bones=scan.ct_bones,
        moving_bones=moving.labels,
    )
    return [known.get(bone) or register_one(knee, bone, images, config) for bone in BONES], moving


def _known_poses(knee: Knee, layout: RunLayout) -> dict[BoneName, BoneTransform]:
    """Return the poses of round one that are final: all of them where its synthetic CT is the last."""
    poses = read_first_poses(layout, knee)
    if not poses:
        return {}
    choice = read_choice(layout)
    return {one.bone: one for one in poses if one.quality.accepted or not choice.used}


def ct_labels(knee: Knee, layout: RunLayout, config: RegistrationConfig) -> Labels:
    """Return the labels of the bones of the CT, after writing them (with lumps that were cut off).

    They are those given with the cohort, else those of round one, else found in the CT.
    """
    return write_ct_bones(knee, layout, config, layout.volume(knee, "ct_bones"))


def write_ct_bones(knee: Knee, layout: RunLayout, config: RegistrationConfig, path: Path) -> Labels:
    """Return the labels of the bones of the CT, after writing them to `path`."""
    given, earlier = _given_labels(knee, layout, "ct_masks"), first_bones_path(layout, knee)
    if given is None and path != earlier and earlier.exists():
        stored, notes = omezarr.read_volume(earlier), omezarr.read_notes(earlier)
        whole = Volume(array=stored.array.astype(np.uint8, copy=False), geometry=stored.geometry)
    else:
        found = (
            find_bones(read_hu(knee, layout, "ct"), "ct", knee.side, config.bones)
            if given is None
            else FoundBones(labels=given, side=None)
        )
        whole, notes = found.with_lumps(), tuple(map(str, found.notes))
    source: Image = "ct" if given is None else "ct_masks"
    sources: dict[str, str] = {source: omezarr.read_stored(layout.volume(knee, source)).sha256}
    omezarr.write_volume(
        path, whole, knee=knee, image="ct_bones", unit="label", sources=sources, notes=list(notes)
    )
    bones = np.where(whole.array > CUT_OFF, np.uint8(0), whole.array)
    return Volume(array=bones, geometry=whole.geometry)


def _moving_bones(knee: Knee, mr: Hu, sct: Hu, config: RegistrationConfig) -> FoundBones:
    """Return the bones on the grid of the MR, which is that of its synthetic CT."""
    match config.moving_bones:
        case "auto":
            return _bones_of_either(knee, mr, sct, config)
        case "synthetic-ct":
            return find_bones(sct, "synthetic-ct", knee.side, config.bones)
        case "mr":
            return find_bones(mr, "mr", knee.side, config.bones)
        case _ as other:
            assert_never(other)


def _bones_of_either(knee: Knee, mr: Hu, sct: Hu, config: RegistrationConfig) -> FoundBones:
    """Return the bones found in the MR; those of its synthetic CT where it shows too little of the joint, or
    where what is found cannot be bones: the registration itself is what judges them.
    """
    if shows_whole_joint(mr, config.bones):
        try:  # the CT has told the side: a narrow MR may seem to show the other one
            return find_bones(mr, "mr", None, config.bones)
        except InputError as error:
            if not cannot_be_bones(error):
                raise
            log.info("%-16s %s: bones of the synthetic CT, those of the MR cannot be", "register", knee.key)
    return find_bones(sct, "synthetic-ct", knee.side, config.bones)


def _given_labels(knee: Knee, layout: RunLayout, image: Image) -> Labels | None:
    """Return the labels of the masks that were given with an image, or nothing."""
    path = layout.volume(knee, image)
    if not path.exists():
        return None
    stored = omezarr.read_volume(path)
    return Volume(array=stored.array.astype(np.uint8, copy=False), geometry=stored.geometry)


def register_one(knee: Knee, bone: BoneName, images: KneeImages, config: RegistrationConfig) -> BoneTransform:
    """Return the pose of one bone and its judgement."""
    masks = images.ct_bones.array == BONE_LABELS[bone], images.moving_bones.array == BONE_LABELS[bone]
    if not (masks[0].any() and masks[1].any()):
        return _transform(knee, bone, np.eye(4), refuse("bone-missing"))
    try:
        result = _pose(images, masks, config)
    except RegistrationError as error:
        return _transform(knee, bone, np.eye(4), refuse(error.code))
    except RuntimeError:
        return _transform(knee, bone, np.eye(4), refuse("optimizer-failed"))
    return _transform(knee, bone, result.matrix, assess(images.ct, images.sct, masks, result, config))


def _pose(images: KneeImages, masks: tuple[Mask, Mask], config: RegistrationConfig) -> RigidResult:
    if config.refine_on_mr:
        return find_pose(images.ct, images.sct, masks, images.flat_mr, config)
    return register_bone(images.ct, images.sct, *masks, config)


def _transform(
    knee: Knee, bone: BoneName, matrix: Matrix4 | NDArray[np.float64], quality: RegistrationQuality
) -> BoneTransform:
    return BoneTransform(
        knee=knee, bone=bone, fixed="ct", moving="mr", matrix=matrix4(matrix), quality=quality
    )


def read_hu(knee: Knee, layout: RunLayout, image: Image) -> Hu:
    """Return an image of a knee as floats."""
    stored = omezarr.read_volume(layout.volume(knee, image))
    return Volume(array=stored.array.astype(np.float32), geometry=stored.geometry)


def _figures(transform: BoneTransform, images: Scan) -> SynthesisMetrics:
    """Return how the synthetic CT compares with the CT inside the bone and its surround.

    It is unknown without a pose.
    """
    if not transform.quality.accepted:
        return SynthesisMetrics.unknown()
    mask = images.ct_bones.array == BONE_LABELS[transform.bone]
    return compare(images.ct, images.sct, mask, transform.matrix)


def _write(
    knee: Knee,
    layout: RunLayout,
    found: list[BoneTransform],
    figures: list[SynthesisMetrics],
    ct_bones: Labels,
    *,
    moving: FoundBones | None = None,
) -> None:
    for transform in found:
        write_pose(layout, transform)
    _write_mr_bones(knee, layout, found, ct_bones, moving)
    rows = [_row(transform, figure) for transform, figure in zip(found, figures, strict=True)]
    write_table(layout.part("registration", knee), pd.DataFrame(rows, columns=list(COLUMNS)), "registration")


def _row(transform: BoneTransform, figures: SynthesisMetrics) -> tuple[object, ...]:
    quality, knee = transform.quality, transform.knee
    return (
        knee.participant, knee.side, transform.bone, quality.accepted, quality.reason, quality.dice,
        quality.surface_mm, quality.correlation, figures.mae_hu, figures.psnr_db, figures.ssim,
    )  # fmt: skip


def _write_mr_bones(
    knee: Knee, layout: RunLayout, found: list[BoneTransform], ct_bones: Labels, moving: FoundBones | None
) -> None:
    """Write the bones on the grid of the MR, and what was flagged and cut off of those found in it.

    They are the masks given with it, else those of the CT mapped by their poses; refused ones are left out.
    """
    stored, given = omezarr.read_stored(layout.volume(knee, "mr")), _given_labels(knee, layout, "mr_masks")
    labels = np.zeros(stored.geometry.shape, dtype=np.uint8)
    for transform in found:
        if transform.quality.accepted:
            label = BONE_LABELS[transform.bone]
            inside = given.array == label if given is not None else np.zeros(labels.shape, dtype=np.bool_)
            labels[inside if inside.any() else _mapped(ct_bones, transform, stored.geometry)] = label
    if moving is not None and moving.lumps is not None:
        cut = (moving.lumps.array > 0) & (labels == 0)
        labels[cut] = moving.lumps.array[cut] + np.uint8(CUT_OFF)
    sources = {"mr": stored.sha256, "ct_bones": omezarr.read_stored(layout.volume(knee, "ct_bones")).sha256}
    notes = [] if moving is None else [str(note) for note in moving.notes]
    omezarr.write_volume(
        layout.volume(knee, "mr_bones"), Volume(array=labels, geometry=stored.geometry), knee=knee,
        image="mr_bones", unit="label", sources=sources, notes=notes,
    )  # fmt: skip


def _mapped(ct_bones: Labels, transform: BoneTransform, grid: Geometry) -> Mask:
    """Return the bone of a transform on the grid of the MR."""
    inside = (ct_bones.array == BONE_LABELS[transform.bone]).astype(np.float32)
    to_ct = np.linalg.inv(np.array(transform.matrix))
    return Volume(array=inside, geometry=ct_bones.geometry).resample_onto(grid, to_ct).array > 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterSettings:
    """How bones are found and aligned."""

    registration: RegistrationConfig


def register(work: Work[RegisterSettings]) -> Produced:
    """Align femur and tibia of a knee."""
    layout, knee = work.layout, work.item.knees[0]
    found = register_knee(knee, layout, work.settings.registration)
    transforms = [layout.transform(knee, bone) for bone in BONES]
    labels = [layout.volume(knee, "ct_bones"), layout.volume(knee, "mr_bones")]
    paths = (*transforms, *labels, layout.part("registration", knee))
    return Produced(paths=paths, failed=tuple(map(lost_bone, _refused(found))))


def _refused(found: list[BoneTransform]) -> list[BoneTransform]:
    return [transform for transform in found if not transform.quality.accepted]


def lost_bone(transform: BoneTransform) -> Outcome:
    """Return the outcome of a bone without an accepted pose."""
    fault = Fault.from_error(refusal_error(transform))
    return Outcome(
        knee=transform.knee, bone=transform.bone, stage=STAGE.name, status="failed", seconds=0.0, error=fault
    )


STAGE = Stage(
    name="register",
    scope="knee",
    function=register,
    settings=RegisterSettings,
    needs=("ingest", "align", "learn-aligned", "synthesize"),
    outside=("segmenter",),
    outputs=("volumes/ct_bones", "volumes/mr_bones", "volumes/transform", "tables/parts/registration"),
)
