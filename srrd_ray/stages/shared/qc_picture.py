"""The picture of a knee for quality control, its bones accepted or refused, and its thumbnail."""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import fill

import numpy as np
from PIL import Image

from srrd_ray.core.bones import BONES, BoneName
from srrd_ray.core.geometry import Matrix4, matrix4
from srrd_ray.core.records import BoneTransform, Knee
from srrd_ray.core.volume import Volume
from srrd_ray.registration.quality import refusal_error
from srrd_ray.report.overlays import KneeImages, registration
from srrd_ray.report.style import png_bytes, styled
from srrd_ray.stages.shared.poses import read_pose
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.layout import RunLayout
from srrd_ray.storage.omezarr import read_notes, read_volume

QUALITY = 82
LINE = 170
"""Characters of a line of the title."""
THUMBNAIL = 440, 330
"""Most pixels of a thumbnail, width and height."""


def draw_knee(layout: RunLayout, knee: Knee) -> tuple[Path, Path]:
    """Return the paths of the picture (WebP) and of its thumbnail, after writing both."""
    found = [pose for bone in BONES if (pose := read_pose(layout, knee, bone)) is not None]
    with styled():
        figure = registration(_images(layout, knee, found))
        lines = [f"{knee.key}: {describe_bones(found)}", *(fill(n, LINE) for n in bone_notes(layout, knee))]
        figure.suptitle("\n".join([*lines, *_flags(layout, knee)]), fontsize=9)
        drawn = png_bytes(figure)
    paths = layout.qc_picture(knee), layout.qc_thumbnail(knee)
    with Image.open(io.BytesIO(drawn)) as picture:
        whole = picture.convert("RGB")
    small = whole.copy()
    small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    for path, image in zip(paths, (whole, small), strict=True):
        with replacing(path) as temporary:
            image.save(temporary, format="WEBP", quality=QUALITY, method=4)
    return paths


def _flags(layout: RunLayout, knee: Knee) -> list[str]:
    """Return what somebody should look at in the synthetic CT."""
    notes = read_notes(layout.volume(knee, "sct"))
    return [note.removeprefix("FLAG ") for note in notes if note.startswith("FLAG ")]


def describe_bones(found: list[BoneTransform]) -> str:
    """Return what came of each bone, in words."""
    return "; ".join(f"{one.bone} {_describe(one)}" for one in found)


def bone_notes(layout: RunLayout, knee: Knee) -> list[str]:
    """Return what was flagged of the bones that were found in CT and MR."""
    ct, mr = layout.volume(knee, "ct_bones"), layout.volume(knee, "mr_bones")
    notes = [("CT", note) for note in read_notes(ct)]
    notes += [("MR", note) for note in read_notes(mr)] if mr.exists() else []
    return [f"{image}: {note}" for image, note in notes]


def _describe(one: BoneTransform) -> str:
    if one.quality.accepted:
        return f"accepted, surfaces {one.quality.surface_mm:.2f} mm apart"
    return f"REFUSED, {refusal_error(one).what}"


def _images(layout: RunLayout, knee: Knee, found: list[BoneTransform]) -> KneeImages:
    """Return what is drawn: a refused bone through its refused pose, so that one can see why."""
    ct, labels, mr, sct = (
        read_volume(layout.volume(knee, image)) for image in ("ct", "ct_bones", "mr", "sct")
    )
    of_mr = layout.volume(knee, "mr_bones")
    return KneeImages(
        side=knee.side,
        ct=ct,
        bones=_labels(labels),
        mr=mr,
        poses=_drawn_poses(found, ct, mr),
        synthetic=sct,
        mr_bones=_labels(read_volume(of_mr)) if of_mr.exists() else None,
    )


def _labels(stored: Volume[np.generic]) -> Volume[np.uint8]:
    return Volume(array=stored.array.astype(np.uint8, copy=False), geometry=stored.geometry)


def _drawn_poses(
    found: list[BoneTransform], ct: Volume[np.generic], mr: Volume[np.generic]
) -> dict[BoneName, Matrix4]:
    """Return the poses that were found; a bone without any is drawn through that of the other, and where
    there is none at all the middles of both images lie on one another.
    """
    posed = {one.bone: one.matrix for one in found if one.quality.accepted or one.quality.dice > 0}
    if posed:
        return posed
    shift = np.eye(4)
    shift[:3, 3] = mr.geometry.corners_lps().mean(axis=0) - ct.geometry.corners_lps().mean(axis=0)
    return dict.fromkeys(BONES, matrix4(shift))
