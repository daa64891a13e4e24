"""Femur and tibia of a knee and its side: what every stage and command asks, whoever finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

import numpy as np

from srrd_ray.core.bones import BONE_LABELS, CUT_OFF
from srrd_ray.core.errors import InputError
from srrd_ray.core.records import Modality, Side
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.imaging.source import Note
from srrd_ray.knee_bones.segmenter_files import require_segmenter
from srrd_ray.registration.bones import BoneConfig, segment_knee, side_mismatch_error
from srrd_ray.segmentation.plausibility import Finding, check_bones, implausible_error, require_plausible
from srrd_ray.segmentation.side import SideFound, find_side, require_side

Labels = Volume[np.uint8]
Kind: TypeAlias = Literal["ct", "synthetic-ct", "mr"]
DEFAULT = BoneConfig()
SIDE_UNCERTAIN = "side-uncertain"
"""Code of the note on bones whose anatomy does not tell their side."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoundBones:
    """Labels on the grid of the image (femur 1, tibia 2), the side that the anatomy shows (null where it
    does not say it), and what somebody should look at.

    `lumps` holds the label of a bone where a lump of it was cut off, else 0; null where none was.
    """

    labels: Labels
    side: Side | None
    notes: tuple[Note, ...] = ()
    lumps: Labels | None = None

    def with_lumps(self) -> Labels:
        """Return the labels, and what was cut off as `CUT_OFF` and more: to be stored and drawn."""
        if self.lumps is None:
            return self.labels
        cut = np.where(self.lumps.array > 0, self.lumps.array + np.uint8(CUT_OFF), self.labels.array)
        return Volume(array=cut, geometry=self.labels.geometry)


def find_bones(
    image: Volume[Scalar], kind: Kind, side: Side | None, config: BoneConfig = DEFAULT
) -> FoundBones:
    """Return the bones of a knee in a CT, a synthetic CT, or in an MR, which the network alone can read.

    Parameters
    ----------
    kind
        In a synthetic CT what the rules find is not judged here: registration does that.
    side
        The side that a table or the user states; null where the anatomy is to tell it.

    Raises
    ------
    InputError
        `bone-not-found`, `bone-hole`, `bone-lump` (rules); `bone-missing`, `bone-island`, `bone-hole`,
        `bone-lump`, `bone-volume`, `bone-order`, `bone-surface`, `bone-ends`, `image-too-small`,
        `voxels-not-finite` (network); `side-mismatch`.
    StoreError
        `model-missing`, `model-altered` where the network has no weights.
    """
    match "network" if kind == "mr" else config.by:
        case "auto":
            return _by_either(image, kind, side, config)
        case "rules":
            return _by_rules(image, kind, side, config)
        case "network":
            return _by_network(image, "mr" if kind == "mr" else "ct", side, config)
        case _ as other:
            assert_never(other)


def shows_whole_joint(image: Volume[Scalar], config: BoneConfig = DEFAULT) -> bool:
    """Return whether the field of view is large enough for the network, which knows bones by their place."""
    extent = np.array(image.geometry.shape) * image.geometry.spacing_mm
    return bool(extent.min() >= config.whole_mm)


def cannot_be_bones(error: InputError) -> bool:
    """Return whether a refusal of `find_bones` is about what was found, not about the image or the side."""
    return error.code.startswith("bone-")


def _by_either(ct: Volume[Scalar], kind: Kind, side: Side | None, config: BoneConfig) -> FoundBones:
    """Return what the network finds; what the rules find, said so, where that cannot be bones."""
    if not shows_whole_joint(ct, config):
        return _by_rules(ct, kind, side, config)
    try:
        return _by_network(ct, "ct", side, config)
    except InputError as refusal:
        if not cannot_be_bones(refusal):
            raise
        found = _by_rules(ct, kind, side, config)
        reasons = [word.split(",")[0] for word in refusal.got.split("; ")]
        text = f"the bones are those of the rules: the network's cannot be ({', '.join(reasons)})"
        return replace(
            found, notes=(*found.notes, Note(severity="FLAG", code="bones-by-rules", message=text))
        )


def _by_rules(ct: Volume[Scalar], kind: Kind, side: Side | None, config: BoneConfig) -> FoundBones:
    labels, seen = segment_knee(ct, config)
    if side is not None and seen - {side}:
        raise side_mismatch_error(side)
    found = next(iter(seen)) if len(seen) == 1 else None
    bones = FoundBones(labels=labels, side=found)
    if kind != "synthetic-ct":
        bones = _judge(bones, ct, shaped=shows_whole_joint(ct, config))
    if found is None:
        bones = replace(bones, notes=(*bones.notes, _uncertain("no fibula is seen")))
    return bones


def _judge(found: FoundBones, ct: Volume[Scalar], *, shaped: bool) -> FoundBones:
    """Return bones that the rules found, without lumps, and what is doubtful of them; holes, which they may
    leave, are refused. Shapes are judged where the image shows the joint as a whole.
    """
    checked = check_bones(found.labels, ct, shaped=shaped)
    refused = [
        f for f in checked.findings if f.code == "bone-hole" or (f.code == "bone-lump" and not f.doubt)
    ]
    if refused:
        raise implausible_error(refused)
    notes = tuple(_flag(one) for one in checked.findings)
    if checked.lumps is None:
        return replace(found, notes=notes)
    rest = np.where(checked.lumps.array > 0, np.uint8(0), found.labels.array)
    return replace(
        found,
        labels=Volume(array=rest, geometry=found.labels.geometry),
        notes=notes,
        lumps=checked.lumps,
    )


def _by_network(
    image: Volume[Scalar], modality: Modality, side: Side | None, config: BoneConfig
) -> FoundBones:
    from srrd_ray.knee_bones.segmenter_model import shared_segmenter  # torch takes seconds to load
    from srrd_ray.segmentation.inference import segment

    network, working = shared_segmenter(require_segmenter(config.segmenter))
    checked = check_bones(segment(network, image, modality, working), image)
    labels = require_plausible(checked)
    shown = find_side(labels)
    if side is not None:
        require_side(shown, side)
    bones = np.where(np.isin(labels.array, list(BONE_LABELS.values())), labels.array, np.uint8(0))
    notes = tuple(_flag(one) for one in checked.doubts)
    return FoundBones(
        labels=Volume(array=bones, geometry=labels.geometry),
        side=shown.side if shown.certain else None,
        notes=notes if shown.certain else (*notes, _uncertain(_words(shown))),
        lumps=checked.lumps,
    )


def _flag(finding: Finding) -> Note:
    return Note(severity="FLAG", code=finding.code, message=str(finding))


def _words(shown: SideFound) -> str:
    return f"{'left' if shown.side == 'L' else 'right'} with confidence {shown.confidence:.2f}"


def _uncertain(seen: str) -> Note:
    text = f"the anatomy does not tell for certain whether this is a left or a right knee: {seen}"
    return Note(severity="FLAG", code=SIDE_UNCERTAIN, message=text)


def require_known_side(found: FoundBones) -> Side:
    """Return the side that the anatomy shows.

    Raises
    ------
    InputError
        `side-unknown`: without a side, medial and lateral could be swapped.
    """
    if found.side is None:
        raise InputError(
            "side-unknown", "the anatomy does not show whether this is a left or a right knee",
            got="; ".join(note.message for note in found.notes),
            todo="Add --side L or --side R, or name the file …_side-L… or …_side-R….",
        )  # fmt: skip
    return found.side
