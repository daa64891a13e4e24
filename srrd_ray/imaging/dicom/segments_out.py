"""Bones, and the subchondral bone that was read, as DICOM segmentations on the frames of the CT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from srrd_ray.core.bones import BONE_LABELS, BONE_OF, BONES, BoneName
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.codes import BONE_CODES, COMPARTMENT_CODES, SIDE_CODES, SUBCHONDRAL
from srrd_ray.imaging.dicom.findings import Region
from srrd_ray.imaging.dicom.frames import place
from srrd_ray.imaging.dicom.instance import Results, save

SERIES: Final = "segmentation"
SERIES_NUMBER: Final = 9701
BONES_FILE: Final = "bones.dcm"
REGIONS_FILE: Final = "regions.dcm"


def write_bones(folder: Path, results: Results) -> Segmentation:
    """Return the segmentation of the bones after writing it; a bone's segment number is its label."""
    labels = results.source.expand(results.findings.bones, 0).array
    numbers = [BONE_LABELS[bone] for bone in BONES]
    masks = np.stack([labels == number for number in numbers], axis=-1)
    described = [_describe_bone(results, bone) for bone in BONES]
    return _write(folder / BONES_FILE, results, masks, described)


def write_regions(folder: Path, results: Results) -> Segmentation:
    """Return the segmentation of the regions, in the order of the findings, after writing it."""
    findings = results.findings
    masks = np.stack([_expand(results, region) for region in findings.regions], axis=-1)
    described = [_describe_region(results, n + 1, region) for n, region in enumerate(findings.regions)]
    return _write(folder / REGIONS_FILE, results, masks, described)


def _expand(results: Results, region: Region) -> NDArray[np.bool_]:
    on_bones = Volume(array=region.mask, geometry=results.findings.bones.geometry)
    return results.source.expand(on_bones, 0).array


def _write(
    path: Path, results: Results, masks: NDArray[np.bool_], described: Sequence[SegmentDescription]
) -> Segmentation:
    """Write masks (z, y, x, segment); slices without any are left out."""
    number = (SERIES_NUMBER, 1 if path.name == BONES_FILE else 2)
    segmentation = Segmentation(
        **place(results.source, masks.view(np.uint8), masks),
        **results.identify(SERIES, path.stem, number),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=list(described),
        content_label=path.stem.upper(),
        content_description=f"{path.stem} of the {results.findings.side} knee",
    )
    save(path, segmentation, results)
    return segmentation


def _describe_bone(results: Results, bone: BoneName) -> SegmentDescription:
    described = SegmentDescription(
        segment_number=BONE_LABELS[bone],
        segment_label=bone,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=BONE_CODES[bone],
        **_finder(results),
        tracking_uid=results.uid(bone, "tracking"),
        tracking_id=bone,
        display_color=_colour(bone),
    )
    side = CodedConcept.from_code(SIDE_CODES[results.findings.side])
    kind: Dataset = described.SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return described


class _Finder(TypedDict):
    """Who found the bones."""

    algorithm_type: SegmentAlgorithmTypeValues
    algorithm_identification: AlgorithmIdentificationSequence


def _finder(results: Results) -> _Finder:
    if not results.findings.bones_given:
        named = results.findings.algorithm.identify()
        return _Finder(algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC, algorithm_identification=named)
    given = AlgorithmIdentificationSequence(
        name="bone mask of the user", family=codes.DCM.ManualProcessing, version="not stated"
    )
    return _Finder(algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC, algorithm_identification=given)


def _describe_region(results: Results, number: int, region: Region) -> SegmentDescription:
    described = SegmentDescription(
        segment_number=number,
        segment_label=f"{region.name} subchondral",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=SUBCHONDRAL,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=results.findings.algorithm.identify(),
        tracking_uid=results.uid(region.name, "tracking"),
        tracking_id=region.name,
        anatomic_regions=[BONE_CODES[region.bone]],
        display_color=_colour(region.bone),
    )
    modifiers = (SIDE_CODES[results.findings.side], COMPARTMENT_CODES[region.compartment])
    where: Dataset = described.AnatomicRegionSequence[0]
    where.AnatomicRegionModifierSequence = [CodedConcept.from_code(code) for code in modifiers]
    return described


def _colour(bone: BoneName) -> CIELabColor:
    red, green, blue = bytes.fromhex(BONE_OF[bone].colour.lstrip("#"))
    return CIELabColor.from_rgb(red, green, blue)
